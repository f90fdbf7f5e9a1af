# ruff: noqa: E402, I001, SIM905 - imports are instrumented in their order
"""Coverage-guided fuzzing of what reads feeds: bytes in, the properties of ``feed_properties`` asserted.

    pip install atheris
    python tests/fuzz/fuzz_feeds.py CORPUS_DIR -max_total_time=600

Anything behind the folder is libFuzzer's. The folder is begun with the cases of the tests. A payload that breaks a
property is left as ``crash-...`` in the current folder: make it a case of ``feed_cases.py``. atheris is no part of the
requirements; ``GARAM_LONG_TESTS=1 pytest tests/unit/news/test_news_parse.py`` looks for minutes with Hypothesis alone.
"""

from __future__ import annotations

import hashlib
import sys
import warnings
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
warnings.simplefilter("ignore")
with atheris.instrument_imports(include=["pipeline.news", "pipeline.text", "feedparser"]):
    import feedparser  # noqa: F401
    from pipeline.news import dates, decode, entries, markup, parse, urls  # noqa: F401
    from pipeline.text import normalise  # noqa: F401
from tests.unit.news.feed_cases import CASES
from tests.unit.news.feed_properties import check

TOKENS = (
    "<rss version='2.0'>|<channel>|<item>|</item>|<title>|</title>|<link>|</link>|https://a.kr/1|<![CDATA[|]]>|<!--|-->|"
    "&amp;|&#0;|&#xD800;|<!DOCTYPE a [|<!ENTITY a 'b'>|<description>|<content:encoded>|<script>|<pubDate>|<dc:date>|"
    "2026-02-03T15:04:05+09:00|2026년 2월 3일 오후 3:04|Tue, 03 Feb 2026 15:04:05 GMT|<guid>|xml:base='|<author>|"
    "<feed xmlns='http://www.w3.org/2005/Atom'>|<entry>|<content type='xhtml'>|<link href='|encoding='euc-kr'|"
    '{"items":[|"url":|"title":|"date_published":|"\\ud800"|<urlset>|<sitemapindex>|<url>|<loc>|<news:title>|'
    "무단전재 및 재배포 금지|홍길동 기자 a@b.kr|(서울=가람)|사진=|[광고]|ⓒ|\ufeff|\u200b"
).split("|")


def main() -> None:
    """Run libFuzzer."""
    folder = next((Path(a) for a in sys.argv[1:] if not a.startswith("-")), None)
    if folder is None:
        sys.exit(__doc__)
    folder.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        if len(case.data) <= 4096:
            (folder / hashlib.sha1(case.data).hexdigest()).write_bytes(case.data)
    words = folder.parent / f"{folder.name}.dict"
    quoted = ("".join(f"\\x{byte:02x}" for byte in token.encode()) for token in TOKENS)
    words.write_text("".join(f'"{token}"\n' for token in quoted))
    options = [f"-dict={words}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=3000"]
    atheris.Setup([*sys.argv, *options], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
