"""Articles into indices and out of them: what a generation holds is written down, so that any run goes on there."""

from __future__ import annotations

from pipeline.context import Context
from pipeline.errors import RefusedError
from pipeline.progress import Progress, silent
from pipeline.search import bulk
from pipeline.serving import locks
from pipeline.serving.recipe import Recipe
from pipeline.store import evaluations, generations, models
from pipeline.store.generations import Generation

BATCH = 256
"""Articles that are read, encoded and written at a time, under the index's lock."""
KEEP_TEXTS = 4096
"""Texts whose dense vectors are kept together: so many are lost at most when a run is killed."""


def recipe_of(ctx: Context, generation: Generation) -> Recipe:
    """What the generation is made of: its model, its query weights, and the settings of the documents in its index."""
    with ctx.store.begin() as conn:
        model = models.get(conn, generation.model_id)
        weights = evaluations.weights(conn, generation.query_weights_id) if generation.query_weights_id else None
    return Recipe(ctx, model, weights, generation.settings)


def catch_up(ctx: Context, generation: Generation, recipe: Recipe | None = None, progress: Progress = silent) -> int:
    """Bring a generation's index to what Postgres holds now; how many articles were written or removed.

    New articles, newer versions, removals. Idempotent: what was written is recorded after OpenSearch has it for good.
    """
    with ctx.store.begin() as conn:
        total = generations.count_pending(conn, generation.id)
    changed = 0
    recipe = recipe or recipe_of(ctx, generation)
    after: int | None = 0
    while after is not None:
        with ctx.store.lock(locks.articles(generation.id)):
            after, written = _write_batch(ctx, generation, recipe, after)
        changed += written
        recipe.keep_made(KEEP_TEXTS)
        if written:
            progress(f"index articles into {generation.index_name}", changed, max(total, changed))
    recipe.keep_made()
    changed += remove_unwanted(ctx, generation)
    if changed:
        ctx.cluster.refresh(generation.index_name)
    return changed


def _write_batch(ctx: Context, generation: Generation, recipe: Recipe, after: int) -> tuple[int | None, int]:
    """(the last article's id or None when there is no more, how many were written)."""
    with ctx.store.begin() as conn:
        batch = generations.pending(conn, generation.id, after=after, limit=BATCH)
    if not batch:
        return None, 0
    # OpenSearch would make a missing index by itself at the first write, with a mapping of its own.
    check_index(ctx, generation)
    documents = recipe.documents(batch)
    actions = (
        bulk.Action(str(article.id), document, article.version)
        for article, document in zip(batch, documents, strict=True)
    )
    bulk.load(ctx.cluster, generation.index_name, actions)
    with ctx.store.begin() as conn:
        generations.record_indexed(conn, generation.id, [(article.id, article.version) for article in batch])
    return batch[-1].id, len(batch)


def check_index(ctx: Context, generation: Generation) -> None:
    """RefusedError unless the generation's index is there and is the one that was made for it."""
    meta = ctx.cluster.meta(generation.index_name)
    if meta is None or meta.get("garam", {}).get("generation") != generation.id:
        raise RefusedError(f"the index {generation.index_name} is not in OpenSearch any more: run `garam rebuild`")


def remove_unwanted(ctx: Context, generation: Generation) -> int:
    """Take removed articles and advertisements out of a generation's index; how many."""
    with ctx.store.lock(locks.articles(generation.id)):
        with ctx.store.begin() as conn:
            ids = generations.unwanted(conn, generation.id)
        if ids:
            bulk.load(ctx.cluster, generation.index_name, (bulk.Action(str(number), None) for number in ids))
            ctx.cluster.refresh(generation.index_name)
            with ctx.store.begin() as conn:
                generations.record_removed(conn, generation.id, ids)
    return len(ids)


def forget(ctx: Context, url: str) -> int:
    """Take an article out of every warm index at once; how many copies went. The store forgets it in `news.forget`.

    ``url`` as it was indexed (canonical); articles that the store has marked as removed go whatever their url.
    """
    gone = 0
    for generation in warm(ctx, building=True):
        index = generation.index_name
        if not ctx.cluster.exists(index):
            continue
        gone += remove_unwanted(ctx, generation)
        with ctx.store.lock(locks.articles(generation.id)):
            ctx.cluster.refresh(index)
            answer = ctx.cluster.call(
                "POST", f"/{index}/_delete_by_query", {"query": {"term": {"url": url}}}, params={"refresh": "true"}
            )
            gone += int(answer["deleted"])
            with ctx.store.begin() as conn:
                generations.record_removed(conn, generation.id, generations.article_ids(conn, url))
    return gone


def warm(ctx: Context, *, building: bool = False) -> list[Generation]:
    """The generations whose indices are kept; with ``building`` also those that are being built."""
    with ctx.store.begin() as conn:
        return generations.with_status(conn, (*generations.WARM, *(("building", "ready") if building else ())))
