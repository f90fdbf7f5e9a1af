"""Trend weights on the live generation: one small query model and the search templates, no document touched."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from pipeline.context import Context
from pipeline.search import query_models
from pipeline.serving import locks
from pipeline.serving.alias import live, reconcile
from pipeline.serving.articles import recipe_of
from pipeline.serving.recipe import Names
from pipeline.serving.templates import put_templates, recency_off, switch_recency
from pipeline.store import generations, models, trend_weights


@dataclass(frozen=True)
class Recency:
    """What age counts in the ranking now: ``off`` says why a person switched it off; ``words`` are those that rise."""

    strength: float
    days: float
    off: str | None
    as_of: str | None
    note: str
    words: list[dict[str, Any]]


def publish_trend_weights(ctx: Context, trend_weights_id: int) -> int | None:
    """Serve trend weights: the live generation's id when it serves them, None when they are not for it.

    They are not for it when nothing is live yet, when they belong to another vocabulary, or when it serves newer ones
    (a backfill). Where no word rises there is no second query model, and the ranking is that of the terms alone.
    """
    names = Names(ctx.config.serving.alias)
    with ctx.store.lock(locks.MODELS):
        current = reconcile(ctx)
        if current is None:
            return None
        with ctx.store.begin() as conn:
            new = trend_weights.get(conn, trend_weights_id)
            served = trend_weights.get(conn, current.trend_weights_id) if current.trend_weights_id else None
            vocabulary = models.get(conn, current.model_id).vocabulary_hash
        if new.vocabulary_hash != vocabulary or (served is not None and served.as_of > new.as_of):
            return None
        model = None
        if len(new.tokens):
            recipe = recipe_of(ctx, current)
            content = recipe.package(new.dense(len(recipe.names)))
            model = query_models.ensure(ctx.cluster, names.trend_models, content)
        with ctx.store.begin() as conn:
            generations.set_trends(conn, current.id, new.id, model)
        with ctx.store.lock(locks.SWAP):
            now_live = live(ctx)
            if now_live is not None:
                put_templates(ctx, now_live)
        with ctx.store.begin() as conn:
            used = {one.trend_model for one in generations.with_status(conn, generations.WARM)}
        if current.trend_model is not None and current.trend_model not in used:
            time.sleep(ctx.config.serving.grace_seconds)  # searches that began with the old one end with it
            query_models.remove(ctx.cluster, current.trend_model)
    return current.id


def publish_newest_trends(ctx: Context) -> None:
    """Serve the newest trend weights of the live model's vocabulary, if there are some."""
    current = live(ctx)
    if current is None:
        return
    with ctx.store.begin() as conn:
        newest = trend_weights.newest(conn, models.get(conn, current.model_id).vocabulary_hash)
    if newest is not None and newest != current.trend_weights_id:
        publish_trend_weights(ctx, newest)


def set_recency(ctx: Context, on: bool, reason: str = "") -> None:
    """Switch recency off or on in what users get, at once; it stays so until the next call."""
    switch_recency(ctx, on, reason)
    with ctx.store.lock(locks.SWAP):
        current = live(ctx)
        if current is not None:
            put_templates(ctx, current)


def recency(ctx: Context) -> Recency:
    """What age counts in the ranking of the live generation now."""
    config, current = ctx.config.serving, live(ctx)
    served = None
    if current is not None and current.trend_weights_id is not None:
        with ctx.store.begin() as conn:
            served = trend_weights.get(conn, current.trend_weights_id)
    return Recency(
        config.recency_strength,
        config.recency_days,
        recency_off(ctx),
        str(served.as_of) if served else None,
        served.note if served else "no trend weights have been published yet: they are with each crawl",
        served.words if served else [],
    )
