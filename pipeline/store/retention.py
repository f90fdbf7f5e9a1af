"""Which artifacts rows still need."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.store import models
from pipeline.store.generations import WARM
from pipeline.store.schema import (
    decisions,
    evaluations,
    generations,
    query_sets,
    query_weights,
    synonym_runs,
    training_sets,
)
from pipeline.store.schema import models as model_rows

_NAMES = (
    (model_rows, ("artifact", "vectors")),
    (training_sets, ("artifact",)),
    (query_sets, ("artifact",)),
    (query_weights, ("artifact",)),
    (evaluations, ("artifact",)),
    (synonym_runs, ("model", "embeddings", "clusters")),
)
_SERVED = ("building", "ready", *WARM)


def referenced(conn: Connection, since: dt.datetime) -> set[str]:
    """Artifacts that rows made since then name."""
    found: set[str] = set()
    for table, columns in _NAMES:
        found |= _names(conn, sa.select(*(table.c[name] for name in columns)).where(table.c.created_at >= since))
    return found


def needed(conn: Connection) -> set[str]:
    """Artifacts that are needed however old they are.

    Those of every generation that serves or can be gone back to (model, vectors, query weights, evaluation, training
    set), of the base and of the heads of the training line; the frozen and the judged query sets; and the newest
    training set, query weights and synonyms with what they refer to.
    """
    served = generations.c.status.in_(_SERVED)
    ids = set(conn.scalars(sa.select(generations.c.model_id).where(served)))
    base = models.base(conn)
    heads = (models.head(conn, v) for v in conn.scalars(sa.select(model_rows.c.vocabulary_hash).distinct()).all())
    ids |= {model.id for model in (base, *heads) if model is not None}
    m, t, q, w, e, s = (table.c for table, _ in _NAMES)
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
                sa.select(m.artifact, m.vectors).where(m.id.in_(ids)),
                sa.select(t.artifact).where(sets),
                sa.select(q.artifact).where(sa.or_(q.frozen, q.name.like("judged:%"), q.id.in_(asked))),
                sa.select(w.artifact).where(sa.or_(w.id.in_(weights), w.id == newest_weights)),
                sa.select(e.artifact).where(e.id.in_(judged)),
                sa.select(s.model, s.embeddings, s.clusters).order_by(s.id.desc()).limit(1),
            )
        )
    )


def _names(conn: Connection, query: sa.Select[tuple[str | None, ...]]) -> set[str]:
    return {name for row in conn.execute(query) for name in row if name}
