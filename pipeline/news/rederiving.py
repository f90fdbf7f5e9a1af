"""Everything derived, derived again: the kept responses read by today's rules."""

from __future__ import annotations

import asyncio
import datetime as dt

from pipeline.context import Context
from pipeline.errors import BadInputError
from pipeline.news.crawler import run
from pipeline.news.extraction import FeedJob
from pipeline.news.reports import RederiveReport
from pipeline.news.sandbox import Sandbox
from pipeline.news.stories import StoryRule
from pipeline.progress import Progress, silent
from pipeline.store import feeds as store_feeds
from pipeline.store import news as store_news
from pipeline.store.feeds import KeptResponse
from pipeline.store.news import Entry

BATCH = 200  # articles of one transaction


def rederive(ctx: Context, *, since: dt.datetime | None = None, progress: Progress = silent) -> RederiveReport:
    """Read the kept responses (got at or after ``since``) anew and take in what is different now.

    An article gets a new version where no response gives its newest one any more: rules that read or clean have
    changed. Articles that only today's reading finds are new, known from now on. Nothing known is changed or moved:
    earlier as-ofs stay as they were. Run again, it does nothing. Where full texts are fetched, what a feed gives in
    their stead is left alone. Holds what is different in memory until the end.
    """
    with ctx.store.lock("garam.rederive"):
        return run(lambda: _Rederive(ctx, since, progress).work())


class _Rederive:
    def __init__(self, ctx: Context, since: dt.datetime | None, progress: Progress) -> None:
        self.ctx, self.config, self.since, self.progress = ctx, ctx.config.news, since, progress
        self.explained: set[str] = set()  # urls whose newest version a response still gives
        self.different: dict[str, tuple[Entry, int]] = {}  # by url: what the newest responses give, and the feed
        self.errors = self.payloads = 0

    async def work(self) -> RederiveReport:
        with self.ctx.store.begin() as conn:
            total = store_feeds.count_answers(conn, self.since)
        after = 0
        async with Sandbox(self.config) as sandbox:
            while True:
                responses = await asyncio.to_thread(self._responses, after)
                if not responses:
                    break
                read = await asyncio.gather(*(self._read(sandbox, response) for response in responses))
                for response, entries in zip(responses, read, strict=True):
                    await asyncio.to_thread(self._compare, response, entries)
                after = responses[-1].poll_id
                self.payloads += len(responses)
                self.progress("responses", self.payloads, total)
        new, updated = await asyncio.to_thread(self._write)
        return RederiveReport(self.payloads, new, updated, self.errors)

    def _responses(self, after: int) -> list[KeptResponse]:
        with self.ctx.store.begin() as conn:
            return store_feeds.responses(conn, self.since, after=after, limit=self.config.read_processes)

    async def _read(self, sandbox: Sandbox, response: KeptResponse) -> list[Entry]:
        job = FeedJob(
            response.feed_url, response.got_at, response.content_type, response.outlet, response.category,
            response.clock == "gmt_is_seoul", tuple(self.config.languages),
        )  # fmt: skip
        try:
            return (await sandbox.feed(job, response.body)).entries
        except BadInputError:
            self.errors += 1
            return []

    def _compare(self, response: KeptResponse, entries: list[Entry]) -> None:
        with self.ctx.store.begin() as conn:
            newest = store_news.newest_contents(conn, [e.url for e in entries])
        for entry in entries:
            if newest.get(entry.url) == entry.content_sha256:
                self.explained.add(entry.url)
                self.different.pop(entry.url, None)
            elif entry.url not in self.explained and not self._left_alone(entry, entry.url in newest):
                held = self.different.get(entry.url)
                if held is None or not store_news.is_cut(entry, held[0].title, held[0].text):
                    self.different[entry.url] = (entry, response.feed_id)

    def _left_alone(self, entry: Entry, known: bool) -> bool:
        return known and self.config.full_text and len(entry.text) < self.config.full_text_below

    def _write(self) -> tuple[int, int]:
        rule = StoryRule.of(self.config)
        by_feed: dict[int, list[Entry]] = {}
        for entry, feed_id in self.different.values():
            by_feed.setdefault(feed_id, []).append(entry)
        new = updated = 0
        for feed_id, entries in sorted(by_feed.items()):
            for start in range(0, len(entries), BATCH):
                with self.ctx.store.begin() as conn:
                    written = store_news.write(
                        conn, entries[start : start + BATCH], source="feed", join=rule.join, feed_id=feed_id,
                        cuts=True,
                    )  # fmt: skip
                new, updated = new + written.new, updated + written.updated
        return new, updated
