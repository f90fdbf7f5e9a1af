"""Building a generation: query model, search pipeline, index, articles, and the proof that all of it agrees."""

from __future__ import annotations

import numpy as np

from pipeline.context import Context
from pipeline.errors import RefusedError
from pipeline.progress import Progress, silent
from pipeline.search import bodies, features, query_models
from pipeline.serving import locks
from pipeline.serving.articles import catch_up
from pipeline.serving.recipe import Names, Recipe
from pipeline.store import generations
from pipeline.store.generations import Generation


def build(ctx: Context, recipe: Recipe, *, decision_id: int | None, progress: Progress = silent) -> Generation:
    """A generation of this recipe, loaded, verified and in state ``ready``. The caller holds the ``deploy`` lock.

    Goes on with one that was left unfinished (the same content hash), whatever step it was left at.
    """
    generation = _unfinished(ctx, recipe) or _new(ctx, recipe, decision_id)
    progress(f"make {generation.index_name}", 0, 0)
    generation = prepare(ctx, generation, recipe)
    catch_up(ctx, generation, recipe, progress)
    verify(ctx, generation, recipe)
    with ctx.store.begin() as conn:
        generations.mark(conn, generation.id, "ready")
        return generations.get(conn, generation.id)


def _unfinished(ctx: Context, recipe: Recipe) -> Generation | None:
    with ctx.store.begin() as conn:
        for generation in generations.with_status(conn, ("building", "ready")):
            if generation.content_hash == recipe.content_hash and generation.model_id == recipe.model.id:
                return generation
    return None


def _new(ctx: Context, recipe: Recipe, decision_id: int | None) -> Generation:
    names = Names(ctx.config.serving.alias)
    taken = ctx.cluster.behind(names.alias)
    while True:
        with ctx.store.begin() as conn:
            generation = generations.new(
                conn,
                model_id=recipe.model.id,
                decision_id=decision_id,
                query_weights_id=recipe.weights.id if recipe.weights else None,
                alias=names.alias,
                content_hash=recipe.content_hash,
                settings={"documents_hash": recipe.documents_hash, **ctx.config.serving.model_dump(mode="json")},
            )
            if generation.index_name not in taken:
                return generation
            # Another database's generation is behind the alias under that name: it serves until ours is ready.
            generations.mark(conn, generation.id, "failed")


def prepare(ctx: Context, generation: Generation, recipe: Recipe) -> Generation:
    """Query model, search pipeline and an index of this generation, each made unless it is there."""
    index = generation.index_name
    names = Names(ctx.config.serving.alias)
    with ctx.store.lock(locks.MODELS):
        query_model = query_models.ensure(ctx.cluster, names.query_models, recipe.package())
        ctx.cluster.put_pipeline(index, recipe.pipeline(query_model))
        with ctx.store.begin() as conn:
            weights_id = recipe.weights.id if recipe.weights else None
            generations.set_query_model(conn, generation.id, query_model, weights_id, recipe.content_hash)
            generation = generations.get(conn, generation.id)
    meta = {
        "generation": generation.id,
        "documents_hash": recipe.documents_hash,
        "created_at": generation.created_at.isoformat(),
    }
    held = ctx.cluster.meta(index)
    if held is None or held.get("garam") != meta:
        # Lost, or left by another database: what the rows say it holds is not there.
        ctx.cluster.delete_index(index)
        with ctx.store.begin() as conn:
            generations.forget_indexed(conn, generation.id)
        ctx.cluster.create_index(index, recipe.index(meta, index))
    return generation


def verify(ctx: Context, generation: Generation, recipe: Recipe) -> None:
    """Count documents and compare scores of plain-text queries with the encoder's; RefusedError where they differ.

    The queries are titles, sent as a client sends them: through the index's own search pipeline.
    """
    index = generation.index_name
    with ctx.store.lock(locks.articles(generation.id)):
        ctx.cluster.refresh(index)
        with ctx.store.begin() as conn:
            expected = generations.count_indexed(conn, generation.id)
            sample = generations.sample_indexed(conn, generation.id, ctx.config.serving.verify_documents)
        found = ctx.cluster.count(index)
        if found != expected:
            raise RefusedError(
                f"{index} holds {found} articles and should hold {expected}: it was not put behind the alias"
            )
        if not sample:
            return
        titles = [title for _, title, _ in sample]
        rows = recipe.rows(titles, [recipe.text(text) for _, _, text in sample])
        queries = recipe.encoder.encode_queries(titles, recipe.query_weights)
        exact = np.asarray(queries.astype(np.float64).multiply(rows.astype(np.float64)).sum(axis=1)).ravel()
        asked = [number for number in range(len(sample)) if exact[number] > 0]
        searches = [
            {
                "query": {
                    "bool": {"must": [bodies.sparse(titles[n])], "filter": [{"ids": {"values": [str(sample[n][0])]}}]}
                },
                "_source": False,
            }
            for n in asked
        ]
        bound = features.PRECISION + (int(np.diff(queries.indptr).max()) + 1) * 2.0**-24
        for number, answer in zip(asked, ctx.cluster.msearch(index, searches), strict=True):
            hits = answer["hits"]["hits"]
            score = float(hits[0]["_score"]) if hits else 0.0
            if abs(score - exact[number]) > bound * exact[number]:
                raise RefusedError(
                    f"{index} scores article {sample[number][0]} with {score:.5f} where the encoder says "
                    f"{exact[number]:.5f}: it was not put behind the alias"
                )
