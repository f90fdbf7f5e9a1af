"""What nobody needs any more: old generations, and what killed processes left behind."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from pipeline.context import Context
from pipeline.search import query_models, scratch
from pipeline.serving import locks
from pipeline.serving.alias import reconcile
from pipeline.serving.recipe import Names
from pipeline.store import generations


@dataclass(frozen=True)
class PruneReport:
    """What was removed, by name."""

    indices: list[str] = field(default_factory=list)
    pipelines: list[str] = field(default_factory=list)
    query_models: list[str] = field(default_factory=list)
    scratch: list[str] = field(default_factory=list)


def prune(ctx: Context) -> PruneReport:
    """Remove generations beyond ``serving.keep_generations`` and whatever belongs to no generation."""
    with ctx.store.lock(locks.DEPLOY):
        reconcile(ctx)
        return sweep(ctx)


def sweep(ctx: Context, *, unfinished: str | None = None) -> PruneReport:
    """Remove what `prune` removes. The caller holds the ``deploy`` lock, so nothing is being built meanwhile.

    An unfinished generation with the content hash ``unfinished`` stays: the caller goes on with it. Rows first, so that
    a crash leaves things that belong to no row, which the next sweep finds.
    """
    names = Names(ctx.config.serving.alias)
    cluster = ctx.cluster
    with ctx.store.lock(locks.SWAP), ctx.store.begin() as conn:
        for generation in generations.with_status(conn, ("building", "ready")):
            if generation.content_hash != unfinished:
                generations.mark(conn, generation.id, "failed")
        for generation in generations.with_status(conn, ("rolled_back",)):
            generations.mark(conn, generation.id, "deleted")
        retired = sorted(
            generations.with_status(conn, ("retired",)), key=lambda one: (one.promoted_at or one.created_at, one.id)
        )
        for generation in retired[: -ctx.config.serving.keep_generations]:
            generations.mark(conn, generation.id, "deleted")
        kept = generations.with_status(conn, ("building", "ready", *generations.WARM))
    keep = {generation.index_name for generation in kept} | set(cluster.behind(names.alias))
    ours = re.compile(rf"{re.escape(names.alias)}-g\d{{4,}}")
    indices = [name for name in cluster.indices(names.indices) if ours.fullmatch(name) and name not in keep]
    for name in indices:
        with ctx.store.lock(locks.articles(int(name.rpartition("-g")[2]))):
            cluster.delete_index(name)
    pipelines = [name for name in cluster.pipelines(names.indices) if ours.fullmatch(name) and name not in keep]
    for name in pipelines:
        cluster.delete_pipeline(name)
    gone = []
    with ctx.store.lock(locks.MODELS):
        with ctx.store.begin() as conn:
            kept = generations.with_status(conn, ("building", "ready", *generations.WARM))
        used = {one.query_model for one in kept} | _named(cluster.pipelines(names.indices))
        used |= {one.trend_model for one in kept}
        every = query_models.models(cluster, names.query_models) + query_models.models(cluster, names.trend_models)
        for model in every:
            if model.id not in used:
                query_models.remove(cluster, model.id)
                gone.append(model.name)
    return PruneReport(indices, pipelines, gone, scratch.sweep(cluster))


def _named(pipelines: dict[str, dict[str, Any]]) -> set[str | None]:
    """Query models that search pipelines name."""
    return {
        processor.get("neural_query_enricher", {}).get("default_model_id")
        for body in pipelines.values()
        for processor in body.get("request_processors", [])
    }
