"""Statistics of an as-of (IDF by token, drift), its trends, and the query weights made of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.engine import Connection

from pipeline.asof import AsOf
from pipeline.errors import UsageError
from pipeline.store.packed import Arrays, pack, unpack
from pipeline.store.schema import article_versions, articles, query_weights
from pipeline.store.schema import statistics as statistics_table
from pipeline.store.schema import trends as trends_table


@dataclass(frozen=True, slots=True)
class Trend:
    """A trending word or phrase of a day. ``boost`` is 1 where the calendar explains it or boosts are off.

    ``evidence``: stories, of_stories, past_stories, of_past_stories, articles, outlets, lift, surprise (what ``rank``
    follows), first_seen (day), days, burst_since (day or None), calendar (a sentence or None), year_ago ([stories with
    it, stories] or None), parts (words shown as part of it), phrases (longer ones shown with it), examples
    ([{article_id, title, day, outlet}]), sentence.
    """

    rank: int
    word: str
    z: float
    q_value: float
    boost: float
    is_new: bool
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of an as-of. ``arrays`` by token id, V the vocabulary's size:

    temporal_idf, ensemble_idf float64 (V,); windowed_idf float64 (windows, V); decayed_df float64 (V,); window_df int64
    (windows, V); recent_df int64 (V,), stories of the days that trends were looked for in.
    """

    id: int
    as_of: AsOf
    token_version_id: int
    word_version_id: int
    config_hash: str
    content_hash: str
    articles: int
    arrays: dict[str, NDArray[Any]]
    drift: dict[str, Any]
    summary: dict[str, Any]
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class QueryWeights:
    """Weights of an as-of: the artifact holds weights.npy (float32, V) and explain.json."""

    id: int
    statistics_id: int
    day: dt.date
    vocabulary_hash: str
    content_hash: str
    artifact: str
    status: str  # candidate, accepted, rejected
    verdict: Any
    created_at: dt.datetime


_S = statistics_table.c
_T = trends_table.c
_W = query_weights.c


def find(conn: Connection, as_of: AsOf, token_version_id: int, word_version_id: int, config_hash: str) -> int | None:
    """The id of statistics that were computed already."""
    query = sa.select(_S.id).where(
        _S.day == as_of.day,
        _S.known_by == as_of.known_by,
        _S.token_version_id == token_version_id,
        _S.word_version_id == word_version_id,
        _S.config_hash == config_hash,
    )
    return conn.execute(query).scalar_one_or_none()


def add(
    conn: Connection,
    as_of: AsOf,
    *,
    token_version_id: int,
    word_version_id: int,
    config_hash: str,
    content_hash: str,
    n_articles: int,
    arrays: Arrays,
    drift: dict[str, Any],
    summary: dict[str, Any],
    trends: Sequence[Trend],
) -> int:
    """Store statistics with their trends; the id of the first ones when somebody else stored them meanwhile."""
    values = {
        "day": as_of.day,
        "known_by": as_of.known_by,
        "token_version_id": token_version_id,
        "word_version_id": word_version_id,
        "config_hash": config_hash,
        "content_hash": content_hash,
        "articles": n_articles,
        "arrays": pack(arrays),
        "drift": drift,
        "summary": summary,
    }
    new = conn.execute(
        insert(statistics_table).values(values).on_conflict_do_nothing().returning(_S.id)
    ).scalar_one_or_none()
    if new is None:
        known = find(conn, as_of, token_version_id, word_version_id, config_hash)
        assert known is not None
        return known
    rows = [
        {
            "statistics_id": new,
            "rank": trend.rank,
            "word": trend.word,
            "z": trend.z,
            "q_value": trend.q_value,
            "boost": trend.boost,
            "is_new": trend.is_new,
            "evidence": trend.evidence,
        }
        for trend in trends
    ]
    if rows:
        conn.execute(sa.insert(trends_table), rows)
    return int(new)


def get(conn: Connection, statistics_id: int) -> Statistics:
    """Statistics with their arrays; UsageError when there are none with this id."""
    row = conn.execute(sa.select(statistics_table).where(_S.id == statistics_id)).mappings().one_or_none()
    if row is None:
        raise UsageError(f"there are no statistics {statistics_id}: `garam learn --day DAY` computes them")
    arrays, _ = unpack(bytes(row["arrays"]))
    return Statistics(
        row["id"],
        AsOf(row["day"], row["known_by"]),
        row["token_version_id"],
        row["word_version_id"],
        row["config_hash"],
        row["content_hash"],
        row["articles"],
        arrays,
        row["drift"] or {},
        row["summary"] or {},
        row["created_at"],
    )


def newest(
    conn: Connection, day: dt.date, known_by: dt.datetime | None = None, *, or_before: bool = False
) -> int | None:
    """The id of the newest statistics of ``day`` (or of the latest day up to it), as known by then or earlier."""
    query = sa.select(_S.id).where(_S.day <= day if or_before else _S.day == day)
    if known_by is not None:
        query = query.where(_S.known_by <= known_by)
    return conn.execute(query.order_by(_S.day.desc(), _S.known_by.desc(), _S.id.desc()).limit(1)).scalar_one_or_none()


def drifts(
    conn: Connection, first: dt.date, last: dt.date, known_by: dt.datetime | None = None
) -> list[tuple[dt.date, dict[str, Any]]]:
    """(day, drift) of the newest statistics of each day of ``first..last`` that has some, oldest first."""
    query = sa.select(_S.day, _S.drift).where(_S.day >= first, _S.day <= last)
    if known_by is not None:
        query = query.where(_S.known_by <= known_by)
    query = query.ext(distinct_on(_S.day)).order_by(_S.day, _S.known_by.desc(), _S.id.desc())
    return [(day, drift or {}) for day, drift in conn.execute(query)]


def trends_of(conn: Connection, statistics_id: int) -> list[Trend]:
    """The trends of statistics, by rank."""
    query = sa.select(_T.rank, _T.word, _T.z, _T.q_value, _T.boost, _T.is_new, _T.evidence)
    return [Trend(*row) for row in conn.execute(query.where(_T.statistics_id == statistics_id).order_by(_T.rank))]


@dataclass(frozen=True, slots=True)
class Head:
    """What a person sees of an article first: ``opening`` is how its text begins."""

    article_id: int
    title: str
    opening: str
    day: dt.date
    outlet: str
    story: int


def heads(conn: Connection, as_of: AsOf, first: dt.date, *, opening: int = 300, limit: int = 20_000) -> list[Head]:
    """The articles of ``first`` to the as-of's day in the version known by then, newest day first, then by id.

    ``opening`` is how many characters of the text are read.
    """
    a, v = articles.c, article_versions.c
    newest_version = (
        sa.select(v.title, sa.func.left(v.text, opening).label("opening"), v.is_ad)
        .where(v.article_id == a.id, v.seen_at <= as_of.known_by)
        .order_by(v.version.desc())
        .limit(1)
        .lateral()
    )
    query = (
        sa.select(
            a.id, newest_version.c.title, newest_version.c.opening, a.day, a.outlet, sa.func.coalesce(a.story_id, a.id)
        )
        .join(newest_version, sa.true())
        .where(a.day >= first, a.day <= as_of.day, a.first_seen_at <= as_of.known_by, a.removed_at.is_(None))
        .where(~newest_version.c.is_ad)
        .order_by(a.day.desc(), a.id)
        .limit(limit)
    )
    return [Head(*row) for row in conn.execute(query)]


# ---------------------------------------------------------------- query weights
def add_query_weights(
    conn: Connection, *, statistics_id: int, day: dt.date, vocabulary_hash: str, content_hash: str, artifact: str
) -> int:
    """The id of the query weights with this content, new or already there."""
    values = {
        "statistics_id": statistics_id,
        "day": day,
        "vocabulary_hash": vocabulary_hash,
        "content_hash": content_hash,
        "artifact": artifact,
    }
    conn.execute(insert(query_weights).values(values).on_conflict_do_nothing())
    query = sa.select(_W.id).where(_W.statistics_id == statistics_id, _W.content_hash == content_hash)
    return int(conn.execute(query).scalar_one())


def get_query_weights(conn: Connection, query_weights_id: int) -> QueryWeights:
    """Query weights by id; UsageError when there are none."""
    row = conn.execute(sa.select(*_weights()).where(_W.id == query_weights_id)).one_or_none()
    if row is None:
        raise UsageError(f"there are no query weights {query_weights_id}: `garam learn --day DAY` makes them")
    return QueryWeights(*row)


def newest_query_weights(conn: Connection, day: dt.date, known_by: dt.datetime | None = None) -> QueryWeights | None:
    """The newest query weights of ``day``, of statistics known by then or earlier; None when there are none."""
    query = sa.select(*_weights()).join(statistics_table, _S.id == _W.statistics_id).where(_W.day == day)
    if known_by is not None:
        query = query.where(_S.known_by <= known_by)
    row = conn.execute(query.order_by(_S.known_by.desc(), _W.id.desc()).limit(1)).one_or_none()
    return None if row is None else QueryWeights(*row)


def _weights() -> list[sa.Column[Any]]:
    return [_W[name] for name in QueryWeights.__slots__]
