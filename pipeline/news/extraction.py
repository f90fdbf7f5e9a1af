"""The bytes of a response to entries of the store, or to the text of a page.

Pure functions, which `pipeline.news.sandbox` runs in its processes.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from pipeline.errors import BadInputError
from pipeline.news import dates
from pipeline.news.decode import decode
from pipeline.news.entries import LONGEST_TEXT, NotTaken, entry
from pipeline.news.parse import Item, parse
from pipeline.store.news import UNDATED, Entry
from pipeline.text.normalise import clean_body, clean_title

MOST_NOTES = 20  # items in error that are named


@dataclass(frozen=True, slots=True)
class FeedJob:
    """A feed's response without its body, and the attributes of the feed."""

    url: str
    now: dt.datetime  # when the response was made: no article in it can be newer
    content_type: str = ""
    outlet: str = ""
    category: str = ""
    gmt_is_seoul: bool = False  # found in earlier responses of the feed
    languages: tuple[str, ...] = ()  # empty: all


@dataclass(frozen=True, slots=True)
class PageJob:
    """An article's page, without its body."""

    content_type: str = ""


@dataclass(slots=True)
class ParsedFeed:
    """The content of a feed's response."""

    items: int = 0  # of any kind, those in error too
    ttl_s: float = 0.0
    warning: str = ""
    gmt_is_seoul: bool = False
    undated: str = ""  # a sentence about the dates that cannot be read
    bad_items: int = 0
    notes: list[tuple[str, str]] = field(default_factory=list)  # (item, sentence): errors, and what is not wanted
    entries: list[Entry] = field(default_factory=list)


def read_feed(job: FeedJob, body: bytes) -> ParsedFeed:
    """Parse a feed's response; BadInputError says what it is instead of a feed."""
    feed = parse(body, url=job.url, content_type=job.content_type)
    parsed = ParsedFeed(len(feed.items) + len(feed.errors), feed.ttl_s, clean_title(feed.warning))
    for place, sentence in feed.errors:
        _note(parsed, place, sentence)
    said = [found for item in feed.items if (found := dates.read(item.published_raw))]
    parsed.gmt_is_seoul = job.gmt_is_seoul or dates.seoul_labelled_gmt(said, job.now)
    for item in feed.items:
        _take(parsed, item, job)
    if unknown := [made.published_raw for made in parsed.entries if made.published_rule in UNDATED]:
        parsed.undated = (
            f"the date of {len(unknown)} of {parsed.items} items cannot be read (such as {unknown[0][:60]!r}): "
            "the time they were first seen is used, and trends leave them out until a later poll gives a date"
        )
    return parsed


def _take(parsed: ParsedFeed, item: Item, job: FeedJob) -> None:
    try:
        made = entry(
            item, now=job.now, outlet=job.outlet, category=job.category, gmt_is_seoul=parsed.gmt_is_seoul,
            languages=job.languages,
        )  # fmt: skip
    except ValueError as error:
        _note(parsed, item.url or item.title, str(error), bad=not isinstance(error, NotTaken))
    else:
        parsed.entries.append(made)


def _note(parsed: ParsedFeed, place: str, sentence: str, *, bad: bool = True) -> None:
    parsed.bad_items += bad
    if len(parsed.notes) < MOST_NOTES:
        parsed.notes.append((clean_title(place)[:200] or "an item", clean_title(sentence)[:300]))


def read_page(job: PageJob, body: bytes) -> str:
    """The article's text in a page, cleaned; empty when there is none, BadInputError when it cannot be read."""
    import trafilatura

    try:
        found = trafilatura.extract(
            decode(body, job.content_type), include_comments=False, include_tables=False, favor_precision=True
        )
    except MemoryError:
        raise
    except Exception as error:  # the library raises whatever its parsers do
        raise BadInputError(f"the page cannot be read ({type(error).__name__}: {str(error)[:120]})") from error
    return clean_body(found or "")[:LONGEST_TEXT]
