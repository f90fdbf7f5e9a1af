"""The folder of feeds, ``tests/feeds``: each file beside what it must give, ``NAME.expected.json``.

What an expectation does not name does not matter. ``python -m tests.unit.news.feed_files`` counts all cases by kind,
and with ``--write NAME`` it writes what NAME gives now, to be read and corrected by a person before it is kept.
"""

from __future__ import annotations

import collections
import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

from pipeline.asof import SEOUL
from pipeline.errors import BadInputError
from pipeline.news.extraction import FeedJob, read_feed
from tests.unit.news.feed_cases import CASES

FOLDER = Path(__file__).resolve().parents[2] / "feeds"
NOW = dt.datetime(2026, 2, 14, 18, 0, tzinfo=SEOUL)
FILES = sorted(path for path in FOLDER.iterdir() if not path.name.endswith(".expected.json"))


def expected(path: Path) -> dict[str, Any]:
    """What a file must give."""
    value: dict[str, Any] = json.loads(_beside(path).read_text(encoding="utf-8"))
    return value


def gives(path: Path) -> dict[str, Any]:
    """What a file gives, fetched at NOW as Korean news, in the form of an expectation."""
    job = FeedJob("https://www.garam.example/feeds/rss.xml", NOW, languages=("ko",))
    try:
        reading = read_feed(job, path.read_bytes())
    except BadInputError as error:
        return {"refused": str(error)}
    articles = []
    for entry in reading.entries:
        article = {
            "url": entry.url, "title": entry.title, "text": entry.text, "rule": entry.published_rule,
            "published_at": entry.published_at.astimezone(SEOUL).isoformat(), "guid": entry.guid,
            "category": entry.category, "outlet": entry.outlet, "language": entry.language, "ad": entry.is_ad,
        }  # fmt: skip
        articles.append({k: v for k, v in article.items() if v not in ("", False) and (k, v) != ("language", "ko")})
    return {
        "articles": articles, "notes": [list(note) for note in reading.notes], "bad_items": reading.bad_items,
        "lenient": bool(reading.warning), "ttl_s": reading.ttl_s, "gmt_is_seoul": reading.gmt_is_seoul,
    }  # fmt: skip


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".expected.json")


def main() -> None:
    """Count, or write."""
    if sys.argv[1:2] == ["--write"]:
        for name in sys.argv[2:]:
            path = FOLDER / name
            _beside(path).write_text(json.dumps(gives(path), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        return
    kinds = collections.Counter(path.name.split("-")[0].split(".")[0] for path in FILES)
    articles = sum(len(expected(path).get("articles", [])) for path in FILES)
    print(f"{len(FILES)} files with {articles} articles:", ", ".join(f"{n} {k}" for k, n in sorted(kinds.items())))
    generated = collections.Counter(case.kind for case in CASES)
    print(f"{len(CASES)} generated:", ", ".join(f"{n} {k}" for k, n in generated.items()))
    print(f"{len(FILES) + len(CASES)} cases")


if __name__ == "__main__":
    main()
