"""Deploying a model, and building the live generation's index again."""

from __future__ import annotations

from pipeline import promotion
from pipeline.context import Context
from pipeline.errors import RefusedError
from pipeline.progress import Progress, silent
from pipeline.promotion import LOOP
from pipeline.serving import locks
from pipeline.serving.alias import reconcile, swap
from pipeline.serving.articles import catch_up, recipe_of
from pipeline.serving.build import build
from pipeline.serving.leftovers import sweep
from pipeline.serving.query_weights import publish_newest
from pipeline.serving.recipe import Recipe
from pipeline.serving.trends import publish_newest_trends
from pipeline.store import evaluations, generations, models


def deploy(ctx: Context, model_id: int, *, actor: str = LOOP, force: bool = False, progress: Progress = silent) -> int:
    """Put a model that the gate promoted behind the alias; the live generation's id.

    Index, query model and pipeline are built beside the live ones, loaded with every article, verified, and swapped in
    by one alias call; what arrives meanwhile is caught up with before and after. A model that is live already only
    catches up. RefusedError where the newest decision does not promote it, a person has to approve, automatic promotion
    is paused (for the loop), or it knows no more than the champion; a person may ``force`` past the rules, which is
    recorded with the deployment.
    """
    with ctx.store.lock(locks.DEPLOY):
        current = reconcile(ctx)
        with ctx.store.begin() as conn:
            model = models.get(conn, model_id)
            champion = models.get(conn, current.model_id) if current else None
            serves = current is not None and current.model_id == model.id
            approval = ctx.config.gate.approval
            decision = None
            if not serves:
                decision = promotion.check(conn, model, champion, approval=approval, actor=actor, force=force)
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
        publish_newest_trends(ctx)
        sweep(ctx)
        progress(f"{generation.index_name} is live", 1, 1)
    return generation.id


def rebuild(ctx: Context, *, actor: str = "operator", progress: Progress = silent) -> int:
    """A fresh index for the live generation from Postgres and artifacts, swapped in by one alias call; its id.

    For an index that is lost or damaged, or after a change of ``serving`` settings. RefusedError before the first
    deployment.
    """
    with ctx.store.lock(locks.DEPLOY):
        current = reconcile(ctx)
        if current is None:
            raise RefusedError("no generation is live yet: there is nothing to build again")
        served = recipe_of(ctx, current)
        recipe = Recipe(ctx, served.model, served.weights)  # with the settings that are configured now
        sweep(ctx, unfinished=recipe.content_hash)
        generation = build(ctx, recipe, decision_id=current.decision_id, progress=progress)
        with ctx.store.begin() as conn:
            if current.promoted_at is not None:
                generations.set_promoted_at(conn, generation.id, current.promoted_at)
        swap(ctx, generation, action="rebuild", actor=actor, reason=f"replaces generation {current.id}")
        catch_up(ctx, generation, recipe, progress)
        publish_newest(ctx)
        publish_newest_trends(ctx)
        sweep(ctx)
    return generation.id
