"""The crawl: many feeds at once, each poll and what it brought written in one transaction."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pipeline.context import Context
from pipeline.errors import BadInputError, GaramError, UnavailableError, UsageError
from pipeline.news import robots, schedule, urls
from pipeline.news.fetch import Answer, Fetcher
from pipeline.news.readers import Readers
from pipeline.news.reading import FeedJob
from pipeline.news.reports import CrawlReport
from pipeline.progress import Progress, silent
from pipeline.store import feeds as store_feeds
from pipeline.store.news import Entry, Written, write
from pipeline.store.stories import Likeness

T = TypeVar("T")

SLACK = dt.timedelta(
    minutes=2
)  # a feed due this soon is polled now, so that a half-hourly crawl skips no half-hourly feed
_ACCEPT = (
    "application/rss+xml, application/atom+xml, application/feed+json, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5"
)


def read_feeds(path: Path | str) -> list[tuple[str, str, str]]:
    """(url, outlet, category) of a CSV file with these columns; UsageError names the line that is wrong."""
    if str(path) == "builtin":
        text = files("pipeline.news").joinpath("feeds.csv").read_text(encoding="utf-8")
    else:
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the feed list {path} cannot be read: {error}") from error
    reader = csv.DictReader(text.splitlines())
    if "url" not in (reader.fieldnames or []):
        raise UsageError(f"the feed list {path} needs a first line with the columns url, outlet, category")
    rows: dict[str, tuple[str, str, str]] = {}
    for row in reader:
        try:
            made = feed_row(row.get("url") or "", row.get("outlet") or "", row.get("category") or "")
        except UsageError as error:
            raise UsageError(f"line {reader.line_num} of {path}: {error}") from None
        rows[made[0]] = made
    return list(rows.values())


def feed_row(url: str, outlet: str = "", category: str = "") -> tuple[str, str, str]:
    """(url, outlet, category) of a feed that somebody names; UsageError when the url is no address of the web."""
    address, category = urls.absolute(url.strip(), ""), category.strip()
    if not address:
        raise UsageError(f"{url[:200]!r} is no http(s) address: a feed's whole address is needed")
    outlet = " ".join(outlet.split())[:200] or (urlsplit(address).hostname or "")
    return address, outlet, "" if category == "_all_" else category[:200]


def add_feeds(ctx: Context, file: Path | str) -> int:
    """Add the feeds of a CSV file (url, outlet, category), or correct the outlet and category of known ones."""
    rows = read_feeds(file)
    with ctx.store.begin() as conn:
        store_feeds.add(conn, rows)
    return len(rows)


def crawl(
    ctx: Context, *, feeds_file: Path | str | None = None, force: bool = False, progress: Progress = silent
) -> CrawlReport:
    """Poll the feeds whose time has come and take in what they bring.

    With ``feeds_file`` its feeds are added and exactly they are polled, with ``force`` all enabled ones, whenever
    their next poll would be. A feed that fails is recorded and stops no other. A feed that another crawl is polling
    is left to it. After ``kill -9`` the next crawl goes on: a poll and its articles are one transaction.
    """
    config = ctx.config.news
    with ctx.store.begin() as conn:
        ids = store_feeds.add(conn, read_feeds(feeds_file)) if feeds_file is not None else None
        if ids is None and config.feeds_file and not store_feeds.count(conn):
            store_feeds.add(conn, read_feeds(config.feeds_file))
        waiting = store_feeds.due(conn, slack=SLACK, ids=ids, force=force)
    report = run(lambda: _Crawl(ctx, force or ids is not None, progress).all(waiting))
    if config.payload_days:
        with ctx.store.begin() as conn:
            store_feeds.prune_payloads(conn, dt.datetime.now(dt.UTC) - dt.timedelta(days=config.payload_days))
    return report


def run(start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end, also where an event loop is running already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(start())
    result: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            result.append(asyncio.run(start()))
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


@dataclass(slots=True)
class _Poll:
    started_at: dt.datetime
    status: str = "ok"
    http_status: int | None = None
    items: int = 0
    size: int = 0  # bytes
    error: str | None = None
    item_errors: list[dict[str, str]] = field(default_factory=list)
    bad_items: int = 0
    entries: list[Entry] = field(default_factory=list)
    payload: bytes = b""
    content_type: str = ""
    ttl_s: float = 0.0
    retry_after: dt.datetime | None = None
    validators: dict[str, str | None] = field(default_factory=dict)
    clock: str = ""


class _Crawl:
    def __init__(self, ctx: Context, regardless: bool, progress: Progress) -> None:
        self.ctx, self.config = ctx, ctx.config.news
        self.regardless, self.progress = regardless, progress
        self.likeness = Likeness(self.config.duplicate_similarity, dt.timedelta(days=self.config.duplicate_days))
        self.robots: dict[str, asyncio.Task[robots.Robots]] = {}
        self.counts = dict.fromkeys(("feeds", "new", "updated", "duplicates", "errors"), 0)
        self.done = 0

    async def all(self, waiting: list[store_feeds.Feed]) -> CrawlReport:
        self.writing = asyncio.Lock()  # one writer at a time anyway, see pipeline.store.news
        self.locks = await asyncio.to_thread(store_feeds.FeedLocks, self.ctx.store)
        queue: asyncio.Queue[store_feeds.Feed] = asyncio.Queue()
        for feed in waiting:
            queue.put_nowait(feed)
        try:
            async with Fetcher(self.config) as self.fetcher, Readers(self.config) as self.readers:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.config.concurrency, len(waiting))):
                        group.create_task(self._worker(queue, len(waiting)))
        except* GaramError as errors:
            raise errors.exceptions[0] from None
        finally:
            await asyncio.to_thread(self.locks.close)
        return CrawlReport(**self.counts)

    async def _worker(self, queue: asyncio.Queue[store_feeds.Feed], total: int) -> None:
        while not queue.empty():
            feed = queue.get_nowait()
            if await asyncio.to_thread(self.locks.take, feed.id):
                try:
                    await self._poll(feed)
                finally:
                    await asyncio.to_thread(self.locks.release, feed.id)
            self.done += 1
            self.progress("feeds", self.done, total)

    async def _poll(self, feed: store_feeds.Feed) -> None:
        feed = await asyncio.to_thread(self._again, feed.id)
        now = dt.datetime.now(dt.UTC)
        if not self.regardless and feed.next_poll_at is not None and feed.next_poll_at > now + SLACK:
            return  # another crawl has just done it
        poll = _Poll(now)
        try:
            answer = await self._ask(feed)
            poll.http_status, poll.size = answer.status, len(answer.body)
            if answer.status == 304:
                poll.status = "not_modified"
            elif answer.status != 200:
                poll.retry_after = schedule.retry_after(answer.headers.get("retry-after"), now)
                raise UnavailableError(f"the server answers with HTTP status {answer.status}")
            else:
                poll.payload, poll.content_type = answer.body, answer.headers.get("content-type", "")
                await self._read(feed, answer, poll)
                if self.config.full_text:
                    await self._fill(poll)
        except GaramError as error:
            poll.status, poll.error = "error", str(error)[:500]
        except Exception as error:  # a bug of ours on one feed's input must not stop the others
            poll.status, poll.error = "error", f"reading it failed ({type(error).__name__}: {str(error)[:200]})"
        async with self.writing:
            await asyncio.to_thread(self._record, feed, poll)

    def _again(self, feed_id: int) -> store_feeds.Feed:
        with self.ctx.store.begin() as conn:
            return store_feeds.read(conn, feed_id)

    async def _ask(self, feed: store_feeds.Feed) -> Answer:
        await self._allowed(feed.url)
        headers = {"Accept": _ACCEPT}
        if feed.etag:
            headers["If-None-Match"] = feed.etag
        if feed.last_modified:
            headers["If-Modified-Since"] = feed.last_modified
        return await self.fetcher.get(feed.url, headers, allowed=self._allowed)

    async def _allowed(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"}:
            return  # the fetcher refuses it with its own sentence
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self.robots:
            self.robots[origin] = asyncio.ensure_future(self._robots(origin))
        if not (await asyncio.shield(self.robots[origin])).allows(url):
            raise BadInputError(f"robots.txt of {parts.netloc[:100]} does not let crawlers have it (or cannot be had)")

    async def _robots(self, origin: str) -> robots.Robots:
        try:
            answer = await self.fetcher.get(f"{origin}/robots.txt", max_bytes=self.config.max_bytes)
        except UnavailableError:
            return robots.Robots.nobody()
        except BadInputError:
            return robots.Robots()  # too large or damaged: as if there were none
        if answer.status >= 500 or answer.status == 429:
            return robots.Robots.nobody()
        if answer.status != 200:
            return robots.Robots()
        rules = robots.read(answer.body[: robots.LONGEST].decode("utf-8", errors="replace"), self.config.user_agent)
        self.fetcher.slow_down(urlsplit(origin).hostname or "", rules.delay_s)
        return rules

    async def _read(self, feed: store_feeds.Feed, answer: Answer, poll: _Poll) -> None:
        job = FeedJob(
            answer.url, _answered_at(answer), poll.content_type, feed.outlet, feed.category,
            feed.clock == "gmt_is_seoul", tuple(self.config.languages),
        )  # fmt: skip
        reading = await self.readers.feed(job, answer.body)
        poll.items, poll.ttl_s, poll.entries = reading.items, reading.ttl_s, reading.entries
        poll.validators = {"etag": _header(answer, "etag"), "last_modified": _header(answer, "last-modified")}
        poll.bad_items = reading.bad_items
        poll.item_errors = [{"item": item, "error": error} for item, error in reading.notes]
        poll.error = reading.warning or None
        poll.clock = "gmt_is_seoul" if reading.gmt_is_seoul else ""

    async def _fill(self, poll: _Poll) -> None:
        from pipeline.news.pages import fill

        poll.entries = await fill(self.fetcher, self.readers, self._allowed, self.config, self.ctx.store, poll.entries)

    def _record(self, feed: store_feeds.Feed, poll: _Poll) -> None:
        with self.ctx.store.begin() as conn:
            written = Written()
            if poll.entries:
                written = write(conn, poll.entries, source="feed", likeness=self.likeness, feed_id=feed.id)
            kept = None
            # What was removed for good must not stay in an answer either.
            if poll.payload and self.config.payload_days and not written.removed:
                kept = store_feeds.keep_payload(conn, poll.payload, poll.content_type)
            failed = poll.status == "error"
            values = {
                "started_at": poll.started_at, "finished_at": dt.datetime.now(dt.UTC), "status": poll.status,
                "http_status": poll.http_status, "items": poll.items, "new": written.new, "updated": written.updated,
                "duplicates": written.duplicates, "errors": poll.bad_items + failed, "bytes": poll.size,
                "error": poll.error, "item_errors": poll.item_errors or None, "payload_id": kept,
            }  # fmt: skip
            store_feeds.record_poll(conn, values, feed.id, self._changes(feed, poll, written))
        self.counts["feeds"] += 1
        self.counts["errors"] += poll.bad_items + failed
        for name in ("new", "updated", "duplicates"):
            self.counts[name] += getattr(written, name)

    def _changes(self, feed: store_feeds.Feed, poll: _Poll, written: Written) -> dict[str, Any]:
        now = dt.datetime.now(dt.UTC)
        if poll.status == "error":
            next_ = schedule.after_failure(
                self.config, now, feed.interval_s, feed.failures, retry_after=poll.retry_after
            )
        else:
            brought = written.new + written.updated
            next_ = schedule.after_success(
                self.config, now, feed.interval_s, items=poll.items, new=brought, ttl_s=poll.ttl_s
            )
        changes: dict[str, Any] = {
            "interval_s": next_.interval_s, "next_poll_at": next_.at, "failures": next_.failures,
            "quarantined_until": next_.quarantined_until, "last_polled_at": now,
        }  # fmt: skip
        if poll.status != "error":
            changes["last_ok_at"] = now
        if poll.status == "ok":
            changes |= poll.validators
        if written.new:
            changes["last_new_at"] = now
        if poll.clock:
            changes["clock"] = poll.clock
        return changes


def _header(answer: Answer, name: str) -> str | None:
    value = answer.headers.get(name, "").strip()
    return value if value and len(value) <= 500 and value.isprintable() else None


def _answered_at(answer: Answer) -> dt.datetime:
    """When the answer was made: the server's own clock, so far as it is not ahead of ours.

    Nothing in the answer can have been published later. A replay server's clock is the replay's.
    """
    now = dt.datetime.now(dt.UTC)
    try:
        said = parsedate_to_datetime(answer.headers.get("date", ""))
    except (ValueError, TypeError):
        return now
    return min(now, said if said.tzinfo else said.replace(tzinfo=dt.UTC))
