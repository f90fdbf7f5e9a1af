"""What the entry points of news intake give back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CrawlReport:
    """One crawl. ``feeds`` were polled; ``errors`` are feeds that failed and items that could not be used."""

    feeds: int
    new: int
    updated: int
    duplicates: int
    errors: int


@dataclass(frozen=True)
class ImportReport:
    """One import, all its parts together when it was resumed. ``rows`` of the source were read."""

    source: str
    rows: int
    new: int
    updated: int
    duplicates: int
    errors: int
    seconds: float


@dataclass(frozen=True)
class ForgetReport:
    """A removal request. ``articles`` lost their text; the url is never taken again, known or not."""

    url: str
    articles: int
