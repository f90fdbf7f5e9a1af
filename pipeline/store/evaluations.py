"""Evaluations, decisions and their approvals; what the gate reads of generations and query weights."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from pipeline.errors import RefusedError, UsageError
from pipeline.store.schema import articles, decisions, evaluations, generations, models, query_sets, query_weights


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A row of ``evaluations``."""

    id: int
    model_id: int
    champion_id: int | None  # the generation that was live
    config_hash: str
    report: dict[str, Any]
    artifact: str
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """A row of ``decisions``: the gate's verdict on a model, and what a person said to it."""

    id: int
    model_id: int
    evaluation_id: int
    verdict: str  # promote, reject
    reason: str
    rules: list[dict[str, Any]]
    approval: str | None  # approved, refused
    approved_by: str | None
    created_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Live:
    """The generation behind the alias, as the gate needs it."""

    id: int
    model_id: int
    query_weights_id: int | None


@dataclass(frozen=True, slots=True)
class Weights:
    """A row of ``query_weights``."""

    id: int
    day: dt.date
    vocabulary_hash: str
    artifact: str
    status: str  # candidate, accepted, rejected
    verdict: dict[str, Any] | None


_EVALUATION = [evaluations.c[name] for name in Evaluation.__slots__]
_DECISION = [decisions.c[name] for name in Decision.__slots__]
_WEIGHTS = [query_weights.c[name] for name in Weights.__slots__]


def evaluation(conn: Connection, evaluation_id: int) -> Evaluation:
    """The evaluation with this id; UsageError when there is none."""
    row = conn.execute(sa.select(*_EVALUATION).where(evaluations.c.id == evaluation_id)).one_or_none()
    if row is None:
        raise UsageError(f"there is no evaluation {evaluation_id}")
    return Evaluation(*row)


def find(conn: Connection, model_id: int, champion_id: int | None, config_hash: str) -> Evaluation | None:
    """The evaluation of a model against a generation under a configuration, if it was made already."""
    query = sa.select(*_EVALUATION).where(
        evaluations.c.model_id == model_id,
        evaluations.c.champion_id.is_not_distinct_from(champion_id),
        evaluations.c.config_hash == config_hash,
    )
    row = conn.execute(query).one_or_none()
    return Evaluation(*row) if row is not None else None


def register(
    conn: Connection, *, model_id: int, champion_id: int | None, config_hash: str, report: dict[str, Any], artifact: str
) -> int:
    """The id of this evaluation, new or already there (the first one stays)."""
    values = {
        "model_id": model_id,
        "champion_id": champion_id,
        "config_hash": config_hash,
        "report": report,
        "artifact": artifact,
    }
    conn.execute(insert(evaluations).values(values).on_conflict_do_nothing())
    found = find(conn, model_id, champion_id, config_hash)
    assert found is not None
    return found.id


@dataclass(frozen=True, slots=True)
class AnchorValue:
    """What an evaluation measured on the anchor set, and whether its candidate ever served."""

    evaluation_id: int
    model_id: int
    champion_model_id: int | None
    artifact: str
    values: dict[str, float]  # mean nDCG@10 by system
    served: bool


def anchor_values(conn: Connection, identity: str) -> list[AnchorValue]:
    """All evaluations on the anchor set of this identity, oldest first.

    A candidate counts as served when one of its generations was ever promoted, or when the gate promoted it and no
    person refused.
    """
    in_service = sa.select(generations.c.model_id).where(generations.c.promoted_at.is_not(None))
    promoted = sa.select(decisions.c.model_id).where(
        decisions.c.verdict == "promote", decisions.c.approval.is_distinct_from("refused")
    )
    anchor = evaluations.c.report["anchor"]
    query = (
        sa.select(
            evaluations.c.id,
            evaluations.c.model_id,
            generations.c.model_id,
            evaluations.c.artifact,
            anchor["values"],
            sa.or_(evaluations.c.model_id.in_(in_service), evaluations.c.model_id.in_(promoted)),
        )
        .outerjoin(generations, generations.c.id == evaluations.c.champion_id)
        .where(anchor["identity"].as_string() == identity)
        .order_by(evaluations.c.id)
    )
    return [AnchorValue(*row) for row in conn.execute(query)]


def decision(conn: Connection, decision_id: int) -> Decision:
    """The decision with this id; UsageError when there is none."""
    row = conn.execute(sa.select(*_DECISION).where(decisions.c.id == decision_id)).one_or_none()
    if row is None:
        raise UsageError(f"there is no decision {decision_id}")
    return Decision(*row)


def newest_decision(conn: Connection, model_id: int) -> Decision:
    """The newest decision on a model; UsageError when the gate never judged it."""
    query = sa.select(*_DECISION).where(decisions.c.model_id == model_id).order_by(decisions.c.id.desc()).limit(1)
    row = conn.execute(query).one_or_none()
    if row is None:
        raise UsageError(f"there is no decision on model {model_id}: `garam models` lists the models")
    return Decision(*row)


def decision_of(conn: Connection, evaluation_id: int) -> Decision | None:
    """The decision made from an evaluation, if there is one."""
    row = conn.execute(sa.select(*_DECISION).where(decisions.c.evaluation_id == evaluation_id)).one_or_none()
    return Decision(*row) if row is not None else None


def register_decision(
    conn: Connection, *, model_id: int, evaluation_id: int, verdict: str, reason: str, rules: Sequence[dict[str, Any]]
) -> int:
    """The id of the decision on this evaluation, new or already there: a decision is never taken back."""
    values = {
        "model_id": model_id,
        "evaluation_id": evaluation_id,
        "verdict": verdict,
        "reason": reason,
        "rules": list(rules),
    }
    conn.execute(insert(decisions).values(values).on_conflict_do_nothing(index_elements=["evaluation_id"]))
    return int(conn.execute(sa.select(decisions.c.id).where(decisions.c.evaluation_id == evaluation_id)).scalar_one())


def record_approval(conn: Connection, decision_id: int, *, by: str, approved: bool) -> None:
    """Record what a person said to a decision to promote; saying the same again changes nothing.

    RefusedError for a rejected candidate (a person cannot approve what the gate refused) and for a second opinion.
    """
    row = conn.execute(sa.select(*_DECISION).where(decisions.c.id == decision_id).with_for_update()).one_or_none()
    if row is None:
        raise UsageError(f"there is no decision {decision_id}")
    held, said = Decision(*row), "approved" if approved else "refused"
    if held.verdict != "promote":
        raise RefusedError(f"decision {decision_id} rejects model {held.model_id}: there is nothing to approve")
    if held.approval not in (None, said):
        raise RefusedError(f"decision {decision_id} was already {held.approval} by {held.approved_by}")
    if held.approval is None:
        conn.execute(sa.update(decisions).where(decisions.c.id == decision_id).values(approval=said, approved_by=by))


def live(conn: Connection) -> Live | None:
    """The generation behind the alias; None before the first deployment."""
    query = sa.select(generations.c.id, generations.c.model_id, generations.c.query_weights_id)
    row = conn.execute(query.where(generations.c.status == "live")).one_or_none()
    return Live(*row) if row is not None else None


def weights(conn: Connection, query_weights_id: int) -> Weights:
    """The query weights with this id; UsageError when there are none."""
    row = conn.execute(sa.select(*_WEIGHTS).where(query_weights.c.id == query_weights_id)).one_or_none()
    if row is None:
        raise UsageError(f"there are no query weights {query_weights_id}")
    return Weights(*row)


def newest_accepted_weights(conn: Connection, vocabulary_hash: str) -> Weights | None:
    """The newest accepted query weights of a vocabulary: what a deployment of a model with it would serve."""
    query = (
        sa.select(*_WEIGHTS)
        .where(query_weights.c.vocabulary_hash == vocabulary_hash, query_weights.c.status == "accepted")
        .order_by(query_weights.c.day.desc(), query_weights.c.id.desc())
        .limit(1)
    )
    row = conn.execute(query).one_or_none()
    return Weights(*row) if row is not None else None


def record_weights_verdict(conn: Connection, query_weights_id: int, *, accepted: bool, verdict: dict[str, Any]) -> None:
    """Write the smaller gate's verdict; weights that were judged before keep their first one."""
    conn.execute(
        sa.update(query_weights)
        .where(query_weights.c.id == query_weights_id, query_weights.c.status == "candidate")
        .values(status="accepted" if accepted else "rejected", verdict=verdict)
    )


def newest_fresh(conn: Connection) -> tuple[int, str] | None:
    """Id and artifact of the newest fresh query set; None before the first training set."""
    query = (
        sa.select(query_sets.c.id, query_sets.c.artifact)
        .where(query_sets.c.name == "fresh")
        .order_by(query_sets.c.day.desc(), query_sets.c.id.desc())
        .limit(1)
    )
    row = conn.execute(query).one_or_none()
    return (int(row.id), str(row.artifact)) if row is not None else None


def article_ids(conn: Connection, urls: Sequence[str]) -> dict[str, str]:
    """The ids (as text, as corpora write them) of the articles with these URLs."""
    query = sa.select(articles.c.url, articles.c.id).where(articles.c.url.in_(list(urls)))
    return {url: str(number) for url, number in conn.execute(query)}


def newest_decision_of_day(conn: Connection, day: dt.date) -> Decision | None:
    """The newest decision on a model of this day; None when there is none."""
    query = (
        sa.select(*_DECISION)
        .join(models, models.c.id == decisions.c.model_id)
        .where(models.c.day == day)
        .order_by(decisions.c.id.desc())
        .limit(1)
    )
    row = conn.execute(query).one_or_none()
    return Decision(*row) if row is not None else None


def newest_decisions(conn: Connection, limit: int) -> list[Decision]:
    """The newest decisions, the newest first."""
    return [Decision(*row) for row in conn.execute(sa.select(*_DECISION).order_by(decisions.c.id.desc()).limit(limit))]


def days_with_decisions(conn: Connection) -> list[dt.date]:
    """The days of models that the gate has decided on, newest first."""
    query = sa.select(models.c.day).join(decisions, decisions.c.model_id == models.c.id)
    return list(conn.scalars(query.where(models.c.day.is_not(None)).distinct().order_by(models.c.day.desc())))
