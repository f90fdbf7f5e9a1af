"""New query weights on the live generation: one small query model and one pipeline update, no document touched."""

from __future__ import annotations

import time

from pipeline.context import Context
from pipeline.errors import RefusedError
from pipeline.promotion import LOOP
from pipeline.search import query_models
from pipeline.serving import locks
from pipeline.serving.alias import reconcile
from pipeline.serving.recipe import Names, Recipe
from pipeline.store import evaluations, generations, models


def publish_query_weights(ctx: Context, query_weights_id: int, *, actor: str = LOOP) -> int | None:
    """Serve accepted query weights; the live generation's id when it serves them, None when they are not for it.

    They are not for it when nothing is live yet, when they belong to another vocabulary, or when it serves newer ones
    (a backfill). RefusedError where their gate did not accept them.
    """
    with ctx.store.lock(locks.MODELS):
        current = reconcile(ctx)
        with ctx.store.begin() as conn:
            weights = evaluations.weights(conn, query_weights_id)
            if weights.status != "accepted":
                raise RefusedError(
                    f"query weights {query_weights_id} are {weights.status}: only accepted ones are served"
                )
            if current is None:
                return None
            model = models.get(conn, current.model_id)
            served = evaluations.weights(conn, current.query_weights_id) if current.query_weights_id else None
        if weights.vocabulary_hash != model.vocabulary_hash:
            return None
        if served is not None and (served.day, served.id) > (weights.day, weights.id):
            return None
        recipe = Recipe(ctx, model, weights, current.settings)
        old = current.query_model
        names = Names(ctx.config.serving.alias)
        new = query_models.ensure(ctx.cluster, names.query_models, recipe.package())
        ctx.cluster.put_pipeline(current.index_name, recipe.pipeline(new))
        with ctx.store.begin() as conn:
            if (new, weights.id) != (old, current.query_weights_id):
                number = generations.announce(
                    conn,
                    current.id,
                    action="weights",
                    actor=actor,
                    reason=f"query weights {weights.id} of {weights.day}",
                )
                generations.done(conn, number)
            generations.set_query_model(conn, current.id, new, weights.id, recipe.content_hash)
            used = generations.with_status(conn, ("building", "ready", *generations.WARM))
        if old is not None and old not in {generation.query_model for generation in used}:
            time.sleep(ctx.config.serving.grace_seconds)  # searches that began with the old one end with it
            query_models.remove(ctx.cluster, old)
    return current.id


def publish_newest(ctx: Context) -> None:
    """Serve the newest accepted weights of the live model's vocabulary, if some arrived while it was being built."""
    current = reconcile(ctx)
    if current is None:
        return
    with ctx.store.begin() as conn:
        model = models.get(conn, current.model_id)
        newest = evaluations.newest_accepted_weights(conn, model.vocabulary_hash)
    if newest is not None and newest.id != current.query_weights_id:
        publish_query_weights(ctx, newest.id)
