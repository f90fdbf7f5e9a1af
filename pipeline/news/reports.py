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
    """A removal request. The url is never taken again, known or not."""

    url: str  # canonical
    ids: tuple[int, ...]  # of the article that lost its text: one, or none when it was not known
    payloads: int  # kept responses that had it, emptied
    copies: tuple[str, ...] = ()  # other articles that tell the same: they stay, and each takes a request of its own

    @property
    def articles(self) -> int:
        """How many articles lost their text."""
        return len(self.ids)


@dataclass(frozen=True)
class RederiveReport:
    """What reading the kept responses anew gave."""

    payloads: int
    new: int  # articles that today's reading finds and the one of then did not
    updated: int  # articles whose newest version no kept response gives any more
    errors: int  # responses that cannot be read
