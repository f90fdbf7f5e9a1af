"""The alias and the rows that say what is behind it: swap, rollback, and agreement after a crash.

What is about to happen is announced in ``deployments`` first, then the alias moves in one call, then the rows follow.
Whoever comes after a crash sees the announcement: if the alias has moved the rows follow now, else it is withdrawn.
"""

from __future__ import annotations

import logging

from sqlalchemy.engine import Connection

from pipeline import promotion
from pipeline.context import Context
from pipeline.errors import GaramError, RefusedError
from pipeline.serving import locks
from pipeline.serving.articles import catch_up, remove_unwanted
from pipeline.serving.recipe import Names
from pipeline.serving.templates import put_templates
from pipeline.store import generations, models
from pipeline.store.generations import Deployment, Generation

log = logging.getLogger(__name__)


def live(ctx: Context) -> Generation | None:
    """The generation behind the alias; None before the first deployment."""
    with ctx.store.begin() as conn:
        return generations.live(conn)


def resume(ctx: Context) -> None:
    """Let the loop promote again; nothing changes when it may."""
    with ctx.store.begin() as conn:
        promotion.resume(conn)


def reconcile(ctx: Context) -> Generation | None:
    """Make rows and alias agree, and return the live generation. The caller does not hold the ``swap`` lock."""
    with ctx.store.lock(locks.SWAP):
        return _reconcile(ctx)


def _reconcile(ctx: Context) -> Generation | None:
    names = Names(ctx.config.serving.alias)
    behind = ctx.cluster.behind(names.alias)
    with ctx.store.begin() as conn:
        announced = generations.announced(conn)
        for one in announced:
            if behind == [generations.get(conn, one.generation_id).index_name]:
                _finish(conn, one)
            else:
                generations.withdraw(conn, one.id)
        current = generations.live(conn)
    if current is None:
        return None
    if announced:  # whoever was killed may have moved the alias and not written the templates
        put_templates(ctx, current)
    index = current.index_name
    agree = all(ctx.cluster.behind(alias) == [index] for alias in names.aliases)
    if not agree and ctx.cluster.exists(index):
        log.warning("the alias %s did not point at %s, which the database says is live: moved", names.alias, index)
        ctx.cluster.point(names.aliases, index)
        put_templates(ctx, current)
    return current


# What becomes of the generation that was live. Only a retired one is a place to go back to: neither the twin that a
# rebuilt generation replaces, nor one that a person rolled back from.
_PREVIOUS = {"promote": "retired", "rebuild": "deleted", "rollback": "rolled_back"}


def _finish(conn: Connection, deployment: Deployment) -> None:
    generations.go_live(conn, deployment.generation_id, previous=_PREVIOUS[deployment.action])
    generations.done(conn, deployment.id)


def swap(ctx: Context, generation: Generation, *, action: str, actor: str, reason: str) -> None:
    """Put a generation that is ready behind the aliases: one call.

    RefusedError where automatic promotion was paused meanwhile and nobody but the loop asks.
    """
    with ctx.store.lock(locks.SWAP):
        _reconcile(ctx)
        _move(ctx, generation, action=action, actor=actor, reason=reason)


def _move(ctx: Context, generation: Generation, *, action: str, actor: str, reason: str) -> None:
    with ctx.store.begin() as conn:
        if action == "promote":
            promotion.check_not_paused(conn, actor)
        number = generations.announce(conn, generation.id, action=action, actor=actor, reason=reason)
        if action == "rollback":
            why = reason or f"rolled back by {actor}"
            promotion.pause(conn, why)
            previous = generations.live(conn)
            if previous is not None and previous.model_id != generation.model_id:
                models.mark_unhealthy(conn, previous.model_id, f"rolled back from: {why}")
    ctx.cluster.point(Names(ctx.config.serving.alias).aliases, generation.index_name)
    put_templates(ctx, generation)
    with ctx.store.begin() as conn:
        _finish(conn, Deployment(number, generation.id, action, actor, reason, generation.created_at, None))


def rollback(ctx: Context, *, actor: str, reason: str, away_from: int | None = None) -> int:
    """Go back from the live generation to the one promoted before it: one alias call. Returns the live generation's id.

    Pauses automatic promotion (until `resume`), and takes the model that was rolled back from out of the training line.
    ``away_from`` names the generation to leave (default: the live one): where it is not live any more, nothing is done,
    so a retry is not a second rollback. The generation that is live again then catches up with what arrived since.
    RefusedError where there is no earlier generation to go back to.
    """
    with ctx.store.lock(locks.SWAP):
        current = _reconcile(ctx)
        if current is not None and away_from is not None and current.id != away_from:
            log.warning("generation %s is not live: generation %s is, and stays so", away_from, current.id)
            return current.id
        with ctx.store.begin() as conn:
            target = generations.before(conn, current) if current else None
        if current is None or target is None or not ctx.cluster.exists(target.index_name):
            raise RefusedError(
                "there is no earlier generation to go back to: none older than the live one is kept warm"
            )
        # What was removed meanwhile must not be seen again, not even for a moment.
        remove_unwanted(ctx, target)
        _move(ctx, target, action="rollback", actor=actor, reason=reason)
    try:
        catch_up(ctx, target)
    except GaramError as error:
        # The rollback is done and stays so; the next crawl catches up.
        log.warning("generation %s is live again, and did not catch up yet: %s", target.id, error)
    return target.id
