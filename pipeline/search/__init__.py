"""OpenSearch, as the stages use it: one cluster, its indices, its query models.

``evaluation`` judges on scratch indices (`bm25_run`, `servable_check`), ``serving`` keeps the generations. Imported
lazily: reading this package costs neither opensearch-py nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.lazy_imports import attributes

if TYPE_CHECKING:
    from pipeline.search.baseline import bm25_run
    from pipeline.search.cluster import Cluster, ClusterError
    from pipeline.search.servable import ServableReport, servable_check

__all__ = ["Cluster", "ClusterError", "ServableReport", "bm25_run", "servable_check"]

_HOME = {
    "Cluster": "cluster",
    "ClusterError": "cluster",
    "ServableReport": "servable",
    "servable_check": "servable",
    "bm25_run": "baseline",
}

__getattr__ = attributes(__name__, _HOME)
