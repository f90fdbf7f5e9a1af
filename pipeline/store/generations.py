"""Generations, what their indices hold, deployments and switches: the truth that OpenSearch is compared with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from pipeline.errors import UsageError
from pipeline.store.articles import Article, columns
from pipeline.store.schema import article_versions, articles, deployments, generations, indexed_articles, switches

WARM = ("live", "retired", "rolled_back")
"""States of a generation whose index is kept up to date: behind the alias, kept to go back to, or rolled back from."""


@dataclass(frozen=True, slots=True)
class Generation:
    """A row of ``generations``: a model with its tokenizer, query weights and index settings, under one index."""

    id: int
    model_id: int
    decision_id: int | None
    query_weights_id: int | None  # None: the model's own
    index_name: str
    content_hash: str
    query_model: str | None  # id in ML Commons
    trend_weights_id: int | None  # None: none were published yet
    trend_model: str | None  # id in ML Commons; None: no word is lifted
    status: str  # building, ready, live, retired, rolled_back, failed, deleted
    settings: dict[str, Any]
    created_at: dt.datetime
    promoted_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """A row of ``deployments``; ``done_at`` is None while OpenSearch is not known to have done it."""

    id: int
    generation_id: int
    action: str  # promote, rebuild, rollback, weights
    actor: str
    reason: str
    at: dt.datetime
    done_at: dt.datetime | None


_GENERATION = [generations.c[name] for name in Generation.__slots__]
_DEPLOYMENT = [deployments.c[name] for name in Deployment.__slots__]


# ---------------------------------------------------------------- generations
def live(conn: Connection) -> Generation | None:
    """The generation behind the alias; None before the first deployment."""
    row = conn.execute(sa.select(*_GENERATION).where(generations.c.status == "live")).one_or_none()
    return Generation(*row) if row is not None else None


def get(conn: Connection, generation_id: int) -> Generation:
    """The generation with this id; UsageError when there is none."""
    row = conn.execute(sa.select(*_GENERATION).where(generations.c.id == generation_id)).one_or_none()
    if row is None:
        raise UsageError(f"there is no generation {generation_id}")
    return Generation(*row)


def with_status(conn: Connection, statuses: Sequence[str]) -> list[Generation]:
    """Generations in one of these states, newest first."""
    query = sa.select(*_GENERATION).where(generations.c.status.in_(list(statuses))).order_by(generations.c.id.desc())
    return [Generation(*row) for row in conn.execute(query)]


def before(conn: Connection, generation: Generation) -> Generation | None:
    """The generation that was promoted last before this one: where a rollback goes.

    One that was itself rolled back from is passed over: its state is ``rolled_back``, not ``retired``.
    """
    query = (
        sa.select(*_GENERATION)
        .where(generations.c.status == "retired", generations.c.promoted_at < generation.promoted_at)
        .order_by(generations.c.promoted_at.desc(), generations.c.id.desc())
        .limit(1)
    )
    row = conn.execute(query).one_or_none()
    return Generation(*row) if row is not None else None


def new(
    conn: Connection,
    *,
    model_id: int,
    decision_id: int | None,
    query_weights_id: int | None,
    alias: str,
    content_hash: str,
    settings: dict[str, Any],
) -> Generation:
    """A new generation in state ``building``; its id names its index, ``<alias>-gNNNN``."""
    number = conn.execute(sa.select(sa.func.nextval(sa.func.pg_get_serial_sequence("generations", "id")))).scalar_one()
    values = {
        "id": number,
        "model_id": model_id,
        "decision_id": decision_id,
        "query_weights_id": query_weights_id,
        "index_name": f"{alias}-g{number:04d}",
        "content_hash": content_hash,
        "settings": settings,
    }
    conn.execute(sa.insert(generations).values(values))
    return get(conn, int(number))


def mark(conn: Connection, generation_id: int, status: str) -> None:
    """Set a generation's state; what it held is forgotten with its index."""
    conn.execute(sa.update(generations).where(generations.c.id == generation_id).values(status=status))
    if status in ("failed", "deleted"):
        conn.execute(sa.delete(indexed_articles).where(indexed_articles.c.generation_id == generation_id))


def set_query_model(
    conn: Connection, generation_id: int, query_model: str, query_weights_id: int | None, content_hash: str
) -> None:
    """Record which query model a generation's search pipeline names, and with what weights."""
    conn.execute(
        sa.update(generations)
        .where(generations.c.id == generation_id)
        .values(query_model=query_model, query_weights_id=query_weights_id, content_hash=content_hash)
    )


def set_trends(conn: Connection, generation_id: int, trend_weights_id: int, trend_model: str | None) -> None:
    """Record which trend weights a generation serves, and by which query model (None: no word is lifted)."""
    conn.execute(
        sa.update(generations)
        .where(generations.c.id == generation_id)
        .values(trend_weights_id=trend_weights_id, trend_model=trend_model)
    )


def go_live(conn: Connection, generation_id: int, *, previous: str = "retired") -> None:
    """Make a generation the live one; the one that was live gets the state ``previous``.

    A promotion (``previous`` is retired) puts it last in the order that rollbacks follow; a rollback or a rebuild
    leaves its place in that order as it was.
    """
    was = conn.execute(
        sa.select(generations.c.id).where(generations.c.status == "live", generations.c.id != generation_id)
    ).scalar_one_or_none()
    if was is not None:
        mark(conn, was, previous)
    now = sa.func.clock_timestamp()
    promoted_at = now if previous == "retired" else sa.func.coalesce(generations.c.promoted_at, now)
    conn.execute(
        sa.update(generations).where(generations.c.id == generation_id).values(status="live", promoted_at=promoted_at)
    )


def set_promoted_at(conn: Connection, generation_id: int, instant: dt.datetime) -> None:
    """Give a rebuilt generation the place in time of the one that it replaces."""
    conn.execute(sa.update(generations).where(generations.c.id == generation_id).values(promoted_at=instant))


# ---------------------------------------------------------------- what an index holds
def pending(conn: Connection, generation_id: int, *, after: int = 0, limit: int = 500) -> list[Article]:
    """Articles that the generation's index lacks or holds in an older version, by id, from the one after ``after``.

    The newest version of each; neither removed ones nor advertisements.
    """
    held = indexed_articles.alias("held")
    query = (
        sa.select(*columns(article_versions))
        .join(
            article_versions,
            sa.and_(article_versions.c.article_id == articles.c.id, article_versions.c.version == articles.c.version),
        )
        .outerjoin(held, sa.and_(held.c.generation_id == generation_id, held.c.article_id == articles.c.id))
        .where(
            articles.c.id > after,
            articles.c.removed_at.is_(None),
            ~articles.c.is_ad,
            sa.or_(held.c.version.is_(None), held.c.version < articles.c.version),
        )
        .order_by(articles.c.id)
        .limit(limit)
    )
    return [Article(*row) for row in conn.execute(query)]


def count_pending(conn: Connection, generation_id: int) -> int:
    """How many articles `pending` would give in all."""
    held = indexed_articles.alias("held")
    query = (
        sa.select(sa.func.count())
        .select_from(
            articles.outerjoin(held, sa.and_(held.c.generation_id == generation_id, held.c.article_id == articles.c.id))
        )
        .where(
            articles.c.removed_at.is_(None),
            ~articles.c.is_ad,
            sa.or_(held.c.version.is_(None), held.c.version < articles.c.version),
        )
    )
    return int(conn.execute(query).scalar_one())


def unwanted(conn: Connection, generation_id: int) -> list[int]:
    """Ids of articles that the index holds and should not: removed, or found to be advertisements."""
    query = (
        sa.select(articles.c.id)
        .join(indexed_articles, indexed_articles.c.article_id == articles.c.id)
        .where(
            indexed_articles.c.generation_id == generation_id,
            sa.or_(articles.c.removed_at.is_not(None), articles.c.is_ad),
        )
        .order_by(articles.c.id)
    )
    return [int(number) for number in conn.execute(query).scalars()]


def record_indexed(conn: Connection, generation_id: int, held: Iterable[tuple[int, int]]) -> None:
    """Write down that the index holds these (article id, version)."""
    rows = [{"generation_id": generation_id, "article_id": article, "version": version} for article, version in held]
    if rows:
        statement = insert(indexed_articles).values(rows)
        conn.execute(
            statement.on_conflict_do_update(
                index_elements=["generation_id", "article_id"],
                set_={"version": sa.func.greatest(indexed_articles.c.version, statement.excluded.version)},
            )
        )


def record_removed(conn: Connection, generation_id: int, ids: Sequence[int]) -> None:
    """Write down that the index does not hold these articles any more."""
    if ids:
        conn.execute(
            sa.delete(indexed_articles).where(
                indexed_articles.c.generation_id == generation_id, indexed_articles.c.article_id.in_(list(ids))
            )
        )


def forget_indexed(conn: Connection, generation_id: int) -> None:
    """Write down that the index is empty (it was lost, and is made again)."""
    conn.execute(sa.delete(indexed_articles).where(indexed_articles.c.generation_id == generation_id))


def count_indexed(conn: Connection, generation_id: int) -> int:
    """How many articles the generation's index should hold."""
    query = sa.select(sa.func.count()).where(indexed_articles.c.generation_id == generation_id)
    return int(conn.execute(query).scalar_one())


def sample_indexed(conn: Connection, generation_id: int, size: int) -> list[tuple[int, str, str]]:
    """(id, title, text) of articles that the index holds in their newest version, spread over all of them."""
    numbered = (
        sa.select(
            articles.c.id,
            article_versions.c.title,
            article_versions.c.text,
            sa.func.row_number().over(order_by=articles.c.id).label("row"),
            sa.func.count().over().label("total"),
        )
        .join(indexed_articles, indexed_articles.c.article_id == articles.c.id)
        .join(
            article_versions,
            sa.and_(
                article_versions.c.article_id == articles.c.id,
                article_versions.c.version == indexed_articles.c.version,
            ),
        )
        .where(indexed_articles.c.generation_id == generation_id, articles.c.removed_at.is_(None))
        .subquery()
    )
    step = sa.func.greatest(1, numbered.c.total / size)
    query = (
        sa.select(numbered.c.id, numbered.c.title, numbered.c.text)
        .where(numbered.c.row % step == 0)
        .order_by(numbered.c.id)
        .limit(size)
    )
    return [(int(number), title, text) for number, title, text in conn.execute(query)]


def article_ids(conn: Connection, url: str) -> list[int]:
    """The id of the article with this canonical URL, as a list of one or none."""
    return [int(number) for number in conn.execute(sa.select(articles.c.id).where(articles.c.url == url)).scalars()]


# ---------------------------------------------------------------- deployments
def announce(conn: Connection, generation_id: int, *, action: str, actor: str, reason: str) -> int:
    """Write down what is about to be done in OpenSearch, so that whoever comes after a crash can tell."""
    values = {"generation_id": generation_id, "action": action, "actor": actor, "reason": reason}
    return int(conn.execute(sa.insert(deployments).values(values).returning(deployments.c.id)).scalar_one())


def announced(conn: Connection) -> list[Deployment]:
    """What was announced and is not done, oldest first."""
    query = sa.select(*_DEPLOYMENT).where(deployments.c.done_at.is_(None)).order_by(deployments.c.id)
    return [Deployment(*row) for row in conn.execute(query)]


def done(conn: Connection, deployment_id: int) -> None:
    """Write down that OpenSearch has done it."""
    conn.execute(
        sa.update(deployments).where(deployments.c.id == deployment_id).values(done_at=sa.func.clock_timestamp())
    )


def withdraw(conn: Connection, deployment_id: int) -> None:
    """Take back an announcement that was never carried out."""
    conn.execute(sa.delete(deployments).where(deployments.c.id == deployment_id, deployments.c.done_at.is_(None)))


def history(conn: Connection, limit: int = 50) -> list[Deployment]:
    """What was done, newest first."""
    query = (
        sa.select(*_DEPLOYMENT)
        .where(deployments.c.done_at.is_not(None))
        .order_by(deployments.c.done_at.desc(), deployments.c.id.desc())
        .limit(limit)
    )
    return [Deployment(*row) for row in conn.execute(query)]


# ---------------------------------------------------------------- switches
def switch(conn: Connection, name: str) -> tuple[str, str] | None:
    """Value and reason of a switch; None when it was never set."""
    row = conn.execute(sa.select(switches.c.value, switches.c.reason).where(switches.c.name == name)).one_or_none()
    return (str(row[0]), str(row[1])) if row is not None else None


def set_switch(conn: Connection, name: str, value: str, reason: str) -> None:
    """Set a switch."""
    statement = insert(switches).values(name=name, value=value, reason=reason)
    conn.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"value": value, "reason": reason, "at": sa.func.clock_timestamp()}
        )
    )
