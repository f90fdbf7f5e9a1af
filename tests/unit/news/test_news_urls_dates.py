"""One address for one article, one day for each."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.asof import SEOUL
from pipeline.news import dates
from pipeline.news.urls import absolute, canonical, day_in

NOW = dt.datetime(2026, 2, 14, 18, 39, 17, tzinfo=dt.UTC)
ARTICLE = "https://www.garam.co.kr/news/2026021412345"


@pytest.mark.parametrize(
    "twin",
    [
        ARTICLE,
        "http://www.garam.co.kr/news/2026021412345",
        "HTTPS://WWW.GARAM.CO.KR:443/news/2026021412345",
        "https://www.garam.co.kr/news/2026021412345#comments",
        "https://www.garam.co.kr/news/2026021412345?utm_source=rss&utm_medium=feed",
        "https://www.garam.co.kr/news/2026021412345?fbclid=x",
        "https://www.garam.co.kr//news/2026021412345",
        "https://m.garam.co.kr/news/2026021412345",
        "https://amp.garam.co.kr/news/2026021412345/amp/",
        "https://www.garam.co.kr/news/2026021412345?outputType=amp",
        "https://www.google.com/amp/s/m.garam.co.kr/news/2026021412345",
        "https://www-garam-co-kr.cdn.ampproject.org/c/s/www.garam.co.kr/news/2026021412345",
        "https://user:secret@www.garam.co.kr/news/2026021412345",
        " https://www.garam.co.kr./news/2026021412345 ",
    ],
)
def test_twins_are_one_article(twin: str) -> None:
    assert canonical(twin) == ARTICLE


def test_an_amp_page_that_has_a_file_of_its_own() -> None:
    pages = ("articleView", "articleViewAmp")
    assert len({canonical(f"https://www.garam.co.kr/news/{page}.html?idxno=12") for page in pages}) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("https://a.kr/view?id=1", "https://a.kr/view?id=2"),
        ("https://a.kr/View/1", "https://a.kr/view/1"),
        ("https://a.kr:8443/1", "https://a.kr/1"),
        ("https://a.kr/read?from=20260101", "https://a.kr/read?from=20260102"),
        ("http://127.0.0.1:8001/1", "http://127.0.0.1:8002/1"),
    ],
)
def test_different_articles_stay_different(first: str, second: str) -> None:
    assert canonical(first) != canonical(second)


def test_the_order_of_a_query_does_not_matter() -> None:
    assert canonical("https://a.kr/v?b=2&a=1") == canonical("https://a.kr/v?a=1&b=2&utm_id=9")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a.kr/1",
        "javascript:alert(1)",
        "/only/path",
        "https://",
        "https://a.kr:x/",
        "https://a b.kr/1",
        "https://a\u3000b.kr/1",
        "https://a\u00a0b.kr/1",
        "https://a..kr/1",
        "https://<b>.kr/1",
        "https://a%20b.kr/1",
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|port|Port|host name"):
        canonical(url)


@given(
    st.from_regex(
        r"https?://(m\.|www\.)?[a-z가-힣]{1,8}\.(co\.kr|com)(:80)?/[^\s#]{0,30}(\?[^\s#]{0,20})?", fullmatch=True
    )
)
def test_canonical_is_idempotent(url: str) -> None:
    try:
        once = canonical(url)
    except ValueError:
        return
    assert canonical(once) == once


def test_relative_links_and_others() -> None:
    assert absolute("/news/1", "https://a.kr/rss.xml") == "https://a.kr/news/1"
    assert absolute("//b.kr/1", "https://a.kr/rss.xml") == "https://b.kr/1"
    assert absolute("javascript:alert(1)", "https://a.kr/") == ""
    assert absolute("data:text/html,x", "https://a.kr/") == ""
    assert absolute("https://a.kr/" + "x" * 3000, "https://a.kr/") == ""


def test_the_day_in_an_address() -> None:
    assert day_in("https://a.kr/article/202602146171i") == (2026, 2, 14)
    assert day_in("https://a.kr/e/2026/02/15/1") == (2026, 2, 15)
    assert day_in("https://a.kr/politics/11963539") is None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("2026년 2월 3일 오후 3:04", "2026-02-03T15:04:00+09:00"),
        ("2026년 2월 3일 (화) 오전 12시 4분", "2026-02-03T00:04:00+09:00"),
        ("2026. 2. 3. 오후 3:04", "2026-02-03T15:04:00+09:00"),
        ("입력 2026.02.03 15:04", "2026-02-03T15:04:00+09:00"),
        ("2026-02-03 15:04:05", "2026-02-03T15:04:05+09:00"),
        ("2026/02/03 15:04", "2026-02-03T15:04:00+09:00"),
        ("20260203150405", "2026-02-03T15:04:05+09:00"),
        ("2026-02-03T15:04:05.123Z", "2026-02-03T15:04:05+00:00"),
        ("2026-02-03T15:04:05+0900", "2026-02-03T15:04:05+09:00"),
        ("Tue, 03 Feb 2026 15:04:05 GMT", "2026-02-03T15:04:05+00:00"),
        ("Tue, 03 Feb 2026 15:04:05 KST", "2026-02-03T15:04:05+09:00"),
        ("Tue, 3 Feb 26 15:04 EST", "2026-02-03T15:04:00-05:00"),
        ("03 February 2026 15:04:05 +0900", "2026-02-03T15:04:05+09:00"),
        ("２０２６-０２-０３", "2026-02-03T00:00:00+09:00"),
        ("2026-02-03T24:00:00+09:00", "2026-02-04T00:00:00+09:00"),
        ("1770538176", "2026-02-08T08:09:36+00:00"),
        ("2026년 2월 3일 밤 12:05", "2026-02-04T00:05:00+09:00"),
        ("2026-02-03 오후 3시 4분", "2026-02-03T15:04:00+09:00"),
        ("2026-2-3 5:4", "2026-02-03T05:04:00+09:00"),
        ("2026-02-03T15:04:05+09", "2026-02-03T15:04:05+09:00"),
        ("2026-02-03 15:04:05 +0900 KST", "2026-02-03T15:04:05+09:00"),
        ("2026-02-03T15:04:05+09:00[Asia/Seoul]", "2026-02-03T15:04:05+09:00"),
        ("Tue, 03 Feb 2026 3:04:05 PM", "2026-02-03T15:04:05+09:00"),
        ("Tue, 03 Feb 2026 15:04:05 GMT+09:00", "2026-02-03T15:04:05+09:00"),
        ("화, 03 2월 2026 15:04:05 +0900", "2026-02-03T15:04:05+09:00"),
        ("화, 03 2월 2026 오후 3:04", "2026-02-03T15:04:00+09:00"),
        ("Feb 3, 2026 3:04 PM", "2026-02-03T15:04:00+09:00"),
        ("Tuesday, February 3, 2026 15:04", "2026-02-03T15:04:00+09:00"),
        ("Tue Feb  3 15:04:05 KST 2026", "2026-02-03T15:04:05+09:00"),
        ("Tue Feb 03 2026 15:04:05 GMT+0900 (Korean Standard Time)", "2026-02-03T15:04:05+09:00"),
        ("Tue, 03 Feb 2026 15.04.05", "2026-02-03T15:04:05+09:00"),
        ("3 February, 2026 15:04:05", "2026-02-03T15:04:05+09:00"),
        ("3 February, 2026 15:04:05 GMT", "2026-02-03T15:04:05+00:00"),
        ("Tue, 02/03/2026 - 15:04", "2026-02-03T15:04:00+09:00"),
        ('&lt;time datetime="2026-02-03T15:04:05+09:00"&gt;어제&lt;/time&gt;', "2026-02-03T15:04:05+09:00"),
        ('<time class="d" datetime=2026-02-03T15:04>x</time>', "2026-02-03T15:04:00+09:00"),
        ("<span>2026.02.03</span> <em>15:04</em>", "2026-02-03T15:04:00+09:00"),
        ("26.02.03 15:04", "2026-02-03T15:04:00+09:00"),
        ("'26. 2. 3. 오후 3:04", "2026-02-03T15:04:00+09:00"),
        ("26년 2월 3일 15시", "2026-02-03T15:00:00+09:00"),
        ("20260203T150405+0900", "2026-02-03T15:04:05+09:00"),
        ("20260203T1504", "2026-02-03T15:04:00+09:00"),
        ("20260203 15:04", "2026-02-03T15:04:00+09:00"),
        ("2026-02-03T150405", "2026-02-03T15:04:05+09:00"),
        ("입력 2026.02.03 15:04 수정 2026.02.04 10:00", "2026-02-03T15:04:00+09:00"),
        ("기사입력 2026-02-03 오후 3:04 | 최종수정 2026-02-03 오후 5:04", "2026-02-03T15:04:00+09:00"),
        ("수정 2026.02.04 10:00 입력 2026.02.03 15:04", "2026-02-03T15:04:00+09:00"),
        ("2026.02.03 15:04 (수정 : 2026.02.04 10:00)", "2026-02-03T15:04:00+09:00"),
        ("Published: Feb 3, 2026 3:04 PM, updated Feb 4, 2026", "2026-02-03T15:04:00+09:00"),
        ("오후 3:04 2026-02-03", "2026-02-03T15:04:00+09:00"),
        ("15:04, 3 Feb 2026", "2026-02-03T15:04:00+09:00"),
        ("3:04 PM, Feb 3, 2026", "2026-02-03T15:04:00+09:00"),
        ("2026-02-03 정오", "2026-02-03T12:00:00+09:00"),
        ("2026년 2월 3일 자정", "2026-02-03T00:00:00+09:00"),
        ("2026-02-03 03:04 PM", "2026-02-03T15:04:00+09:00"),
        ("2026-02-03 3:04 p.m.", "2026-02-03T15:04:00+09:00"),
        ("2026-02-03 PM 3:04", "2026-02-03T15:04:00+09:00"),
        ("Feb 3, 2026 at 3pm", "2026-02-03T15:00:00+09:00"),
        ("2026-02-03 12:04 AM", "2026-02-03T00:04:00+09:00"),
        ("2026-02-03 15:04:05 Asia/Seoul", "2026-02-03T15:04:05+09:00"),
        ("2026.02.03(화) 15:04", "2026-02-03T15:04:00+09:00"),
        ("2026. 02. 03. (화) PM 03:04", "2026-02-03T15:04:00+09:00"),
        ("2026.02.03. 화요일 오후 3시 4분", "2026-02-03T15:04:00+09:00"),
        ("2026-02-03 (Tue) 15:04", "2026-02-03T15:04:00+09:00"),
        ("2026년02월03일 15시04분05초", "2026-02-03T15:04:05+09:00"),
        ("2026년 2월 3일 오후 3시 반", "2026-02-03T15:30:00+09:00"),
        ("2026年2月3日 15:04", "2026-02-03T15:04:00+09:00"),
        ("03.02.2026 15:04", "2026-02-03T15:04:00+09:00"),
        ("Tue, 3/2/2026 15:04", "2026-02-03T15:04:00+09:00"),
        ("03/Feb/2026:15:04:05 +0900", "2026-02-03T15:04:05+09:00"),
        ("Tuesday, 3rd February 2026, 15:04", "2026-02-03T15:04:00+09:00"),
        ("2026.02.03 15:04 홍길동 기자", "2026-02-03T15:04:00+09:00"),
        ("2026-02-03 15:04:05.123 +0900 KST m=+0.1", "2026-02-03T15:04:05+09:00"),
        ("2026-02-03 15:04 한국시간", "2026-02-03T15:04:00+09:00"),
        ("20260203T150405Z", "2026-02-03T15:04:05+00:00"),
        ("20260203T150405.123Z", "2026-02-03T15:04:05+00:00"),
        ("2026-02-03 15:04:05 UTC", "2026-02-03T15:04:05+00:00"),
        ("2026-02-03 15:04:05 +0000 UTC", "2026-02-03T15:04:05+00:00"),
        ("Tue, 03 Feb 2026 15:04:05 CET", "2026-02-03T15:04:05+01:00"),
        ("2026-02-03 15:04 Europe/Berlin", "2026-02-03T15:04:00+01:00"),
        ("2026년 2월 3일 15:04 UTC", "2026-02-03T15:04:00+00:00"),
        ("2026-02-03T15:04:05−05:00", "2026-02-03T15:04:05-05:00"),
        ("1770538176.0", "2026-02-08T08:09:36+00:00"),
        ("1770538176000", "2026-02-08T08:09:36+00:00"),
        ("1770538176000000", "2026-02-08T08:09:36+00:00"),
        ("1.770538176E9", "2026-02-08T08:09:36+00:00"),
        ("/Date(1770538176000+0900)/", "2026-02-08T08:09:36+00:00"),
        ("2026-W06-2", "2026-02-03T00:00:00+09:00"),
        ("2026-034T15:04Z", "2026-02-03T15:04:00+00:00"),
    ],
)
def test_dates_as_they_are_written(raw: str, expected: str) -> None:
    said = dates.read(raw)
    assert said is not None
    assert said.instant == dt.datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "어제",
        "2026-13-40",
        "방금 전",
        "not a date",
        "99999999",
        "\x00",
        "2026 Feb 03",
        "03 Feb 126",
        "3시간 전",
        "2월 3일",
        "192.168.10.10",
        "v1.02.03",
        "2026-02-03T25:04",
        "2026",
        "02:03:04",
    ],
)
def test_what_is_no_date(raw: str) -> None:
    assert dates.read(raw) is None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("3시간 전", "2026-02-15T00:39:17+09:00"),
        ("약 5분 전", "2026-02-15T03:34:17+09:00"),
        ("an hour ago", "2026-02-15T02:39:17+09:00"),
        ("방금 전", "2026-02-15T03:39:17+09:00"),
        ("2일 전", "2026-02-13T00:00:00+09:00"),
        ("1주일 전", "2026-02-08T00:00:00+09:00"),
        ("2 months ago", "2025-12-17T00:00:00+09:00"),
        ("어제", "2026-02-14T00:00:00+09:00"),
        ("어제 오후 3:04", "2026-02-14T15:04:00+09:00"),
        ("2월 3일 15:04", "2026-02-03T15:04:00+09:00"),
        ("02.03 15:04", "2026-02-03T15:04:00+09:00"),
        ("12월 3일", "2025-12-03T00:00:00+09:00"),
    ],
)
def test_dates_that_count_from_the_response(raw: str, expected: str) -> None:
    said = dates.read(raw, NOW)
    assert said is not None
    assert said.instant == dt.datetime.fromisoformat(expected)


@given(st.text(max_size=60))
def test_reading_a_date_never_fails(raw: str) -> None:
    decided = dates.decide(raw, NOW)
    assert decided.at.tzinfo is not None
    assert decided.at <= NOW + dates.AHEAD


def test_seoul_time_labelled_gmt_is_found_out() -> None:
    raws = ["Sun, 15 Feb 2026 03:30:00 GMT", "Sun, 15 Feb 2026 01:10:00 GMT", "Sat, 14 Feb 2026 12:00:00 GMT"]
    said = [found for raw in raws if (found := dates.read(raw))]
    assert dates.seoul_labelled_gmt(said, NOW)
    decided = dates.decide(raws[0], NOW, gmt_is_seoul=True)
    assert (decided.at, decided.rule) == (dt.datetime(2026, 2, 15, 3, 30, tzinfo=SEOUL), "seoul_as_gmt")
    honest = [found for raw in ["Sat, 14 Feb 2026 18:00:00 GMT"] if (found := dates.read(raw))]
    assert not dates.seoul_labelled_gmt(honest, NOW)
    far = [found for raw in ["Mon, 01 Feb 2027 18:00:00 GMT"] if (found := dates.read(raw))]
    assert not dates.seoul_labelled_gmt([*far, *said], NOW)
    # An announcement in a feed that says the truth: believing it would move all its articles by nine hours, for good.
    assert not dates.seoul_labelled_gmt([said[0], *honest], NOW)
    assert not dates.seoul_labelled_gmt([said[0], said[0], *honest], NOW)


@pytest.mark.parametrize(
    ("raw", "url_day", "rule", "day"),
    [
        ("", None, "missing", "2026-02-15"),
        ("곧", None, "unreadable", "2026-02-15"),
        ("곧", (2026, 2, 1), "url", "2026-02-01"),
        ("", (2026, 2, 1), "url", "2026-02-01"),
        ("", (2026, 2, 31), "missing", "2026-02-15"),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None, "implausible", "2026-02-15"),
        ("2030-01-01T00:00:00Z", None, "future", "2026-02-15"),
        ("2026-02-03", None, "day", "2026-02-03"),
        ("2026-02-03 23:59", None, "seoul", "2026-02-03"),
        ("Tue, 03 Feb 2026 15:04:05 GMT", None, "zone", "2026-02-04"),
    ],
)
def test_what_is_decided_and_why(raw: str, url_day: tuple[int, int, int] | None, rule: str, day: str) -> None:
    decided = dates.decide(raw, NOW, url_day=url_day)
    assert (decided.rule, decided.at.astimezone(SEOUL).date().isoformat()) == (rule, day)
