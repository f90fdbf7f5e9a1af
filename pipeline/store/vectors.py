"""Which artifacts hold dense vectors, and which the query table's statistics of a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from pipeline.store.schema import articles, dense_vectors, learning_sums


@dataclass(frozen=True, slots=True)
class DenseRow:
    """A row of ``dense_vectors``."""

    encoder: str
    artifact: str
    texts: int


@dataclass(frozen=True, slots=True)
class SumsRow:
    """A row of ``learning_sums``: the statistics of these versions of these articles of a day."""

    day: dt.date
    article_ids: list[int]
    versions: list[int]
    artifact: str


def dense(conn: Connection, encoder: str | None = None) -> list[DenseRow]:
    """What is kept of a dense encoder (of all, without one), oldest first."""
    query = sa.select(*(dense_vectors.c[name] for name in DenseRow.__slots__)).order_by(dense_vectors.c.id)
    if encoder is not None:
        query = query.where(dense_vectors.c.encoder == encoder)
    return [DenseRow(*row) for row in conn.execute(query)]


def add_dense(conn: Connection, encoder: str, artifact: str, texts: int, replaces: Sequence[str] = ()) -> None:
    """Enter an artifact of dense vectors; those that it ``replaces`` (their rows went into it) are no longer read."""
    values = {"encoder": encoder, "artifact": artifact, "texts": texts}
    conn.execute(insert(dense_vectors).values(values).on_conflict_do_nothing(index_elements=["artifact"]))
    drop_dense(conn, [name for name in replaces if name != artifact])


def drop_dense(conn: Connection, artifacts: Sequence[str]) -> None:
    """Take artifacts of dense vectors out: what they held is encoded again when it is wanted."""
    if artifacts:
        conn.execute(sa.delete(dense_vectors).where(dense_vectors.c.artifact.in_(list(artifacts))))


def sums(conn: Connection, recipe_hash: str) -> list[SumsRow]:
    """The statistics that are kept of a recipe, by day and then oldest first."""
    query = (
        sa.select(*(learning_sums.c[name] for name in SumsRow.__slots__))
        .where(learning_sums.c.recipe_hash == recipe_hash)
        .order_by(learning_sums.c.day, learning_sums.c.id)
    )
    return [SumsRow(*row) for row in conn.execute(query)]


def add_sums(conn: Connection, recipe_hash: str, rows: Sequence[SumsRow]) -> None:
    """Enter statistics; what is there already is left, and a batch with an article that was removed stays out."""
    every = {number for row in rows for number in row.article_ids}
    query = sa.select(articles.c.id).where(articles.c.id.in_(every), articles.c.removed_at.is_not(None))
    removed = set(conn.scalars(query))
    for row in rows:
        if not removed.isdisjoint(row.article_ids):
            continue
        values = {"recipe_hash": recipe_hash, **{name: getattr(row, name) for name in SumsRow.__slots__}}
        conn.execute(insert(learning_sums).values(values).on_conflict_do_nothing())


def drop_sums_of(conn: Connection, article_ids: Sequence[int]) -> list[str]:
    """Take the statistics of these articles out, with those of the others in the same batch; the artifacts that no
    other batch is in."""
    overlap = learning_sums.c.article_ids.overlap(list(article_ids))
    gone = set(conn.scalars(sa.delete(learning_sums).where(overlap).returning(learning_sums.c.artifact)))
    left = (
        set(conn.scalars(sa.select(learning_sums.c.artifact).where(learning_sums.c.artifact.in_(gone))))
        if gone
        else set()
    )
    return sorted(gone - left)
