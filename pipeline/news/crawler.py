"""The crawl: many feeds at once, each poll and what it brought written in one transaction."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pipeline.config.news import NewsConfig
from pipeline.context import Context
from pipeline.errors import DatabaseAwayError, GaramError, UnavailableError, UsageError
from pipeline.news import urls
from pipeline.news.fetch import Fetcher, ForbiddenAddressError
from pipeline.news.polling import Poll, Poller, changes
from pipeline.news.reports import CrawlReport
from pipeline.news.sandbox import Sandbox
from pipeline.news.stories import StoryRule
from pipeline.progress import Progress, silent
from pipeline.store import feeds as store_feeds
from pipeline.store.news import Written, write

T = TypeVar("T")

SLACK = dt.timedelta(
    minutes=2
)  # a feed due this soon is polled now, so that a half-hourly crawl skips no half-hourly feed
_LOOK_UP_S = 5.0  # time to look a name up before a feed is added without
_ASK_AGAIN_S = 1.0  # pause before a database that went away is asked again


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
    """(url, outlet, category) of a feed that somebody names; UsageError when the url is no address of the web.

    The outlet and category are empty where they are not named.
    """
    address, category = urls.absolute(url.strip(), ""), category.strip()
    if not address:
        raise UsageError(f"{url[:200]!r} is no http(s) address: a feed's whole address is needed")
    outlet = " ".join(outlet.split())[:200]
    return address, outlet, "" if category == "_all_" else category[:200]


async def refuse_local(config: NewsConfig, url: str) -> None:
    """Raise UsageError for an address that the crawler will not fetch from; one that is not known yet passes."""
    async with Fetcher(config) as fetcher:
        try:
            async with asyncio.timeout(_LOOK_UP_S):
                await fetcher.resolve(urls.host(url), 443)
        except ForbiddenAddressError as error:
            raise UsageError(f"this is no address of a feed: {error}") from None
        except (TimeoutError, UnavailableError, ValueError):
            pass


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
    is left to it.

    What is promised: an article that stands in a response whose poll is recorded as ok is in the store, once. A poll,
    its articles and the feed's new state are one transaction, so after ``kill -9`` of the crawl, of the database or of
    a feed's server the next crawl goes on from there. What a feed showed only while nobody could get it is lost.

    A database that goes away once feeds are being polled is waited for (``news.database_patience_s``);
    DatabaseAwayError when it stays away, and at once when it is not there to begin with.
    """
    config = ctx.config.news
    if config.payload_days:
        with ctx.store.begin() as conn:
            store_feeds.prune_payloads(conn, dt.datetime.now(dt.UTC) - dt.timedelta(days=config.payload_days))
    with ctx.store.begin() as conn:
        ids = store_feeds.add(conn, read_feeds(feeds_file)) if feeds_file is not None else None
        if ids is None and config.feeds_file and not store_feeds.count(conn):
            store_feeds.add(conn, read_feeds(config.feeds_file))
        waiting = store_feeds.due(conn, slack=SLACK, ids=ids, force=force)
    # Nothing is asked of the database after the feeds: one that goes away then fails no crawl that is done.
    return run(lambda: _Crawl(ctx, force or ids is not None, progress).all(waiting))


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


class _Crawl:
    def __init__(self, ctx: Context, regardless: bool, progress: Progress) -> None:
        self.ctx, self.config = ctx, ctx.config.news
        self.regardless, self.progress = regardless, progress
        self.rule = StoryRule.of(self.config)
        self.counts = dict.fromkeys(("feeds", "new", "updated", "duplicates", "errors"), 0)
        self.done = 0
        self.away_since: float | None = None

    async def all(self, waiting: list[store_feeds.Feed]) -> CrawlReport:
        # Names are looked up in threads, and some take long to be not known: they must not have the others wait.
        threads = ThreadPoolExecutor(2 * self.config.concurrency + 4, "garam-crawl")
        asyncio.get_running_loop().set_default_executor(threads)
        self.writing = asyncio.Lock()  # one writer at a time anyway, see pipeline.store.news
        self.locks = store_feeds.FeedLocks(self.ctx.store)
        queue = deque(_hosts_in_turn(waiting))
        try:
            async with Fetcher(self.config) as fetcher, Sandbox(self.config) as sandbox:
                self.poller = Poller(self.config, self.ctx.store, fetcher, sandbox)
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self.config.concurrency, len(waiting))):
                        group.create_task(self._worker(queue, len(waiting)))
        except* GaramError as errors:
            raise errors.exceptions[0] from None
        finally:
            await asyncio.to_thread(self.locks.close)
        return CrawlReport(**self.counts)

    async def _worker(self, queue: deque[store_feeds.Feed], total: int) -> None:
        while queue:
            await self._until_recorded(queue.popleft().id)
            self.done += 1
            self.progress("feeds", self.done, total)

    async def _until_recorded(self, feed_id: int) -> None:
        """Poll a feed; anew from its start when the database went away under it, or another crawl came between.

        With the database go the locks: what was read of the feed before may not be how it is any more.
        """
        while True:
            try:
                await self._poll(feed_id)
                return
            except store_feeds.OvertakenError:
                continue
            except DatabaseAwayError:
                now = time.monotonic()
                self.away_since = self.away_since or now
                if now - self.away_since >= self.config.database_patience_s:
                    raise
                await asyncio.sleep(_ASK_AGAIN_S)

    async def _poll(self, feed_id: int) -> None:
        if not await asyncio.to_thread(self.locks.take, feed_id):
            return  # another crawl is at it
        try:
            feed = await asyncio.to_thread(self._read, feed_id)
            self.away_since = None
            if feed is None:
                return  # deleted since the crawl began
            now = dt.datetime.now(dt.UTC)
            if not self.regardless and feed.next_poll_at is not None and feed.next_poll_at > now + SLACK:
                return  # another crawl has just done it
            poll = await self.poller.poll(feed)
            async with self.writing:
                try:
                    await asyncio.to_thread(self._record, feed, poll)
                except (GaramError, store_feeds.OvertakenError):
                    raise
                except Exception as error:  # what the database will not have of one feed must not stop the others
                    await asyncio.to_thread(self._record, feed, poll.failed(error))
        finally:
            await asyncio.to_thread(self.locks.release, feed_id)

    def _read(self, feed_id: int) -> store_feeds.Feed | None:
        with self.ctx.store.begin() as conn:
            return store_feeds.read(conn, feed_id)

    def _record(self, feed: store_feeds.Feed, poll: Poll) -> None:
        failed = poll.status == "error"
        with self.ctx.store.begin() as conn:
            written = Written()
            if poll.entries:
                written = write(conn, poll.entries, source="feed", join=self.rule.join, feed_id=feed.id)
            kept = None
            # What was removed for good must not stay in a response either.
            if poll.payload and self.config.payload_days and not written.removed:
                kept = store_feeds.keep_payload(conn, poll.payload, poll.content_type)
            if poll.moved_to and not store_feeds.move(conn, feed, poll.moved_to):
                poll.note(f"it has moved for good to {poll.moved_to}, which is another feed: disable one of them")
            elif poll.moved_to:
                poll.note(
                    f"it has moved for good from {feed.url} to {poll.moved_to}, where it is asked for from now on"
                )
            values = {
                "started_at": poll.started_at, "finished_at": dt.datetime.now(dt.UTC), "status": poll.status,
                "http_status": poll.http_status, "items": poll.items, "new": written.new, "updated": written.updated,
                "duplicates": written.duplicates, "errors": poll.bad_items + failed, "bytes": poll.size,
                "error": poll.error, "item_errors": poll.item_errors or None, "payload_id": kept,
            }  # fmt: skip
            store_feeds.record_poll(conn, values, feed, changes(self.config, feed, poll, written))
        self.counts["feeds"] += 1
        self.counts["errors"] += poll.bad_items + failed
        for name in ("new", "updated", "duplicates"):
            self.counts[name] += getattr(written, name)


def _hosts_in_turn(feeds: Iterable[store_feeds.Feed]) -> list[store_feeds.Feed]:
    """One feed of each host, then the next of each: no host's many feeds hold all workers while it has them wait."""
    ranks: dict[str, int] = {}
    ranked = []
    for feed in feeds:
        host = urlsplit(feed.url).hostname or ""
        ranks[host] = ranks.get(host, -1) + 1
        ranked.append((ranks[host], feed))
    return [feed for _, feed in sorted(ranked, key=lambda one: one[0])]
