"""Deploying a model, and building the live generation's index again."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from pipeline.context import Context
from pipeline.errors import RefusedError, UsageError
from pipeline.progress import Progress, silent
from pipeline.serving import locks
from pipeline.serving.alias import LOOP, paused, reconcile, swap
from pipeline.serving.articles import catch_up, recipe_of
from pipeline.serving.build import build
from pipeline.serving.leftovers import sweep
from pipeline.serving.query_weights import publish_newest
from pipeline.serving.recipe import Recipe
from pipeline.store import evaluations, generations, models
from pipeline.store.evaluations import Decision
from pipeline.store.models import Model


def deploy(ctx: Context, model_id: int, *, actor: str = LOOP, force: bool = False, progress: Progress = silent) -> int:
    """Put a model that the gate promoted behind the alias; the live generation's id.

    Index, query model and pipeline are built beside the live ones, loaded with every article, verified, and swapped in
    by one alias call; what arrives meanwhile is caught up with before and after. A model that is live already only
    catches up. RefusedError where the newest decision does not promote it, a person has to approve, automatic promotion
    is paused (for the loop), or it knows no more than the champion; a person may ``force`` past the rules, which is
    recorded with the deployment.
    """
    if force and actor == LOOP:
        raise UsageError("only a person can force a deployment: name who asks as its actor")
    with ctx.store.lock(locks.DEPLOY):
        current = reconcile(ctx)
        with ctx.store.begin() as conn:
            model = models.get(conn, model_id)
            champion = models.get(conn, current.model_id) if current else None
            serves = current is not None and current.model_id == model.id
            decision = None if serves else _may_be_deployed(ctx, conn, model, champion, actor=actor, force=force)
            weights = evaluations.newest_accepted_weights(conn, model.vocabulary_hash)
        if current is not None and serves and ctx.cluster.exists(current.index_name):
            catch_up(ctx, current, progress=progress)
            sweep(ctx)
            return current.id
        recipe = Recipe(ctx, model, weights)
        sweep(ctx, unfinished=recipe.content_hash)
        generation = build(ctx, recipe, decision_id=decision.id if decision else None, progress=progress)
        reason = decision.reason if decision else ""
        if force:
            reason = f"forced by {actor}" + (f"; the gate: {reason}" if reason else "; the gate never judged it")
        # A model that serves already gets here when its index was lost: that one is no place to go back to.
        swap(ctx, generation, action="rebuild" if serves else "promote", actor=actor, reason=reason)
        catch_up(ctx, generation, recipe, progress)
        publish_newest(ctx)
        sweep(ctx)
        progress(f"{generation.index_name} is live", 1, 1)
    return generation.id


def _may_be_deployed(
    ctx: Context, conn: Connection, model: Model, champion: Model | None, *, actor: str, force: bool
) -> Decision | None:
    """The newest decision on the model, after every rule; None only when it was never judged and is forced."""
    why = paused(conn)
    if actor == LOOP and why is not None:
        raise RefusedError(f"automatic promotion is paused ({why}): `garam resume` lifts it")
    try:
        decision = evaluations.newest_decision(conn, model.id)
    except UsageError:
        if force:
            return None
        raise RefusedError(f"model {model.id} was never judged: evaluate it first, or force it") from None
    if force:
        return decision
    if decision.verdict != "promote":
        raise RefusedError(f"the gate did not promote model {model.id}: {decision.reason}")
    if decision.approval == "refused":
        raise RefusedError(f"{decision.approved_by or 'a person'} refused model {model.id}")
    if ctx.config.gate.approval and decision.approval != "approved":
        raise RefusedError(f"model {model.id} waits for a person's approval in the Airflow UI")
    if champion is not None and champion.id != model.id and not _newer(model, champion):
        raise RefusedError(
            f"model {model.id} knows nothing newer than the champion, model {champion.id} ({champion.day}): "
            "a backfill never replaces it"
        )
    return decision


def _newer(model: Model, champion: Model) -> bool:
    """Whether the model's as-of is newer; a base, which has none, is older than everything."""
    if model.day is None or model.known_by is None:
        return False
    if champion.day is None or champion.known_by is None:
        return True
    return (model.day, model.known_by) > (champion.day, champion.known_by)


def rebuild(ctx: Context, *, actor: str = "operator", progress: Progress = silent) -> int:
    """A fresh index for the live generation from Postgres and artifacts, swapped in by one alias call; its id.

    For an index that is lost or damaged, or after a change of ``serving`` settings. RefusedError before the first
    deployment.
    """
    with ctx.store.lock(locks.DEPLOY):
        current = reconcile(ctx)
        if current is None:
            raise RefusedError("no generation is live yet: there is nothing to build again")
        recipe = recipe_of(ctx, current)
        sweep(ctx, unfinished=recipe.content_hash)
        generation = build(ctx, recipe, decision_id=current.decision_id, progress=progress)
        with ctx.store.begin() as conn:
            if current.promoted_at is not None:
                generations.set_promoted_at(conn, generation.id, current.promoted_at)
        swap(ctx, generation, action="rebuild", actor=actor, reason=f"replaces generation {current.id}")
        catch_up(ctx, generation, recipe, progress)
        publish_newest(ctx)
        sweep(ctx)
    return generation.id
