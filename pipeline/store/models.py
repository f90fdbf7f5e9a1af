"""Models, and which of them is the base, the head and the champion."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from pipeline.asof import AsOf
from pipeline.errors import UsageError
from pipeline.store.schema import generations, models


@dataclass(frozen=True, slots=True)
class Model:
    """A row of ``models``: an artifact with its card and its place in the training line."""

    id: int
    artifact: str
    kind: str  # base, trained
    parent_id: int | None
    training_set_id: int | None
    day: dt.date | None
    known_by: dt.datetime | None
    vocabulary_hash: str
    card: dict[str, Any]
    unhealthy_at: dt.datetime | None  # when a decision took it out of the training line
    unhealthy_why: str | None
    created_at: dt.datetime

    @property
    def as_of(self) -> AsOf | None:
        """What it was trained on; None for a base."""
        return AsOf(self.day, self.known_by) if self.day and self.known_by else None


_COLUMNS = [models.c[name] for name in Model.__slots__]


def register(
    conn: Connection,
    *,
    artifact: str,
    kind: str,
    vocabulary_hash: str,
    card: dict[str, Any],
    parent_id: int | None = None,
    training_set_id: int | None = None,
    day: dt.date | None = None,
    known_by: dt.datetime | None = None,
) -> int:
    """The id of the model with this artifact, new or already there (the same artifact is the same model)."""
    values = {
        "artifact": artifact,
        "kind": kind,
        "vocabulary_hash": vocabulary_hash,
        "card": card,
        "parent_id": parent_id,
        "training_set_id": training_set_id,
        "day": day,
        "known_by": known_by,
    }
    statement = insert(models).values(values).on_conflict_do_nothing(index_elements=["artifact"])
    conn.execute(statement)
    return int(conn.execute(sa.select(models.c.id).where(models.c.artifact == artifact)).scalar_one())


def _one(conn: Connection, query: sa.Select[Any]) -> Model | None:
    row = conn.execute(query).one_or_none()
    return Model(*row) if row is not None else None


def get(conn: Connection, model_id: int) -> Model:
    """The model with this id; UsageError when there is none."""
    model = _one(conn, sa.select(*_COLUMNS).where(models.c.id == model_id))
    if model is None:
        raise UsageError(f"there is no model {model_id}: `garam models` lists them")
    return model


def base(conn: Connection) -> Model | None:
    """The newest base model: its vocabulary is the one that is counted and trained with."""
    return _one(conn, sa.select(*_COLUMNS).where(models.c.kind == "base").order_by(models.c.id.desc()).limit(1))


def head(conn: Connection, vocabulary_hash: str, as_of: AsOf | None = None) -> Model | None:
    """The head of the training line: the newest healthy trained model with this vocabulary, else the newest base.

    With an ``as_of``, as it was then: models of earlier days that were known, and unhealthy ones only once that was
    known. A model is unhealthy when its evaluation says so or a person rolled back from it.
    """
    trained = sa.and_(models.c.kind == "trained", models.c.unhealthy_at.is_(None))
    if as_of is not None:
        trained = sa.and_(
            models.c.kind == "trained",
            sa.or_(models.c.unhealthy_at.is_(None), models.c.unhealthy_at > as_of.known_by),
            models.c.day < as_of.day,
            models.c.known_by <= as_of.known_by,
        )
    query = (
        sa.select(*_COLUMNS)
        .where(models.c.vocabulary_hash == vocabulary_hash, sa.or_(models.c.kind == "base", trained))
        .order_by(
            (models.c.kind == "trained").desc(),
            models.c.day.desc().nulls_last(),
            models.c.known_by.desc().nulls_last(),
            models.c.id.desc(),
        )
        .limit(1)
    )
    return _one(conn, query)


def champion(conn: Connection) -> Model | None:
    """The model of the generation that is live behind the alias; None before the first deployment."""
    query = sa.select(*_COLUMNS).join(generations, generations.c.model_id == models.c.id)
    return _one(conn, query.where(generations.c.status == "live"))


def all_models(conn: Connection) -> list[Model]:
    """Every model, newest first."""
    return [Model(*row) for row in conn.execute(sa.select(*_COLUMNS).order_by(models.c.id.desc()))]


def mark_unhealthy(conn: Connection, model_id: int, why: str) -> None:
    """Take a model out of the training line, once: trainings whose as-of knows of it start from an older one."""
    statement = sa.update(models).where(models.c.id == model_id, models.c.unhealthy_at.is_(None))
    conn.execute(statement.values(unhealthy_at=sa.func.clock_timestamp(), unhealthy_why=why))
