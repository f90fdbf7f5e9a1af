"""Counts: document frequencies of each day, in batches, and the running sums made of them.

A *counting version* is a level (``token``: the encoder's vocabulary, ``word``: the Korean analyser) with the key of
what defines its terms. A *batch* holds what some articles of one day add to their day's counts; ``arrays`` is a value
of `pipeline.store.packed` with, for each term that occurs, in the order of ``ids``:

- ``ids``      uint32  gaps between ascending term ids (the first is the id itself): token ids, or ``words.id``
- ``articles`` uint32  articles with the term
- ``stories``  uint32  stories with the term that had it in no earlier batch of that day (a story is one event told by
  several outlets, or an article of its own): near-duplicates add to ``articles``, not to ``stories``
- ``outlets``  uint64  which outlets used it, as 64 hashed bits: bits unite over batches, their number is how many
  outlets (too few when two share a bit: with 10 outlets half the time one is missing)

and in ``meta``: ``outlets`` (the bits of all), ``spaces`` (words between spaces, the denominator of tokens per word).
Everything known at T is the batches with ``counted_at`` <= T: a batch never changes after it was committed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from pipeline.store.news import DATED_LATER, UNDATED
from pipeline.store.packed import pack, unpack
from pipeline.store.schema import (
    article_versions,
    articles,
    count_batches,
    count_sums,
    counted_articles,
    counting_versions,
    words,
)

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CountingVersion:
    """A way of counting; usable when ``ready_at`` is set: everything known at ``created_at`` is counted."""

    id: int
    level: str
    key: str
    created_at: dt.datetime
    ready_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Counts:
    """Document frequencies of some articles: arrays aligned with the ascending ``ids``."""

    ids: Ids
    articles: Ids
    stories: Ids
    outlets: NDArray[np.uint64]
    n_articles: int
    n_stories: int
    terms: int  # occurrences of terms, repeats included
    spaces: int  # words between spaces
    all_outlets: int  # bits

    @classmethod
    def empty(cls) -> Counts:
        """Nothing counted."""
        none = np.zeros(0, np.int64)
        return cls(none, none, none, np.zeros(0, np.uint64), 0, 0, 0, 0, 0)

    @classmethod
    def union(cls, parts: Sequence[Counts]) -> Counts:
        """Counts of several batches or days together; exact whatever their order."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.empty()
        stacked = np.concatenate([part.ids for part in parts])
        order = np.argsort(stacked, kind="stable")
        ordered = stacked[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, np.intp)

        def add(name: str) -> Ids:
            values = np.concatenate([getattr(part, name) for part in parts])[order]
            return np.add.reduceat(values, starts) if len(starts) else values

        bits = np.concatenate([part.outlets for part in parts])[order]
        united = 0
        for part in parts:
            united |= part.all_outlets
        return cls(
            ordered[starts],
            add("articles"),
            add("stories"),
            np.bitwise_or.reduceat(bits, starts) if len(starts) else bits,
            sum(part.n_articles for part in parts),
            sum(part.n_stories for part in parts),
            sum(part.terms for part in parts),
            sum(part.spaces for part in parts),
            united,
        )

    def at(self, ids: Ids, name: str = "stories") -> Ids:
        """The counts of ``ids`` (any order), 0 for what does not occur."""
        return look_up(self.ids, getattr(self, name), ids)

    def outlets_at(self, ids: Ids) -> NDArray[np.uint64]:
        """The outlets' bits of ``ids`` (any order), 0 for what does not occur."""
        return look_up(self.ids, self.outlets, ids)


def look_up(keys: Ids, values: NDArray[Any], ids: Ids) -> NDArray[Any]:
    """``values`` at the positions of ``ids`` in the ascending ``keys``; 0 where a key is missing."""
    found = np.zeros(len(ids), values.dtype)
    if len(keys):
        place = np.minimum(np.searchsorted(keys, ids), len(keys) - 1)
        hit = keys[place] == ids
        found[hit] = values[place[hit]]
    return found


def outlet_bit(outlet: str) -> int:
    """The bit that stands for an outlet."""
    return 1 << (hashlib.sha256(outlet.encode()).digest()[0] & 63)


def bits_set(values: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """How many outlets each value stands for."""
    return np.bitwise_count(values)


# ---------------------------------------------------------------- versions
_VERSION = [counting_versions.c[name] for name in ("id", "level", "key", "created_at", "ready_at")]


def ensure_version(conn: Connection, level: str, key: str, now: dt.datetime) -> CountingVersion:
    """The counting version of this level and key, made when it is new."""
    conn.execute(insert(counting_versions).values(level=level, key=key, created_at=now).on_conflict_do_nothing())
    query = sa.select(*_VERSION).where(counting_versions.c.level == level, counting_versions.c.key == key)
    return CountingVersion(*conn.execute(query).one())


def versions(conn: Connection, level: str) -> list[CountingVersion]:
    """Every counting version of a level, newest first."""
    query = sa.select(*_VERSION).where(counting_versions.c.level == level).order_by(counting_versions.c.id.desc())
    return [CountingVersion(*row) for row in conn.execute(query)]


def version(conn: Connection, version_id: int) -> CountingVersion:
    """The counting version with this id."""
    return CountingVersion(*conn.execute(sa.select(*_VERSION).where(counting_versions.c.id == version_id)).one())


def mark_ready(conn: Connection, version_id: int, now: dt.datetime, counted_to: int) -> None:
    """Say that every article up to the id ``counted_to`` is counted; the first time it was ready stands."""
    c = counting_versions.c
    conn.execute(
        sa.update(counting_versions)
        .where(c.id == version_id)
        .values(ready_at=sa.func.coalesce(c.ready_at, now), counted_to=sa.func.greatest(c.counted_to, counted_to))
    )


# ---------------------------------------------------------------- what is to be counted
@dataclass(frozen=True, slots=True)
class Group:
    """Articles to be counted as one batch of ``day``; with ``counted_at`` an older version's batch is redone."""

    day: dt.date
    article_ids: list[int]
    counted_at: dt.datetime | None = None


def _open(version_id: int) -> sa.ColumnElement[bool]:
    counted = sa.select(sa.literal(1)).where(
        counted_articles.c.version_id == version_id, counted_articles.c.article_id == articles.c.id
    )
    readable = sa.select(sa.literal(1)).where(article_versions.c.article_id == articles.c.id)
    done = sa.select(counting_versions.c.counted_to).where(counting_versions.c.id == version_id).scalar_subquery()
    dated_later = articles.c.published_rule == sa.literal_column(f"'{DATED_LATER}'")  # literal: its index is partial
    return sa.and_(
        sa.or_(articles.c.id > done, dated_later),
        articles.c.published_rule.not_in(UNDATED),
        articles.c.removed_at.is_(None),
        ~articles.c.is_ad,
        readable.exists(),
        ~counted.exists(),
    )


def open_days(conn: Connection, version_id: int) -> list[tuple[dt.date, int]]:
    """Days with articles that the version has not counted, oldest first, and how many there are.

    Removed articles and advertisements are never counted, nor those without a known date until they get one. Reads only
    articles newer than those known to be done, and those dated later.
    """
    query = sa.select(articles.c.day, sa.func.count()).where(_open(version_id)).group_by(articles.c.day)
    return [(day, int(n)) for day, n in conn.execute(query.order_by(articles.c.day))]


def uncounted(conn: Connection, version_id: int, first: dt.date, last: dt.date, limit: int) -> list[Group]:
    """The next ``limit`` articles of these days that the version has not counted: a group a day, oldest first."""
    query = (
        sa.select(articles.c.day, articles.c.id)
        .where(_open(version_id), articles.c.day >= first, articles.c.day <= last)
        .order_by(articles.c.day, articles.c.id)
        .limit(limit)
    )
    groups: list[Group] = []
    for day, id_ in conn.execute(query):
        if not groups or groups[-1].day != day:
            groups.append(Group(day, []))
        groups[-1].article_ids.append(id_)
    return groups


def newest_article(conn: Connection) -> int:
    """An id such that every article up to it is committed: call it in the transaction that settled the clock.

    Writers take the clock's lock before they enter an article, so none with a smaller id is still on its way.
    """
    return int(conn.execute(sa.select(sa.func.coalesce(sa.func.max(articles.c.id), 0))).scalar_one())


def batches_to_redo(conn: Connection, version_id: int, older_id: int) -> list[Group]:
    """The older version's batches with articles that the new version has not counted, in their order."""
    mine = counted_articles.alias("mine")
    query = (
        sa.select(count_batches.c.day, count_batches.c.counted_at, sa.func.array_agg(articles.c.id))
        .join(counted_articles, counted_articles.c.batch_id == count_batches.c.id)
        .join(articles, articles.c.id == counted_articles.c.article_id)
        .outerjoin(mine, sa.and_(mine.c.version_id == version_id, mine.c.article_id == articles.c.id))
        .where(count_batches.c.version_id == older_id, mine.c.article_id.is_(None), articles.c.removed_at.is_(None))
        .group_by(count_batches.c.id)
        .order_by(count_batches.c.counted_at, count_batches.c.id)
    )
    return [Group(day, sorted(ids), counted_at) for day, counted_at, ids in conn.execute(query)]


def counted_of_stories(
    conn: Connection, version_id: int, days: Sequence[dt.date], story_ids: Sequence[int]
) -> list[int]:
    """Articles of these stories that the version has counted on these days."""
    story = sa.func.coalesce(articles.c.story_id, articles.c.id)
    query = (
        sa.select(articles.c.id)
        .join(counted_articles, counted_articles.c.article_id == articles.c.id)
        .where(counted_articles.c.version_id == version_id, articles.c.day.in_(days), story.in_(story_ids))
        .order_by(articles.c.id)
    )
    return list(conn.execute(query).scalars())


def still_there(conn: Connection, article_ids: Sequence[int]) -> bool:
    """Whether none of the articles was removed meanwhile; holds up removals until the transaction ends."""
    query = (
        sa.select(articles.c.id)
        .where(articles.c.id.in_(list(article_ids)), articles.c.removed_at.is_(None))
        .with_for_update(read=True, key_share=False)
    )
    return len(conn.execute(query).all()) == len(article_ids)


# ---------------------------------------------------------------- batches
def add_batch(
    conn: Connection, version_id: int, day: dt.date, counted_at: dt.datetime, counts: Counts, article_ids: Sequence[int]
) -> int:
    """Store a batch with the articles it counts; an article that is counted already fails the whole transaction."""
    arrays: dict[str, NDArray[Any]] = {
        "ids": np.diff(counts.ids, prepend=0).astype(np.uint32),
        "articles": counts.articles.astype(np.uint32),
        "stories": counts.stories.astype(np.uint32),
        "outlets": counts.outlets,
    }
    meta = {"outlets": counts.all_outlets, "spaces": counts.spaces}
    batch_id = conn.execute(
        sa.insert(count_batches)
        .values(
            version_id=version_id,
            day=day,
            counted_at=counted_at,
            articles=counts.n_articles,
            stories=counts.n_stories,
            terms_total=counts.terms,
            arrays=pack(arrays, meta),
        )
        .returning(count_batches.c.id)
    ).scalar_one()
    rows = [{"version_id": version_id, "article_id": i, "batch_id": batch_id} for i in article_ids]
    if rows:
        conn.execute(sa.insert(counted_articles), rows)
    return int(batch_id)


def read_days(
    conn: Connection, version_id: int, first: dt.date, last: dt.date, known_by: dt.datetime
) -> Iterator[tuple[dt.date, Counts]]:
    """Each day of ``first..last`` (both included) that has counts known by then, oldest first."""
    b = count_batches.c
    query = (
        sa.select(b.day, b.arrays, b.articles, b.stories, b.terms_total)
        .where(b.version_id == version_id, b.day >= first, b.day <= last, b.counted_at <= known_by)
        .order_by(b.day, b.id)
    )
    day: dt.date | None = None
    parts: list[Counts] = []
    for row in conn.execute(query, execution_options={"yield_per": 16}):
        if day is not None and row[0] != day:
            yield day, Counts.union(parts)
            parts = []
        day = row[0]
        parts.append(_counts(*row[1:]))
    if day is not None:
        yield day, Counts.union(parts)


def _counts(value: bytes, n_articles: int, n_stories: int, terms: int) -> Counts:
    arrays, meta = unpack(bytes(value))
    return Counts(
        np.cumsum(arrays["ids"], dtype=np.int64),
        arrays["articles"].astype(np.int64),
        arrays["stories"].astype(np.int64),
        arrays["outlets"],
        n_articles,
        n_stories,
        terms,
        meta["spaces"],
        meta["outlets"],
    )


def totals(
    conn: Connection, version_id: int, first: dt.date, last: dt.date, known_by: dt.datetime
) -> list[tuple[dt.date, int, int]]:
    """(day, articles, stories) of the days that have counts, oldest first; reads no arrays."""
    b = count_batches.c
    query = (
        sa.select(b.day, sa.func.sum(b.articles), sa.func.sum(b.stories))
        .where(b.version_id == version_id, b.day >= first, b.day <= last, b.counted_at <= known_by)
        .group_by(b.day)
        .order_by(b.day)
    )
    return [(day, int(n), int(s)) for day, n, s in conn.execute(query)]


def first_day(conn: Connection, version_id: int) -> dt.date | None:
    """The oldest day with a batch."""
    query = sa.select(sa.func.min(count_batches.c.day)).where(count_batches.c.version_id == version_id)
    return cast("dt.date | None", conn.execute(query).scalar_one())


# ---------------------------------------------------------------- words
def word_ids(conn: Connection, version_id: int, wanted: Sequence[str], *, add: bool = False) -> dict[str, int]:
    """Ids of words; with ``add`` unknown ones are entered (the caller holds the version's lock)."""
    query = sa.select(words.c.word, words.c.id).where(
        words.c.version_id == version_id, words.c.word == sa.any_(sa.bindparam("wanted", type_=sa.ARRAY(sa.Text)))
    )
    found = {word: int(id_) for word, id_ in conn.execute(query, {"wanted": list(wanted)})}
    if add:
        unknown = sorted(set(wanted) - found.keys())
        for start in range(0, len(unknown), 10_000):
            new = sa.select(
                sa.literal(version_id), sa.func.unnest(sa.cast(unknown[start : start + 10_000], sa.ARRAY(sa.Text)))
            )
            statement = sa.insert(words).from_select(["version_id", "word"], new).returning(words.c.word, words.c.id)
            found |= {word: int(id_) for word, id_ in conn.execute(statement)}
    return found


def words_of(conn: Connection, ids: Sequence[int]) -> dict[int, str]:
    """The words of ids."""
    query = sa.select(words.c.id, words.c.word).where(words.c.id.in_([int(i) for i in ids]))
    return {int(id_): word for id_, word in conn.execute(query)}


# ---------------------------------------------------------------- running sums
def nearest_sums(
    conn: Connection, version_id: int, key: str, day: dt.date, known_by: dt.datetime
) -> tuple[dt.date, bytes] | None:
    """The newest running sums up to ``day`` made of exactly the batches that ``known_by`` has, if there are any.

    Sums made as known at another time serve too, unless a batch of their days was counted between the two times.
    """
    s, b = count_sums.c, count_batches.c
    between = sa.select(sa.literal(1)).where(
        b.version_id == s.version_id,
        b.day <= s.day,
        b.counted_at > sa.func.least(s.known_by, known_by),
        b.counted_at <= sa.func.greatest(s.known_by, known_by),
    )
    query = (
        sa.select(s.day, s.arrays)
        .where(s.version_id == version_id, s.key == key, s.day <= day, ~between.exists())
        .order_by(s.day.desc(), s.known_by.desc())
        .limit(1)
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else (row[0], bytes(row[1]))


def put_sums(conn: Connection, version_id: int, key: str, day: dt.date, known_by: dt.datetime, value: bytes) -> None:
    """Keep running sums; the same ones again are left alone."""
    values = {"version_id": version_id, "key": key, "day": day, "known_by": known_by, "arrays": value}
    conn.execute(insert(count_sums).values(values).on_conflict_do_nothing())


def prune_sums(conn: Connection, version_id: int, key: str, day: dt.date, *, keep_days: int, every: int) -> None:
    """Drop running sums older than ``keep_days`` before ``day``, but for days whose ordinal ``every`` divides."""
    s = count_sums.c
    age = sa.cast(sa.literal(day), sa.Date) - s.day
    # Counted as `date.toordinal` counts: whoever keeps sums on the way picks the same days.
    ordinal = s.day - sa.cast(sa.literal(dt.date.min), sa.Date) + 1
    conn.execute(
        sa.delete(count_sums).where(s.version_id == version_id, s.key == key, age > keep_days, ordinal % every != 0)
    )
