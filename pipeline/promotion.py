"""Who may be promoted: the rules that need no measurement, asked by the gate, the deployment and the daily run."""

from __future__ import annotations

from typing import Literal

from sqlalchemy.engine import Connection

from pipeline.asof import AsOf
from pipeline.errors import RefusedError, UsageError
from pipeline.store import evaluations, generations
from pipeline.store.evaluations import Decision
from pipeline.store.models import Model

LOOP = "loop"
"""The actor of everything that is done automatically; any other actor is a person."""
_SWITCH, _PAUSED, _ON = "promotion", "paused", "on"


def is_newer(candidate: AsOf | None, champion: AsOf | None) -> bool:
    """Whether the candidate was trained on a newer as-of: a backfill never replaces a newer model.

    A model without an as-of (a base) is older than every other.
    """
    return candidate is not None and (champion is None or candidate > champion)


def pause(conn: Connection, reason: str) -> None:
    """Stop automatic promotion until a person resumes it."""
    generations.set_switch(conn, _SWITCH, _PAUSED, reason)


def resume(conn: Connection) -> None:
    """Allow automatic promotion again."""
    generations.set_switch(conn, _SWITCH, _ON, "")


def paused(conn: Connection) -> str | None:
    """Why automatic promotion is paused; None when it is not."""
    switch = generations.switch(conn, _SWITCH)
    return switch[1] if switch is not None and switch[0] == _PAUSED else None


def check_not_paused(conn: Connection, actor: str) -> None:
    """RefusedError where the actor is the loop and automatic promotion is paused."""
    reason = paused(conn)
    if actor == LOOP and reason is not None:
        raise RefusedError(f"automatic promotion is paused ({reason}): `garam resume` lifts it")


def next_step(decision: Decision, *, approval: bool) -> Literal["deploy", "ask", "stop"]:
    """What follows a decision: deploy its model, ask a person first, or stop. ``approval`` is ``gate.approval``."""
    if decision.verdict != "promote":
        return "stop"
    return "ask" if approval and decision.approval != "approved" else "deploy"


def check(
    conn: Connection, model: Model, champion: Model | None, *, approval: bool, actor: str, force: bool = False
) -> Decision | None:
    """The newest decision on a model that may replace ``champion`` (None: nothing serves yet).

    RefusedError, with the reason, for a model that may not: the gate did not promote it, a person has not approved it
    (``approval``) or refused it, automatic promotion is paused (for the loop), or it is not newer than the champion. A
    person may ``force`` past all of these, and None is returned where the gate never judged a forced model.
    """
    if force and actor == LOOP:
        raise UsageError("only a person can force a deployment: name who asks as its actor")
    check_not_paused(conn, actor)
    try:
        decision = evaluations.newest_decision(conn, model.id)
    except UsageError:
        if force:
            return None
        raise RefusedError(f"model {model.id} was never judged: evaluate it first, or force it") from None
    if force:
        return decision
    step = next_step(decision, approval=approval)
    if step == "stop":
        raise RefusedError(f"the gate did not promote model {model.id}: {decision.reason}")
    if decision.approval == "refused":
        raise RefusedError(f"{decision.approved_by or 'a person'} refused model {model.id}")
    if step == "ask":
        raise RefusedError(f"model {model.id} waits for a person's approval in the Airflow UI")
    if champion is not None and champion.id != model.id and not is_newer(model.as_of, champion.as_of):
        raise RefusedError(
            f"model {model.id} knows nothing newer than the champion, model {champion.id} ({champion.day}): "
            "a backfill never replaces it"
        )
    return decision
