"""Titles and texts are decoded as often as their format says, and no more."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from pipeline.news.entries import entry
from pipeline.news.markup import to_text
from pipeline.news.parse import parse


@pytest.mark.parametrize(
    ("format_", "title", "read"),
    [
        ("rss", "5G&amp;LTE 통합요금제", "5G&LTE 통합요금제"),
        ("rss", "R&amp;D 예산, AT&amp;amp;T", "R&D 예산, AT&T"),
        ("rss", "List&lt;String&gt; 쓰는 법", "List<String> 쓰는 법"),
        ("rss", "&lt;b&gt;속보&lt;/b&gt; 3 &lt; 5, &amp;lt;단독&amp;gt;", "속보 3 < 5, <단독>"),
        ("rss", "<![CDATA[<b>속보</b> 5G&LTE &hellip;]]>", "속보 5G&LTE …"),
        ("atom", "5G&amp;LTE List&lt;String&gt; &lt;b&gt;", "5G&LTE List<String> <b>"),
        ("html", "5G&amp;amp;LTE &lt;b&gt;굵게&lt;/b&gt;", "5G&LTE 굵게"),
        ("json", "5G&LTE List<String> <b>", "5G&LTE List<String> <b>"),
        ("sitemap", "5G&amp;LTE List&lt;String&gt;", "5G&LTE List<String>"),
    ],
)
def test_a_title_is_decoded_as_often_as_its_format_says(format_: str, title: str, read: str) -> None:
    link = "https://www.garam.example/1"
    document = {
        "rss": f"<rss version='2.0'><channel><item><title>{title}</title><link>{link}</link></item></channel></rss>",
        "atom": "<feed xmlns='http://www.w3.org/2005/Atom'><entry>"
        f"<title>{title}</title><link href='{link}'/></entry></feed>",
        "html": "<feed xmlns='http://www.w3.org/2005/Atom'><entry>"
        f"<title type='html'>{title}</title><link href='{link}'/></entry></feed>",
        "json": json.dumps({"version": "1.1", "items": [{"url": link, "title": title}]}),
        "sitemap": "<urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9' "
        "xmlns:n='http://www.google.com/schemas/sitemap-news/0.9'>"
        f"<url><loc>{link}</loc><n:news><n:title>{title}</n:title></n:news></url></urlset>",
    }[format_]
    (item,) = parse(document.encode(), url=link).items
    assert item.title == read
    assert entry(item, now=dt.datetime(2026, 2, 3, tzinfo=dt.UTC)).title == read, "and not once more"


def test_a_text_keeps_what_its_markup_escapes() -> None:
    assert to_text("<p>List&lt;String&gt;과 5G&LTE, a &lt; b</p>").strip() == "List<String>과 5G&LTE, a < b"
