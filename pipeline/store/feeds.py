"""Feeds, their polls, and the raw answers that were got."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from pipeline.errors import UnavailableError
from pipeline.store.base import Store, lock_key
from pipeline.store.schema import article_feeds, feeds, payloads, polls


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


_COLUMNS = tuple(feeds.c[name] for name in Feed.__slots__)


@dataclass(frozen=True, slots=True)
class FeedState:
    """A feed as people see it: what it is, how it does, what its last poll said."""

    id: int
    url: str
    outlet: str
    category: str
    enabled: bool
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
    error: str | None
    item_errors: Any


def add(conn: Connection, rows: Iterable[tuple[str, str, str]]) -> list[int]:
    """Add feeds (url, outlet, category) or correct their outlet and category; their ids in order."""
    ids = []
    for url, outlet, category in rows:
        row = insert(feeds).values(url=url, outlet=outlet, category=category)
        changed = row.on_conflict_do_update(index_elements=["url"], set_={"outlet": outlet, "category": category})
        ids.append(conn.scalars(changed.returning(feeds.c.id)).one())
    return ids


def count(conn: Connection) -> int:
    """How many feeds there are, disabled ones too."""
    return int(conn.scalar(sa.select(sa.func.count()).select_from(feeds)) or 0)


def enable(conn: Connection, url: str, enabled: bool) -> bool:
    """Switch a feed on or off; False when there is no such feed."""
    return bool(conn.execute(sa.update(feeds).where(feeds.c.url == url).values(enabled=enabled)).rowcount)


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


def read(conn: Connection, feed_id: int) -> Feed:
    """One feed, as it is now."""
    return Feed(*conn.execute(sa.select(*_COLUMNS).where(feeds.c.id == feed_id)).one())


def states(conn: Connection) -> list[FeedState]:
    """All feeds with their last poll, by outlet and url."""
    rows = conn.execute(
        sa.text(
            """
            SELECT f.id, f.url, f.outlet, f.category, f.enabled, f.interval_s, f.next_poll_at, f.failures,
                   f.quarantined_until, f.last_polled_at, f.last_ok_at, f.last_new_at,
                   (SELECT count(*) FROM article_feeds a WHERE a.feed_id = f.id),
                   p.status, p.http_status, coalesce(p.items, 0), p.error, p.item_errors
            FROM feeds f LEFT JOIN LATERAL (
                SELECT * FROM polls WHERE feed_id = f.id ORDER BY id DESC LIMIT 1) p ON true
            ORDER BY f.outlet, f.url
            """
        )
    )
    return [FeedState(*row) for row in rows]


def silent_outlets(conn: Connection, since: dt.datetime) -> list[tuple[str, dt.datetime | None]]:
    """Outlets that are polled and brought nothing new since then, with when they last did."""
    rows = conn.execute(
        sa.select(feeds.c.outlet, sa.func.max(feeds.c.last_new_at))
        .where(feeds.c.enabled)
        .group_by(feeds.c.outlet)
        .having(sa.func.min(feeds.c.added_at) < since)
        .having(sa.or_(sa.func.max(feeds.c.last_new_at).is_(None), sa.func.max(feeds.c.last_new_at) < since))
        .order_by(feeds.c.outlet)
    )
    return [(outlet, last) for outlet, last in rows]


def keep_payload(conn: Connection, body: bytes, content_type: str) -> int:
    """Keep a raw answer, compressed and once; its id."""
    sha = hashlib.sha256(body).hexdigest()
    row = insert(payloads).values(
        sha256=sha, content_type=content_type[:200], codec="gzip", body=gzip.compress(body, 6, mtime=0)
    )
    again = row.on_conflict_do_update(
        index_elements=["sha256"], set_={"fetched_at": sa.func.clock_timestamp(), "body": row.excluded.body}
    )
    return int(conn.scalars(again.returning(payloads.c.id)).one())


def payload(conn: Connection, payload_id: int) -> bytes:
    """A kept answer as it was got; empty when a removal request took it."""
    body = conn.scalars(sa.select(payloads.c.body).where(payloads.c.id == payload_id)).one()
    return gzip.decompress(body) if body else b""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """A poll's raw answer with what is known of its feed now."""

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
    """How many polls have a kept answer."""
    return int(conn.scalar(_kept([sa.func.count()], since)) or 0)


def answers(conn: Connection, since: dt.datetime | None, *, after: int, limit: int) -> list[KeptAnswer]:
    """The next kept answers, oldest poll first, from the one after the poll ``after``."""
    columns = [
        polls.c.id, feeds.c.id, feeds.c.url, feeds.c.outlet, feeds.c.category, feeds.c.clock, polls.c.started_at,
        payloads.c.content_type, payloads.c.body,
    ]  # fmt: skip
    query = _kept(columns, since).where(polls.c.id > after).order_by(polls.c.id).limit(limit)
    return [
        KeptAnswer(poll_id, feed_id, url, outlet, category, clock, got_at, kind, gzip.decompress(body))
        for poll_id, feed_id, url, outlet, category, clock, got_at, kind, body in conn.execute(query)
    ]


def prune_payloads(conn: Connection, before: dt.datetime) -> int:
    """Delete answers got before then; how many. Their polls stay."""
    old = sa.select(payloads.c.id).where(payloads.c.fetched_at < before).limit(5000).scalar_subquery()
    ids = list(conn.scalars(sa.select(payloads.c.id).where(payloads.c.id.in_(old))))
    conn.execute(sa.update(polls).where(polls.c.payload_id.in_(ids)).values(payload_id=None))
    conn.execute(sa.delete(payloads).where(payloads.c.id.in_(ids)))
    return len(ids)


def payloads_of(
    conn: Connection, article_ids: Sequence[int], *, after: int, limit: int = 100
) -> list[tuple[int, str, bytes]]:
    """The next kept answers (id, content type, body) of these articles' feeds, by id; of all where no feed is known."""
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
    """Empty these kept answers; their polls stay."""
    if ids:
        conn.execute(sa.update(payloads).where(payloads.c.id.in_(list(ids))).values(body=b""))


def guids(conn: Connection, article_ids: Sequence[int]) -> list[str]:
    """What feeds call these articles."""
    return list(
        conn.scalars(sa.text("SELECT guid FROM article_feeds WHERE article_id = ANY(:ids)"), {"ids": list(article_ids)})
    )


def record_poll(conn: Connection, values: dict[str, Any], feed_id: int, changes: dict[str, Any]) -> None:
    """Add a poll (columns of ``polls``) and change its feed's state, in the transaction that wrote its articles."""
    conn.execute(sa.insert(polls).values(feed_id=feed_id, **values))
    conn.execute(sa.update(feeds).where(feeds.c.id == feed_id).values(**changes))


class FeedLocks:
    """Locks of many feeds on one connection; they end with the process, also by ``kill -9``."""

    def __init__(self, store: Store) -> None:
        try:
            self._conn = store.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except sa.exc.OperationalError as error:
            raise UnavailableError(f"the database does not answer ({str(error).splitlines()[0]})") from error
        self._guard = threading.Lock()

    def take(self, feed_id: int) -> bool:
        """Whether the feed is ours now; False when another crawl polls it."""
        with self._guard:
            statement = sa.text("SELECT pg_try_advisory_lock(:k)")
            return bool(self._conn.execute(statement, {"k": lock_key(f"garam.feed.{feed_id}")}).scalar_one())

    def release(self, feed_id: int) -> None:
        """Let others poll it."""
        with self._guard:
            self._conn.execute(sa.text("SELECT pg_advisory_unlock(:k)"), {"k": lock_key(f"garam.feed.{feed_id}")})

    def close(self) -> None:
        """Let go of all of them."""
        self._conn.invalidate()
        self._conn.close()
