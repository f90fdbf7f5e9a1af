"""Serving: generations in OpenSearch, behind one alias, rebuilt from Postgres and artifacts at any time.

Every entry point may be run again, killed, or run twice at once. Locks in Postgres keep order: one deployment at a
time (``deploy``), one change of the alias at a time (``swap``), one change of query models at a time (``models``), one
writer an index (``articles.N``). None but the first is held for long, so a rollback never waits for a deployment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.lazy_imports import attributes

if TYPE_CHECKING:
    from pipeline.serving.alias import live, resume, rollback
    from pipeline.serving.articles import forget
    from pipeline.serving.deployment import deploy, rebuild
    from pipeline.serving.leftovers import PruneReport, prune
    from pipeline.serving.live_index import index_new_articles
    from pipeline.serving.query_weights import publish_query_weights
    from pipeline.serving.searching import Hit, SearchResult, search
    from pipeline.serving.trends import Recency, publish_trend_weights, recency, set_recency

__all__ = [
    "Hit",
    "PruneReport",
    "Recency",
    "SearchResult",
    "deploy",
    "forget",
    "index_new_articles",
    "live",
    "prune",
    "publish_query_weights",
    "publish_trend_weights",
    "rebuild",
    "recency",
    "resume",
    "rollback",
    "search",
    "set_recency",
]

_HOME = {
    "Hit": "searching",
    "PruneReport": "leftovers",
    "Recency": "trends",
    "SearchResult": "searching",
    "deploy": "deployment",
    "forget": "articles",
    "index_new_articles": "live_index",
    "live": "alias",
    "prune": "leftovers",
    "publish_query_weights": "query_weights",
    "publish_trend_weights": "trends",
    "rebuild": "deployment",
    "recency": "trends",
    "resume": "alias",
    "rollback": "alias",
    "search": "searching",
    "set_recency": "trends",
}

__getattr__ = attributes(__name__, _HOME)
