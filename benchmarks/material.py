"""What the benchmarks work on: the packaged speeches as articles, on any machine that `make venv` has set up."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from pipeline.news import load_korean_news_with_dates


@dataclass(frozen=True)
class Article:
    """An article as training sets and query sets want it."""

    id: int
    title: str
    text: str
    day: dt.date
    story_id: int
    outlet: str = ""
    category: str = ""


def articles(since: dt.date, until: dt.date) -> list[Article]:
    """The packaged speeches of these days, oldest first; every article is a story of its own."""
    rows = sorted(load_korean_news_with_dates(since=since, until=until), key=lambda row: (row["date"], row["url"]))
    return [Article(n, row["title"], row["text"], row["date"].date(), n) for n, row in enumerate(rows, 1)]
