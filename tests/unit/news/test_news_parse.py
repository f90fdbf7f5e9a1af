# ruff: noqa: E501 - payloads are read best on one line
"""Feeds as they really are: hostile, malformed and odd payloads, each with what it must give."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import BadInputError
from pipeline.news.extraction import FeedJob, read_feed
from pipeline.news.parse import parse
from tests.unit.news.feed_cases import CASES, Case
from tests.unit.news.feed_files import FILES, expected, gives
from tests.unit.news.feed_properties import check

LONG = 100 if os.environ.get("GARAM_LONG_TESTS") else 1
URL = "https://news.garam.example/rss.xml"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_gives_what_it_must(case: Case) -> None:
    started = time.process_time()
    if case.refused:
        with pytest.raises(BadInputError, match=case.refused):
            parse(case.data, url=URL, content_type=case.content_type)
    else:
        feed = parse(case.data, url=URL, content_type=case.content_type)
        if case.titles is not None:
            assert [item.title for item in feed.items] == case.titles
        if case.texts is not None:
            assert [" ".join(item.text.split()) for item in feed.items] == case.texts
        if case.urls is not None:
            assert [item.url for item in feed.items] == case.urls
        if case.dates is not None:
            assert [item.published_raw for item in feed.items] == case.dates
        assert len(feed.errors) == case.errors
    assert time.process_time() - started < 5


def test_there_are_enough_cases() -> None:
    assert len(CASES) + len(FILES) >= 150
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_gives_what_it_must(path: Path) -> None:
    wanted, given_ = expected(path), gives(path)
    assert {name: given_.get(name) for name in wanted} == wanted
    assert ("refused" in given_) == ("refused" in wanted)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_holds_for_all_holds_for_each_case(case: Case) -> None:
    check(case.data, case.content_type)


_PIECES = st.sampled_from(
    [
        b"<rss version='2.0'>", b"<channel>", b"<item>", b"</item>", b"<title>", b"</title>", b"<link>", b"</link>",
        b"https://a.kr/1", b"<![CDATA[", b"]]>", b"<!--", b"-->", b"&amp;", b"&#0;", b"&nope;", b"<!DOCTYPE a [", b"]>",
        b"<!ENTITY a 'b'>", b"<description>", b"</description>", b"<script>", b"\xc7\xd1\xb1\xdb", "한글".encode(), b"\x00",
        b"\xff\xfe", b"<?xml version='1.0' encoding='euc-kr'?>", b"<feed xmlns='http://www.w3.org/2005/Atom'>", b"<entry>",
        b"</entry>", b"<pubDate>", b"2026-02-03", b"</pubDate>", b"{", b'"items":[', b"}", b"]", b"<urlset>", b"<url><loc>",
        b"<a href='", b"'>", b"<", b">", b"&lt;", b"<guid>", b"<media:title>", b"<dc:date>", b"xmlns:dc='x'",
    ]
)  # fmt: skip


@settings(max_examples=300 * LONG, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_PIECES | st.binary(max_size=12), max_size=40).map(b"".join))
def test_nothing_breaks_the_parser(data: bytes) -> None:
    check(data)


@settings(max_examples=150 * LONG, deadline=2000)
@given(st.integers(0, 10_000), st.integers(0, 255), st.sampled_from([case for case in CASES if len(case.data) < 5000]))
def test_one_wrong_byte_breaks_nothing(at: int, byte: int, case: Case) -> None:
    if case.data:
        data = bytearray(case.data)
        data[at % len(data)] = byte
        check(bytes(data))


@settings(max_examples=100 * LONG, deadline=2000)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=10), lambda c: st.lists(c, max_size=4) | st.dictionaries(st.sampled_from(["url", "id", "title", "content_html", "tags", "date_published"]), c, max_size=5), max_leaves=12))  # fmt: skip
def test_json_of_any_shape(value: object) -> None:
    check(
        json.dumps(
            {"version": "https://jsonfeed.org/version/1.1", "items": [value, {"url": "/1", "title": "가"}]}
        ).encode()
    )


def test_dates_that_cannot_be_read_are_told() -> None:
    body = (
        "<rss><channel><item><title>가</title><link>https://a.kr/{}</link><pubDate>{}</pubDate></item></channel></rss>"
    )
    job = FeedJob("https://a.kr/rss", dt.datetime(2026, 2, 14, tzinfo=dt.UTC))
    read = read_feed(job, body.format(1, "곧 나옵니다").encode())
    assert read.undated == (
        "the date of 1 of 1 items cannot be read (such as '곧 나옵니다'): the time they were first seen is used, "
        "and trends leave them out until a later poll gives a date"
    )
    assert read_feed(job, body.format(1, "Tue, 02/03/2026 - 15:04").encode()).undated == ""


ITEM = "<item><title>제목</title><link>https://www.garam.example/1</link></item>"
PLACE = "<url><loc>https://www.garam.example/1</loc><news><title>제목</title></news></url>"


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (
            f"<rss version='2.0'><channel><title>지도</title><description>&lt;urlset&gt; 쓰는 법</description>{ITEM}</channel></rss>",
            "rss20",
        ),
        (
            f"<rss version='2.0'><channel><title><![CDATA[<urlset> <sitemapindex>]]></title>{ITEM}</channel></rss>",
            "rss20",
        ),
        (f"<!-- <urlset> --><rss version='2.0'><channel>{ITEM}</channel></rss>", "rss20"),
        (f"<?xml version='1.0'?><!--{'긴 설명 <rss> ' * 2000}--><urlset>{PLACE}</urlset>", "news-sitemap"),
        (
            f"<?xml-stylesheet href='<rss>'?>\n<s:urlset xmlns:s='http://www.sitemaps.org/schemas/sitemap/0.9'>"
            f"{PLACE.replace('<url>', '<s:url>').replace('</url>', '</s:url>').replace('<loc>', '<s:loc>').replace('</loc>', '</s:loc>')}</s:urlset>",
            "news-sitemap",
        ),
        (f"\ufeff\n\n<!DOCTYPE urlset [<!ELEMENT rss ANY>]><URLSET>{PLACE}</URLSET>", "news-sitemap"),
    ],
)
def test_the_document_element_says_which_format_it_is(document: str, kind: str) -> None:
    feed = parse(document.encode())
    assert (feed.kind, [item.title for item in feed.items]) == (kind, ["제목"])
