"""Feeds, their polls, and the raw responses that were fetched."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from pipeline.errors import BusyError
from pipeline.store.base import Store, lock_key
from pipeline.store.schema import article_feeds, feed_moves, feeds, payloads, polls


class OvertakenError(Exception):
    """Somebody else recorded a poll of the feed since it was read; nothing was written."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed as the crawler needs it."""

    id: int
    url: str
    outlet: str
    category: str
    etag: str | None
    last_modified: str | None
    clock: str
    interval_s: float
    next_poll_at: dt.datetime | None
    failures: int
    last_polled_at: dt.datetime | None
    hint_s: float  # how seldom it wants to be asked; 0 when it never said


_COLUMNS = tuple(feeds.c[name] for name in Feed.__slots__)


@dataclass(frozen=True, slots=True)
class FeedState:
    """A feed as people see it: what it is, how it does, what its last poll said."""

    id: int
    url: str
    outlet: str
    category: str
    enabled: bool
    disabled_why: str | None  # None when a person did it
    interval_s: float
    next_poll_at: dt.datetime | None
    failures: int
    quarantined_until: dt.datetime | None
    last_polled_at: dt.datetime | None
    last_ok_at: dt.datetime | None
    last_new_at: dt.datetime | None
    articles: int  # distinct ones that it brought
    status: str | None  # of the last poll
    http_status: int | None
    items: int
    new: int
    error: str | None
    item_errors: Any


def add(conn: Connection, rows: Iterable[tuple[str, str, str]]) -> list[int]:
    """Add feeds (url, outlet, category) or correct their outlet and category; their ids in order.

    An empty outlet or category leaves that of a known feed as it is; a new one's outlet is then its host.
    An address that a feed had before it moved for good is that feed. One list at a time: two that name the same
    feeds in another order would wait for each other's rows.
    """
    conn.execute(sa.text("SELECT pg_advisory_xact_lock(:k)"), {"k": lock_key("garam.feeds.add")})
    ids = []
    for url, outlet, category in rows:
        given = {name: value for name, value in (("outlet", outlet), ("category", category)) if value}
        moved = conn.scalar(sa.select(feed_moves.c.feed_id).where(feed_moves.c.url == url))
        if moved is not None:
            if given:
                conn.execute(sa.update(feeds).where(feeds.c.id == moved).values(given))
            ids.append(moved)
            continue
        row = insert(feeds).values(url=url, outlet=outlet or urlsplit(url).hostname or url, category=category)
        changed = row.on_conflict_do_update(index_elements=["url"], set_=given or {"url": url})
        ids.append(conn.scalars(changed.returning(feeds.c.id)).one())
    return ids


def count(conn: Connection) -> int:
    """How many feeds there are, disabled ones too."""
    return int(conn.scalar(sa.select(sa.func.count()).select_from(feeds)) or 0)


def enable(conn: Connection, url: str, enabled: bool) -> bool:
    """Switch a feed on (it is polled at once, whatever it failed before) or off; False when there is no such feed."""
    values: dict[str, Any] = {"enabled": enabled, "disabled_why": None}
    if enabled:
        values |= {"failures": 0, "quarantined_until": None, "next_poll_at": None}
    changes = sa.or_(feeds.c.enabled != enabled, feeds.c.failures > 0) if enabled else sa.true()
    conn.execute(sa.update(feeds).where(feeds.c.url == url, changes).values(**values))
    return conn.scalar(sa.select(feeds.c.id).where(feeds.c.url == url)) is not None


def delete(conn: Connection, url: str) -> bool:
    """Delete a feed, its polls and its links to articles, which stay; False when there is no such feed.

    Raises BusyError while a crawl polls it.
    """
    feed_id = conn.scalar(sa.select(feeds.c.id).where(feeds.c.url == url))
    if feed_id is None:
        return False
    if not conn.scalar(sa.text("SELECT pg_try_advisory_xact_lock(:k)"), {"k": lock_key(f"garam.feed.{feed_id}")}):
        raise BusyError(f"{url} is being polled: delete it in a minute")
    for table in (article_feeds, polls, feed_moves):
        conn.execute(sa.delete(table).where(table.c.feed_id == feed_id))
    conn.execute(sa.delete(feeds).where(feeds.c.id == feed_id))
    return True


def due(conn: Connection, *, slack: dt.timedelta, ids: Sequence[int] | None = None, force: bool = False) -> list[Feed]:
    """Enabled feeds whose time has come, the longest waiting first; with ``ids`` or ``force`` whatever their time."""
    query = sa.select(*_COLUMNS).where(feeds.c.enabled).order_by(feeds.c.next_poll_at.asc().nulls_first(), feeds.c.id)
    if ids is not None:
        query = query.where(feeds.c.id.in_(list(ids)))
    elif not force:
        query = query.where(
            sa.or_(feeds.c.next_poll_at.is_(None), feeds.c.next_poll_at <= sa.func.clock_timestamp() + slack)
        )
    return [Feed(*row) for row in conn.execute(query)]


def read(conn: Connection, feed_id: int) -> Feed | None:
    """One feed, as it is now; None when it was deleted."""
    row = conn.execute(sa.select(*_COLUMNS).where(feeds.c.id == feed_id)).one_or_none()
    return None if row is None else Feed(*row)


def states(conn: Connection) -> list[FeedState]:
    """All feeds with their last poll, by outlet and url."""
    rows = conn.execute(
        sa.text(
            """
            SELECT f.id, f.url, f.outlet, f.category, f.enabled, f.disabled_why, f.interval_s,
                   f.next_poll_at, f.failures, f.quarantined_until, f.last_polled_at, f.last_ok_at, f.last_new_at,
                   (SELECT count(*) FROM article_feeds a WHERE a.feed_id = f.id),
                   p.status, p.http_status, coalesce(p.items, 0), coalesce(p.new, 0), p.error, p.item_errors
            FROM feeds f LEFT JOIN LATERAL (
                SELECT * FROM polls WHERE feed_id = f.id ORDER BY id DESC LIMIT 1) p ON true
            ORDER BY f.outlet, f.url
            """
        )
    )
    return [FeedState(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class SilentOutlet:
    """An outlet that is polled and has brought nothing new for longer than it usually takes."""

    outlet: str
    last_new_at: dt.datetime | None  # None: never
    usual_gap: dt.timedelta | None  # 19 of 20 gaps between its new articles are shorter; None: not known yet


def silent_outlets(conn: Connection, now: dt.datetime, least: dt.timedelta) -> list[SilentOutlet]:
    """Outlets silent for at least ``least`` and twice their usual gap of the last 30 days, by name."""
    query = sa.text(
        """
        WITH brought AS (
            SELECT f.outlet, p.finished_at,
                lag(p.finished_at) OVER (PARTITION BY f.outlet ORDER BY p.finished_at) AS before
            FROM polls p JOIN feeds f ON f.id = p.feed_id
            WHERE p.new > 0 AND p.finished_at > :now - interval '30 days'
        ), usual AS (
            SELECT outlet, percentile_cont(0.95) WITHIN GROUP (ORDER BY finished_at - before) AS gap
            FROM brought WHERE before IS NOT NULL GROUP BY outlet
        ), polled AS (
            SELECT outlet, max(last_new_at) AS last_new_at, min(added_at) AS added_at
            FROM feeds WHERE enabled GROUP BY outlet
        )
        SELECT outlet, last_new_at, gap FROM polled LEFT JOIN usual USING (outlet)
        WHERE coalesce(last_new_at, added_at) < :now - greatest(:least, 2 * coalesce(gap, interval '0'))
        ORDER BY outlet
        """
    )
    typed = query.bindparams(
        sa.bindparam("now", now, sa.DateTime(timezone=True)), sa.bindparam("least", least, sa.Interval)
    )
    return [SilentOutlet(*row) for row in conn.execute(typed)]


@dataclass(frozen=True, slots=True)
class PollLine:
    """A poll in short."""

    outlet: str
    url: str
    status: str
    seconds: float
    items: int
    new: int
    updated: int
    duplicates: int
    errors: int
    bytes: int
    error: str | None


def polls_since(conn: Connection, since: dt.datetime) -> list[PollLine]:
    """Polls begun at or after then, in their order."""
    took = sa.extract("epoch", polls.c.finished_at - polls.c.started_at).cast(sa.Float)
    columns = [feeds.c.outlet, feeds.c.url, polls.c.status, took]
    columns += [polls.c[name] for name in ("items", "new", "updated", "duplicates", "errors", "bytes", "error")]
    query = sa.select(*columns).join(feeds, feeds.c.id == polls.c.feed_id).where(polls.c.started_at >= since)
    return [PollLine(*row) for row in conn.execute(query.order_by(polls.c.id))]


def keep_payload(conn: Connection, body: bytes, content_type: str) -> int:
    """Keep a raw response, compressed and once; its id."""
    sha = hashlib.sha256(body).hexdigest()
    row = insert(payloads).values(
        sha256=sha, content_type=content_type[:200], codec="gzip", body=gzip.compress(body, 6, mtime=0)
    )
    again = row.on_conflict_do_update(
        index_elements=["sha256"], set_={"fetched_at": sa.func.clock_timestamp(), "body": row.excluded.body}
    )
    return int(conn.scalars(again.returning(payloads.c.id)).one())


def payload(conn: Connection, payload_id: int) -> bytes:
    """A kept response as it was received; empty when a removal request took it."""
    body = conn.scalars(sa.select(payloads.c.body).where(payloads.c.id == payload_id)).one()
    return gzip.decompress(body) if body else b""


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """A poll's raw response with what is known of its feed now."""

    poll_id: int
    feed_id: int
    feed_url: str
    outlet: str
    category: str
    clock: str
    got_at: dt.datetime
    content_type: str
    body: bytes


def _kept(columns: Sequence[sa.ColumnElement[Any]], since: dt.datetime | None) -> sa.Select[Any]:
    query = (
        sa.select(*columns)
        .select_from(
            polls.join(payloads, payloads.c.id == polls.c.payload_id).join(feeds, feeds.c.id == polls.c.feed_id)
        )
        .where(sa.func.length(payloads.c.body) > 0)
    )
    return query if since is None else query.where(polls.c.started_at >= since)


def count_answers(conn: Connection, since: dt.datetime | None) -> int:
    """How many polls have a kept response."""
    return int(conn.scalar(_kept([sa.func.count()], since)) or 0)


def responses(conn: Connection, since: dt.datetime | None, *, after: int, limit: int) -> list[KeptResponse]:
    """The next kept responses, oldest poll first, from the one after the poll ``after``."""
    columns = [
        polls.c.id, feeds.c.id, feeds.c.url, feeds.c.outlet, feeds.c.category, feeds.c.clock, polls.c.started_at,
        payloads.c.content_type, payloads.c.body,
    ]  # fmt: skip
    query = _kept(columns, since).where(polls.c.id > after).order_by(polls.c.id).limit(limit)
    return [
        KeptResponse(poll_id, feed_id, url, outlet, category, clock, got_at, kind, gzip.decompress(body))
        for poll_id, feed_id, url, outlet, category, clock, got_at, kind, body in conn.execute(query)
    ]


def prune_payloads(conn: Connection, before: dt.datetime) -> int:
    """Delete responses got before then; how many. Their polls stay."""
    old = sa.select(payloads.c.id).where(payloads.c.fetched_at < before).limit(5000).scalar_subquery()
    ids = list(conn.scalars(sa.select(payloads.c.id).where(payloads.c.id.in_(old))))
    conn.execute(sa.update(polls).where(polls.c.payload_id.in_(ids)).values(payload_id=None))
    conn.execute(sa.delete(payloads).where(payloads.c.id.in_(ids)))
    return len(ids)


def payloads_of(
    conn: Connection, article_ids: Sequence[int], *, after: int, limit: int = 100
) -> list[tuple[int, str, bytes]]:
    """The next kept responses (id, content type, body) of these articles' feeds, by id; without known feeds, of all."""
    query = (
        sa.select(payloads.c.id, payloads.c.content_type, payloads.c.body)
        .where(payloads.c.id > after, sa.func.length(payloads.c.body) > 0)
        .order_by(payloads.c.id)
        .limit(limit)
    )
    brought = sa.select(article_feeds.c.feed_id).where(article_feeds.c.article_id.in_(list(article_ids)))
    if conn.scalars(brought.limit(1)).first() is not None:
        polled = sa.select(polls.c.payload_id).where(polls.c.feed_id.in_(brought), polls.c.payload_id.is_not(None))
        query = query.where(payloads.c.id.in_(polled))
    return [(int(id_), kind, gzip.decompress(body)) for id_, kind, body in conn.execute(query)]


def erase_payloads(conn: Connection, ids: Sequence[int]) -> None:
    """Empty these kept responses; their polls stay."""
    if ids:
        conn.execute(sa.update(payloads).where(payloads.c.id.in_(list(ids))).values(body=b""))


def guids(conn: Connection, article_ids: Sequence[int]) -> list[str]:
    """What feeds call these articles."""
    return list(
        conn.scalars(sa.text("SELECT guid FROM article_feeds WHERE article_id = ANY(:ids)"), {"ids": list(article_ids)})
    )


def move(conn: Connection, feed: Feed, url: str) -> bool:
    """Give a feed the address to which it moved for good; False when another feed has that one.

    Its id and history stay; the old address is kept, so that a feed list which has it adds nothing.
    """
    try:
        with conn.begin_nested():
            conn.execute(sa.update(feeds).where(feeds.c.id == feed.id).values(url=url))
    except sa.exc.IntegrityError:
        return False
    conn.execute(sa.delete(feed_moves).where(feed_moves.c.url == url))
    row = insert(feed_moves).values(url=feed.url, feed_id=feed.id)
    conn.execute(row.on_conflict_do_update(index_elements=["url"], set_={"feed_id": feed.id}))
    return True


def record_poll(conn: Connection, values: dict[str, Any], feed: Feed, changes: dict[str, Any]) -> None:
    """Add a poll (columns of ``polls``) and change its feed's state, in the transaction that wrote its articles.

    Raises OvertakenError when the feed is not as it was read: then the transaction must end without effect.
    """
    conn.execute(sa.insert(polls).values(feed_id=feed.id, **values))
    same = feeds.c.last_polled_at.is_not_distinct_from(feed.last_polled_at)
    changed = conn.execute(sa.update(feeds).where(feeds.c.id == feed.id, same).values(**changes))
    if changed.rowcount != 1:
        raise OvertakenError


class FeedLocks:
    """Locks of many feeds on one connection; they end with the process, also by ``kill -9``, and with the database.

    They only save two crawls from doing the same work: that neither undoes the other's is `record_poll`'s part.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._conn: Connection | None = None
        self._guard = threading.Lock()

    def take(self, feed_id: int) -> bool:
        """Whether the feed is ours now; False when another crawl polls it."""
        with self._guard, self._store.answering():
            try:
                if self._conn is None:
                    self._conn = self._store.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                statement = sa.text("SELECT pg_try_advisory_lock(:k)")
                return bool(self._conn.execute(statement, {"k": lock_key(f"garam.feed.{feed_id}")}).scalar_one())
            except sa.exc.SQLAlchemyError:
                self._drop()
                raise

    def release(self, feed_id: int) -> None:
        """Let others poll it. A database that went away has let it go already."""
        with self._guard:
            if self._conn is None:
                return
            try:
                self._conn.execute(sa.text("SELECT pg_advisory_unlock(:k)"), {"k": lock_key(f"garam.feed.{feed_id}")})
            except sa.exc.SQLAlchemyError:
                self._drop()

    def close(self) -> None:
        """Let go of all of them."""
        with self._guard:
            self._drop()

    def _drop(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                conn.invalidate()
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                conn.close()
