"""The live index follows the crawl."""

from __future__ import annotations

from pipeline.context import Context
from pipeline.progress import Progress, silent
from pipeline.serving.alias import reconcile
from pipeline.serving.articles import catch_up, check_index, remove_unwanted, warm


def index_new_articles(ctx: Context, *, progress: Progress = silent) -> int:
    """Bring what the crawl brought into the live index, encoded by the champion; how many articles changed.

    0 before the first deployment. Removals reach every warm generation. RefusedError where the live index is lost.
    """
    current = reconcile(ctx)
    if current is None:
        return 0
    check_index(ctx, current)
    changed = catch_up(ctx, current, progress=progress)
    for other in warm(ctx):
        if other.id != current.id and ctx.cluster.exists(other.index_name):
            remove_unwanted(ctx, other)
    return changed
