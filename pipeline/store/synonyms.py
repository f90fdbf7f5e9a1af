"""Synonym runs, their candidate pairs, and the groups that are valid for a day."""

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
from pipeline.store.schema import synonym_groups, synonym_pairs, synonym_runs


@dataclass(frozen=True, slots=True)
class SynonymRun:
    """One discovery of an as-of; ``validated`` once its groups are written."""

    id: int
    day: dt.date
    known_by: dt.datetime
    model: str
    config_hash: str
    status: str  # discovered, validated
    embeddings: str | None
    clusters: str | None
    calibration: Any
    validator: dict[str, Any] | None
    created_at: dt.datetime

    @property
    def as_of(self) -> AsOf:
        """The as-of that was discovered."""
        return AsOf(self.day, self.known_by)

    @property
    def sentences(self) -> list[str]:
        """How the validation went: the validators' evaluations, abstentions by reason, what a server refused."""
        validator = self.validator or {}
        abstained = (
            f"No readable answer for {number} candidate{'s' * (number != 1)}, so no veto: {reason}."
            for reason, number in validator.get("abstentions", {}).items()
        )
        return [*(proof["sentence"] for proof in validator.get("proofs", [])), *abstained, *validator.get("notes", [])]


@dataclass(frozen=True, slots=True)
class Pair:
    """A candidate with its verdict: pending, accepted or rejected."""

    a: str
    b: str
    source: str  # alias, cluster
    similarity: float | None
    confidence: float
    evidence: dict[str, Any]
    verdict: str = "pending"
    verdict_score: float | None = None
    verdict_reason: str = ""


@dataclass(frozen=True, slots=True)
class SynonymGroup:
    """Validated synonyms, valid from a day until another (exclusive; None: until further notice)."""

    words: tuple[str, ...]
    confidence: float
    evidence: dict[str, Any]
    run_id: int
    valid_from: dt.date
    valid_to: dt.date | None


_RUN = [synonym_runs.c[name] for name in SynonymRun.__slots__]
_PAIR = [synonym_pairs.c[name] for name in Pair.__slots__]


def run(conn: Connection, run_id: int) -> SynonymRun:
    """The run with this id; UsageError when there is none."""
    row = conn.execute(sa.select(*_RUN).where(synonym_runs.c.id == run_id)).one_or_none()
    if row is None:
        raise UsageError(f"there is no synonym run {run_id}: discover one first")
    return SynonymRun(*row)


def find_run(conn: Connection, as_of: AsOf, model: str, config_hash: str) -> int | None:
    """The run of this as-of, model and configuration, if there is one."""
    query = sa.select(synonym_runs.c.id).where(
        synonym_runs.c.day == as_of.day,
        synonym_runs.c.known_by == as_of.known_by,
        synonym_runs.c.model == model,
        synonym_runs.c.config_hash == config_hash,
    )
    found = conn.execute(query).scalar_one_or_none()
    return None if found is None else int(found)


def add_run(
    conn: Connection,
    as_of: AsOf,
    *,
    model: str,
    config_hash: str,
    embeddings: str,
    clusters: str,
    calibration: Any,
    pairs: Sequence[Pair],
) -> int:
    """Write a run with its pairs in one go; when somebody wrote it before, theirs stays and its id comes back."""
    values = {
        "day": as_of.day,
        "known_by": as_of.known_by,
        "model": model,
        "config_hash": config_hash,
        "embeddings": embeddings,
        "clusters": clusters,
        "calibration": calibration,
    }
    statement = insert(synonym_runs).values(values).on_conflict_do_nothing().returning(synonym_runs.c.id)
    run_id = conn.execute(statement).scalar_one_or_none()
    if run_id is None:
        held = find_run(conn, as_of, model, config_hash)
        assert held is not None  # the conflict was with it
        return held
    if pairs:
        conn.execute(
            sa.insert(synonym_pairs),
            [
                {
                    "run_id": run_id,
                    "a": p.a,
                    "b": p.b,
                    "source": p.source,
                    "similarity": p.similarity,
                    "confidence": p.confidence,
                    "evidence": p.evidence,
                }
                for p in pairs
            ],
        )
    return int(run_id)


def pairs(conn: Connection, run_id: int) -> list[Pair]:
    """All candidates of a run with their verdicts, aliases first, the most confident first."""
    query = (
        sa.select(*_PAIR)
        .where(synonym_pairs.c.run_id == run_id)
        .order_by(synonym_pairs.c.source, synonym_pairs.c.confidence.desc(), synonym_pairs.c.a, synonym_pairs.c.b)
    )
    return [Pair(*row) for row in conn.execute(query)]


def write_verdicts(
    conn: Connection,
    run_id: int,
    *,
    validator: dict[str, Any],
    verdicts: Sequence[Pair],
    groups: Sequence[tuple[Sequence[str], float, dict[str, Any]]],
) -> None:
    """Write a run's verdicts and groups, in place of those of an earlier validation of the same run.

    The groups are valid from the run's day until the next validated run's; the groups of the run before end there.
    """
    held = conn.execute(
        sa.select(synonym_runs.c.day).where(synonym_runs.c.id == run_id).with_for_update()
    ).one_or_none()
    if held is None:
        raise UsageError(f"there is no synonym run {run_id}: discover one first")
    conn.execute(
        sa.update(synonym_runs).where(synonym_runs.c.id == run_id).values(status="validated", validator=validator)
    )
    if verdicts:
        conn.execute(
            sa.update(synonym_pairs)
            .where(
                synonym_pairs.c.run_id == run_id,
                synonym_pairs.c.a == sa.bindparam("of_a"),
                synonym_pairs.c.b == sa.bindparam("of_b"),
            )
            .values(
                verdict=sa.bindparam("to_verdict"),
                verdict_score=sa.bindparam("to_score"),
                verdict_reason=sa.bindparam("to_reason"),
                evidence=sa.bindparam("to_evidence"),
            ),
            [
                {
                    "of_a": p.a,
                    "of_b": p.b,
                    "to_verdict": p.verdict,
                    "to_score": p.verdict_score,
                    "to_reason": p.verdict_reason,
                    "to_evidence": p.evidence,
                }
                for p in verdicts
            ],
        )
    conn.execute(sa.delete(synonym_groups).where(synonym_groups.c.run_id == run_id))
    if groups:
        conn.execute(
            sa.insert(synonym_groups),
            [
                {"run_id": run_id, "words": list(w), "confidence": c, "evidence": e, "valid_from": held.day}
                for w, c, e in groups
            ],
        )
    _set_ends(conn)


def _set_ends(conn: Connection) -> None:
    """``valid_to`` of every group: the day of the next validated run of a later day."""
    later = synonym_runs.alias("later")
    mine = synonym_runs.alias("mine")
    end = (
        sa.select(sa.func.min(later.c.day))
        .where(later.c.status == "validated", later.c.day > mine.c.day, mine.c.id == synonym_groups.c.run_id)
        .select_from(later.join(mine, sa.true()))
        .correlate(synonym_groups)
        .scalar_subquery()
    )
    conn.execute(sa.update(synonym_groups).values(valid_to=end).where(synonym_groups.c.valid_to.is_distinct_from(end)))


def run_for(conn: Connection, day: dt.date, known_by: dt.datetime | None = None) -> SynonymRun | None:
    """The validated run that speaks for a day: the newest of that day or before, known by ``known_by``."""
    query = (
        sa.select(*_RUN)
        .where(synonym_runs.c.status == "validated", synonym_runs.c.day <= day)
        .order_by(synonym_runs.c.day.desc(), synonym_runs.c.known_by.desc(), synonym_runs.c.id.desc())
        .limit(1)
    )
    if known_by is not None:
        query = query.where(synonym_runs.c.known_by <= known_by)
    row = conn.execute(query).one_or_none()
    return None if row is None else SynonymRun(*row)


def groups(conn: Connection, day: dt.date, known_by: dt.datetime | None = None) -> list[SynonymGroup]:
    """The synonym groups valid for ``day``, the most confident first.

    With ``known_by`` only runs whose as-of was known by then speak: nothing that came to be known later is in the
    answer for a past as-of.
    """
    held = run_for(conn, day, known_by)
    if held is None:
        return []
    query = (
        sa.select(
            synonym_groups.c.words,
            synonym_groups.c.confidence,
            synonym_groups.c.evidence,
            synonym_groups.c.run_id,
            synonym_groups.c.valid_from,
            synonym_groups.c.valid_to,
        )
        .where(synonym_groups.c.run_id == held.id)
        .order_by(synonym_groups.c.confidence.desc(), synonym_groups.c.words)
    )
    return [SynonymGroup(tuple(row.words), *row[1:]) for row in conn.execute(query)]
