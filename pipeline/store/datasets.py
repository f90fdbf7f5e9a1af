"""Training sets and query sets as rows; what a training set reads of statistics and synonyms."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from pipeline.asof import AsOf
from pipeline.errors import UsageError
from pipeline.store.schema import query_sets, statistics, synonym_groups, synonym_runs, training_sets, trends


@dataclass(frozen=True, slots=True)
class TrainingSetRow:
    """A row of ``training_sets``."""

    id: int
    day: dt.date
    known_by: dt.datetime
    recipe_hash: str
    recipe: dict[str, Any]
    artifact: str
    report: dict[str, Any]
    query_set_ids: list[int]
    created_at: dt.datetime

    @property
    def as_of(self) -> AsOf:
        """What it was made of."""
        return AsOf(self.day, self.known_by)


@dataclass(frozen=True, slots=True)
class QuerySetRow:
    """A row of ``query_sets``."""

    id: int
    name: str
    day: dt.date
    known_by: dt.datetime
    artifact: str
    report: dict[str, Any]
    frozen: bool
    created_at: dt.datetime


_SETS = [training_sets.c[name] for name in TrainingSetRow.__slots__]
_QUERIES = [query_sets.c[name] for name in QuerySetRow.__slots__]


def find(conn: Connection, as_of: AsOf, recipe_hash: str) -> TrainingSetRow | None:
    """The training set of this as-of and recipe, if it was made already."""
    query = sa.select(*_SETS).where(
        training_sets.c.day == as_of.day,
        training_sets.c.known_by == as_of.known_by,
        training_sets.c.recipe_hash == recipe_hash,
    )
    row = conn.execute(query).one_or_none()
    return TrainingSetRow(*row) if row is not None else None


def training_set(conn: Connection, training_set_id: int) -> TrainingSetRow:
    """The training set with this id; UsageError when there is none."""
    row = conn.execute(sa.select(*_SETS).where(training_sets.c.id == training_set_id)).one_or_none()
    if row is None:
        raise UsageError(f"there is no training set {training_set_id}: `garam dataset --day D` makes one")
    return TrainingSetRow(*row)


def register(
    conn: Connection,
    as_of: AsOf,
    *,
    recipe_hash: str,
    recipe: dict[str, Any],
    artifact: str,
    report: dict[str, Any],
    query_set_ids: Sequence[int],
) -> int:
    """The id of this as-of's training set of this recipe, new or already there."""
    values = {
        "day": as_of.day,
        "known_by": as_of.known_by,
        "recipe_hash": recipe_hash,
        "recipe": recipe,
        "artifact": artifact,
        "report": report,
        "query_set_ids": list(query_set_ids),
    }
    statement = insert(training_sets).values(values)
    # A pruned artifact that was made again has the same name, as its content is; the update gives the row's id.
    statement = statement.on_conflict_do_update(
        index_elements=["day", "known_by", "recipe_hash"],
        set_={"artifact": artifact, "query_set_ids": list(query_set_ids)},
    )
    return int(conn.execute(statement.returning(training_sets.c.id)).scalar_one())


def register_query_set(
    conn: Connection, as_of: AsOf, *, name: str, artifact: str, report: dict[str, Any], frozen: bool = False
) -> int:
    """The id of the query set with this artifact, new or already there."""
    values = {
        "name": name,
        "day": as_of.day,
        "known_by": as_of.known_by,
        "artifact": artifact,
        "report": report,
        "frozen": frozen,
    }
    conn.execute(insert(query_sets).values(values).on_conflict_do_nothing(index_elements=["artifact"]))
    return int(conn.execute(sa.select(query_sets.c.id).where(query_sets.c.artifact == artifact)).scalar_one())


def query_sets_by_id(conn: Connection, ids: Sequence[int]) -> list[QuerySetRow]:
    """Query sets in the order of their ids as given; UsageError for one that is not there."""
    rows = {
        row.id: QuerySetRow(*row) for row in conn.execute(sa.select(*_QUERIES).where(query_sets.c.id.in_(list(ids))))
    }
    missing = [i for i in ids if i not in rows]
    if missing:
        raise UsageError(f"there is no query set {missing[0]}")
    return [rows[i] for i in ids]


def anchor(conn: Connection) -> QuerySetRow | None:
    """The frozen anchor set; None before the first training set."""
    query = (
        sa.select(*_QUERIES)
        .where(query_sets.c.frozen, query_sets.c.name == "anchor")
        .order_by(query_sets.c.id)
        .limit(1)
    )
    row = conn.execute(query).one_or_none()
    return QuerySetRow(*row) if row is not None else None


@dataclass(frozen=True, slots=True)
class TrendingWords:
    """Words that the newest statistics under an as-of call trending; ``new`` those that were never seen before."""

    content_hash: str
    trending: list[str]
    new: list[str]


def trending_words(conn: Connection, as_of: AsOf) -> TrendingWords:
    """The trends of the newest statistics that the as-of could know; empty when none were computed."""
    newest = conn.execute(
        sa.select(statistics.c.id, statistics.c.content_hash)
        .where(statistics.c.day <= as_of.day, statistics.c.known_by <= as_of.known_by)
        .order_by(statistics.c.day.desc(), statistics.c.known_by.desc(), statistics.c.id.desc())
        .limit(1)
    ).one_or_none()
    if newest is None:
        return TrendingWords("", [], [])
    query = sa.select(trends.c.word, trends.c.is_new).where(trends.c.statistics_id == newest.id).order_by(trends.c.rank)
    rows = conn.execute(query).all()
    return TrendingWords(newest.content_hash, [r.word for r in rows], [r.word for r in rows if r.is_new])


def synonyms(conn: Connection, as_of: AsOf) -> list[tuple[list[str], float]]:
    """Groups (words, confidence) of the newest validated run that the as-of could know, valid on its day."""
    run = (
        sa.select(synonym_runs.c.id)
        .where(
            synonym_runs.c.day <= as_of.day,
            synonym_runs.c.known_by <= as_of.known_by,
            synonym_runs.c.status == "validated",
        )
        .order_by(synonym_runs.c.day.desc(), synonym_runs.c.known_by.desc(), synonym_runs.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    query = (
        sa.select(synonym_groups.c.words, synonym_groups.c.confidence)
        .where(
            synonym_groups.c.run_id == run,
            synonym_groups.c.valid_from <= as_of.day,
            sa.or_(synonym_groups.c.valid_to.is_(None), synonym_groups.c.valid_to > as_of.day),
        )
        .order_by(synonym_groups.c.id)
    )
    return [(list(words), float(confidence)) for words, confidence in conn.execute(query)]
