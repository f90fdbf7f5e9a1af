"""An item made into what the store takes: canonical address, clean text, a decided date, a signature.

The crawler and the archive import both go through here, so the same item gives the same article either way.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Collection

from pipeline.asof import day_of
from pipeline.news import dates, urls
from pipeline.news.parse import Item
from pipeline.store.news import Entry
from pipeline.text import duplicates
from pipeline.text.normalise import clean_body, clean_title, is_advertisement, language

LONGEST_TEXT = 100_000  # characters kept of one article


class NotTaken(ValueError):
    """An item that is understood and not wanted (another language)."""


def entry(
    item: Item, *, now: dt.datetime, outlet: str = "", category: str = "", gmt_is_seoul: bool = False,
    languages: Collection[str] = (), archive: bool = False
) -> Entry:  # fmt: skip
    """The article of an item seen at ``now``; what the feed list says of outlet and category goes before
    what the item says.

    Raises ValueError with a sentence when it cannot be an article, NotTaken when its language is not among
    ``languages`` (empty: all). In an ``archive`` an old date is an old article and not a mistake, and one without a
    date has no place.
    """
    url = urls.canonical(item.url)
    title = clean_title(item.title)[:500]
    text = clean_body(item.text)[:LONGEST_TEXT]
    if not title and not text:
        raise ValueError("nothing is left of it without boilerplate")
    if not title:  # a headline is expected everywhere: the first words of the text stand in for it
        start = clean_title(text[:60])
        title = start.rsplit(" ", 1)[0] if len(text) > 60 else start
    tongue = language(f"{title} {text}")
    if languages and tongue not in languages and tongue != "und":
        raise NotTaken(f"its language is {tongue}, which news.languages does not name")
    if archive and dates.read(item.published_raw) is None:
        raise ValueError("its date cannot be read")
    earliest = dates.EARLIEST_ARCHIVE if archive else dates.EARLIEST
    published = dates.decide(
        item.published_raw, now, gmt_is_seoul=gmt_is_seoul, url_day=urls.day_in(url), earliest=earliest
    )
    return Entry(
        url=url,
        title=title,
        text=text,
        content_sha256=hashlib.sha256(f"{title}\n{text}".encode()).hexdigest(),
        outlet=clean_title(outlet or item.outlet)[:200],
        category=clean_title(category or item.category)[:200],
        published_at=published.at,
        day=day_of(published.at),
        published_raw=clean_title(published.raw)[:200],
        published_rule=item.rule or published.rule,
        is_ad=is_advertisement(title, item.category or category),
        language=tongue,
        fingerprint=(made := duplicates.signature(title, text)),
        bands=tuple(duplicates.bands(made)) if made else (),
        guid=clean_title(item.guid)[:500],
    )
