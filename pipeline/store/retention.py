"""Which artifacts rows still need."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.store import models
from pipeline.store.generations import WARM
from pipeline.store.schema import (
    decisions,
    dense_vectors,
    evaluations,
    generations,
    learning_sums,
    query_sets,
    query_weights,
    synonym_runs,
    training_sets,
)
from pipeline.store.schema import models as model_rows

_NAMES = (
    (model_rows, ("artifact",)),
    (training_sets, ("artifact",)),
    (query_sets, ("artifact",)),
    (query_weights, ("artifact",)),
    (evaluations, ("artifact",)),
    (synonym_runs, ("model", "embeddings", "clusters")),
    (dense_vectors, ("artifact",)),
    (learning_sums, ("artifact",)),
)
_SERVED = ("building", "ready", *WARM)


def referenced(conn: Connection, since: dt.datetime) -> set[str]:
    """Artifacts that rows made since then name."""
    found: set[str] = set()
    for table, columns in _NAMES:
        found |= _names(conn, sa.select(*(table.c[name] for name in columns)).where(table.c.created_at >= since))
    return found


def needed_models(conn: Connection) -> set[str]:
    """Artifacts of the models that are needed: of every generation that serves or can be gone back to, the base, and
    the heads of the training line."""
    return _names(conn, sa.select(model_rows.c.artifact).where(model_rows.c.id.in_(_needed_models(conn))))


def _needed_models(conn: Connection) -> set[int]:
    ids = set(conn.scalars(sa.select(generations.c.model_id).where(generations.c.status.in_(_SERVED))))
    base = models.base(conn)
    heads = (models.head(conn, v) for v in conn.scalars(sa.select(model_rows.c.vocabulary_hash).distinct()).all())
    return ids | {model.id for model in (base, *heads) if model is not None}


def needed(conn: Connection) -> set[str]:
    """Artifacts that are needed however old they are.

    Those of the `needed_models` (query weights, evaluation and training set of what serves, too); the frozen query
    set; and the newest training set, query weights and synonyms with what they refer to.
    """
    served = generations.c.status.in_(_SERVED)
    ids = _needed_models(conn)
    m, t, q, w, e, s, *_ = (table.c for table, _ in _NAMES)
    newest_set = sa.select(sa.func.max(t.id)).scalar_subquery()
    sets = sa.or_(t.id.in_(sa.select(m.training_set_id).where(m.id.in_(ids))), t.id == newest_set)
    newest_weights = sa.select(sa.func.max(w.id)).scalar_subquery()
    asked = sa.select(sa.func.unnest(t.query_set_ids)).where(sets)
    weights = sa.select(generations.c.query_weights_id).where(served)
    judged = (
        sa.select(decisions.c.evaluation_id)
        .join(generations, generations.c.decision_id == decisions.c.id)
        .where(served)
    )
    return set().union(
        *(
            _names(conn, query)
            for query in (
                sa.select(m.artifact).where(m.id.in_(ids)),
                sa.select(t.artifact).where(sets),
                sa.select(q.artifact).where(sa.or_(q.frozen, q.id.in_(asked))),
                sa.select(w.artifact).where(sa.or_(w.id.in_(weights), w.id == newest_weights)),
                sa.select(e.artifact).where(e.id.in_(judged)),
                sa.select(s.model, s.embeddings, s.clusters).order_by(s.id.desc()).limit(1),
            )
        )
    )


def learned_from(conn: Connection, encoders: Collection[str], since: dt.datetime) -> set[str]:
    """Artifacts that models are learned from and documents are made of, however old they are: dense vectors of these
    encoders, and the query table's statistics of the recipes that learning used since then, and of the newest one."""
    d, s = dense_vectors.c, learning_sums.c
    newest = sa.select(s.recipe_hash).order_by(s.id.desc()).limit(1)
    used = sa.select(s.recipe_hash).where(s.created_at >= since)
    return _names(conn, sa.select(d.artifact).where(d.encoder.in_(list(encoders)))) | _names(
        conn, sa.select(s.artifact).where(sa.or_(s.recipe_hash.in_(used), s.recipe_hash.in_(newest)))
    )


def drop(conn: Connection, artifacts: Collection[str]) -> None:
    """Take the rows of these artifacts out where a row says no more than what is in its artifact."""
    for table in (dense_vectors, learning_sums):
        conn.execute(sa.delete(table).where(table.c.artifact.in_(list(artifacts))))


def _names(conn: Connection, query: sa.Select[tuple[str | None, ...]]) -> set[str]:
    return {name for row in conn.execute(query) for name in row if name}
