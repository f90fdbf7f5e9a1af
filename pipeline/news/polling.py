"""Asking one feed, politely, and what its response changes about when it is asked again."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from pipeline.config.news import NewsConfig
from pipeline.errors import BadInputError, DatabaseAwayError, GaramError, UnavailableError
from pipeline.news import robots, schedule, urls
from pipeline.news.extraction import FeedJob
from pipeline.news.fetch import Fetcher, Response
from pipeline.news.sandbox import Sandbox
from pipeline.store import Store
from pipeline.store.feeds import Feed
from pipeline.store.news import Entry, Written

_ACCEPT = (
    "application/rss+xml, application/atom+xml, application/feed+json, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5"
)
_GONE = 410
_WAIT_STATUS = {429, 503}  # with Retry-After they speak for the whole host


@dataclass(slots=True)
class Poll:
    """What asking a feed gave."""

    started_at: dt.datetime
    status: str = "ok"  # ok, not_modified, skipped, error
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
    not_before: dt.datetime | None = None  # what Retry-After said
    validators: dict[str, str | None] = field(default_factory=dict)
    clock: str = ""
    moved_to: str = ""  # where it lives for good
    gone: bool = False

    def note(self, sentence: str) -> None:
        """Say something of a poll that went well enough."""
        self.error = f"{self.error}; {sentence}"[:1000] if self.error else sentence[:1000]

    def failed(self, error: Exception) -> Poll:
        """This poll when its articles could not be stored: an error, which has the feed give all of them again."""
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        sentence = f"storing what it brought failed ({type(error).__name__}: {reason})"
        return Poll(self.started_at, "error", self.http_status, self.items, self.size, sentence)


class Poller:
    """Asks feeds for one crawl: robots.txt once for each site, and no more of a host that wants to be left alone."""

    def __init__(self, config: NewsConfig, store: Store, fetcher: Fetcher, sandbox: Sandbox) -> None:
        self.config, self.store, self.fetcher, self.sandbox = config, store, fetcher, sandbox
        self._robots: dict[str, asyncio.Task[robots.Robots]] = {}
        self._left_alone: dict[str, dt.datetime] = {}

    async def poll(self, feed: Feed) -> Poll:
        """Ask and read. Whatever is wrong with the feed is in the poll; only DatabaseAwayError is raised."""
        now = dt.datetime.now(dt.UTC)
        poll = Poll(now)
        host = _host(feed.url)
        if (until := self._left_alone.get(host, now)) > now:
            poll.status, poll.not_before = "skipped", until
            poll.error = f"its host asked not to be asked before {until:%Y-%m-%d %H:%M:%S} UTC (Retry-After)"
            return poll
        try:
            response = await self._ask(feed)
            poll.http_status, poll.size = response.status, len(response.body)
            if response.status == 304:
                poll.status = "not_modified"
            elif response.status == _GONE:
                poll.gone = True
                raise BadInputError("it is gone for good (HTTP status 410) and is not asked for any more")
            elif response.status != 200:
                poll.not_before = schedule.retry_after(response.headers.get("retry-after"), now)
                if poll.not_before and response.status in _WAIT_STATUS:
                    self._left_alone[host] = min(poll.not_before, now + schedule.LONGEST_WAIT)
                raise UnavailableError(f"the server responds with HTTP status {response.status}")
            else:
                poll.payload, poll.content_type = response.body, response.headers.get("content-type", "")
                await self._read(feed, response, poll)
                if self.config.full_text:
                    await self._fill(poll)
            # Only a response that could be read: a site that sends everybody to its front page has moved nothing.
            poll.moved_to = urls.absolute(response.moved_to, "") if response.moved_to else ""
        except DatabaseAwayError:
            raise
        except GaramError as error:
            poll.status, poll.error = "error", str(error)[:500]
        except Exception as error:  # a bug of ours on one feed's input must not stop the others
            poll.status, poll.error = "error", f"parsing it failed ({type(error).__name__}: {str(error)[:200]})"
        return poll

    async def _ask(self, feed: Feed) -> Response:
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
        origin = f"{parts.scheme}://{parts.netloc.lower()}"
        if origin not in self._robots:
            self._robots[origin] = asyncio.ensure_future(self._rules(origin))
        rules = await asyncio.shield(self._robots[origin])
        if rules.unavailable:
            raise UnavailableError(
                f"robots.txt of {parts.netloc[:100]} could not be fetched ({rules.unavailable}): nothing else is"
            )
        if not rules.allows(url):
            raise BadInputError(f"robots.txt of {parts.netloc[:100]} does not let crawlers have it")

    async def _rules(self, origin: str) -> robots.Robots:
        """A site's rules by RFC 9309, 2.3.1: none where there is no robots.txt, everything forbidden where it fails."""
        try:
            response = await self.fetcher.get(f"{origin}/robots.txt", max_bytes=self.config.max_bytes)
        except UnavailableError as error:
            return robots.Robots(unavailable=str(error))
        except BadInputError:
            return robots.Robots()  # too large or damaged: as if there were none
        if response.status >= 500 or response.status == 429:
            return robots.Robots(unavailable=f"HTTP status {response.status}")
        if response.status != 200:
            return robots.Robots()
        rules = robots.read(robots.decode(response.body), self.config.user_agent)
        self.fetcher.slow_down(origin, rules.delay_s)
        return rules

    async def _read(self, feed: Feed, response: Response, poll: Poll) -> None:
        job = FeedJob(
            response.url, _responded_at(response), poll.content_type, feed.outlet, feed.category,
            feed.clock == "gmt_is_seoul", tuple(self.config.languages),
        )  # fmt: skip
        parsed = await self.sandbox.feed(job, response.body)
        poll.items, poll.ttl_s, poll.entries = parsed.items, parsed.ttl_s, parsed.entries
        poll.validators = {"etag": _header(response, "etag"), "last_modified": _header(response, "last-modified")}
        poll.bad_items = parsed.bad_items
        poll.item_errors = [{"item": item, "error": error} for item, error in parsed.notes]
        poll.error = "; ".join(filter(None, [parsed.warning, parsed.undated])) or None
        poll.clock = "gmt_is_seoul" if parsed.gmt_is_seoul else ""

    async def _fill(self, poll: Poll) -> None:
        from pipeline.news.pages import fill

        poll.entries = await fill(self.fetcher, self.sandbox, self._allowed, self.config, self.store, poll.entries)


def _host(url: str) -> str:
    """The host of a feed's URL; "" where that is no host name, which the fetch then says."""
    try:
        return urls.host(url)
    except ValueError:
        return ""


def changes(config: NewsConfig, feed: Feed, poll: Poll, written: Written) -> dict[str, Any]:
    """The columns of ``feeds`` that a poll changes."""
    now = dt.datetime.now(dt.UTC)
    if poll.status == "skipped":
        return {"next_poll_at": poll.not_before, "last_polled_at": now}
    if poll.status == "error":
        next_ = schedule.after_failure(config, now, feed.interval_s, feed.failures, not_before=poll.not_before)
    else:
        brought = written.new + written.updated
        hint_s = poll.ttl_s if poll.status == "ok" else feed.hint_s
        next_ = schedule.after_success(config, now, feed.interval_s, items=poll.items, new=brought, ttl_s=hint_s)
    changed: dict[str, Any] = {
        "interval_s": next_.interval_s, "next_poll_at": next_.at, "failures": next_.failures,
        "quarantined_until": next_.quarantined_until, "last_polled_at": now,
    }  # fmt: skip
    if poll.status != "error":
        changed["last_ok_at"] = now
    if poll.status == "ok":
        changed |= poll.validators | {"hint_s": poll.ttl_s}
    if poll.gone:
        changed |= {"enabled": False, "disabled_why": f"its server said on {now:%Y-%m-%d} that it is gone (HTTP 410)"}
    if written.new:
        changed["last_new_at"] = now
    if poll.clock:
        changed["clock"] = poll.clock
    return changed


def _header(response: Response, name: str) -> str | None:
    value = response.headers.get(name, "").strip()
    return value if value and len(value) <= 500 and value.isprintable() else None


def _responded_at(response: Response) -> dt.datetime:
    """When the response was made: nothing in it can have been published later.

    A replay server, which is on loopback, says with its clock where the replay is. Any other server's clock is not
    believed: one that is days slow would pull every date of its feed back to itself.
    """
    now = dt.datetime.now(dt.UTC)
    if not response.loopback:
        return now
    try:
        said = parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, TypeError):
        return now
    return min(now, said if said.tzinfo else said.replace(tzinfo=dt.UTC))
