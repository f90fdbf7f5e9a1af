"""Clusters of word embeddings in each window, and how they change from one window to the next."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UsageError
from pipeline.synonyms.embeddings import TemporalEmbeddings, Vectors
from pipeline.synonyms.windows import Window

METHODS = ("kmeans", "dbscan", "hierarchical")
_SMALLEST = 4  # words a cluster has on average, at least: fewer would leave nothing to compare


@dataclass(frozen=True)
class WindowClusters:
    """``labels[i]`` is the cluster of ``words[i]``; -1 is noise (DBSCAN). A label means the same in every window."""

    window: Window
    words: list[str]
    labels: NDArray[np.int64]

    def members(self) -> dict[int, list[str]]:
        """Words of each cluster; noise is left out."""
        found: dict[int, list[str]] = defaultdict(list)
        for word, label in zip(self.words, self.labels, strict=True):
            if label >= 0:
                found[int(label)].append(word)
        return dict(found)


@dataclass(frozen=True)
class ClusterChange:
    """What changed between two neighbouring windows."""

    before: Window
    after: Window
    agreement: float  # adjusted Rand index over the words of both windows: 1 the same clusters, 0 chance
    moved: list[tuple[str, int, int]]  # (word, cluster before, cluster after)
    born: list[int]  # clusters without a counterpart before
    gone: list[int]  # clusters without a counterpart after
    new_words: list[str]  # words that have an embedding only after


@dataclass(frozen=True)
class TemporalClusters:
    """Clusters of each window, oldest first, and the changes between neighbours."""

    method: str
    windows: list[WindowClusters]
    changes: list[ClusterChange]

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {
            "method": self.method,
            "windows": [
                {"window": str(w.window), "clusters": {str(k): v for k, v in sorted(w.members().items())}}
                for w in self.windows
            ],
            "changes": [
                {
                    "before": str(c.before),
                    "after": str(c.after),
                    "agreement": round(c.agreement, 4),
                    "moved": [list(m) for m in c.moved],
                    "born": c.born,
                    "gone": c.gone,
                    "new_words": c.new_words,
                }
                for c in self.changes
            ],
        }


def cluster_tokens_temporal(
    embeddings: TemporalEmbeddings, method: str = "kmeans", n_clusters: int = 500, *, seed: int = 13
) -> TemporalClusters:
    """Clusters of each window's words (plan 4.2).

    ``method``: kmeans, dbscan or hierarchical (average linkage over cosines). ``n_clusters`` is cut to one for every
    four words; DBSCAN ignores it and takes its radius from the data. Clusters of a later window take the labels of
    the earlier clusters they share most words with (an optimal assignment), so that a label can be followed in time.
    """
    if method not in METHODS:
        raise UsageError(f"{method!r} is no clustering method: use one of {', '.join(METHODS)}")
    if n_clusters < 1:
        raise UsageError("n_clusters must be at least 1")
    windows: list[WindowClusters] = []
    highest = 0
    for snapshot in embeddings.windows:
        labels = _cluster(snapshot.vectors, method, n_clusters, seed)
        if windows:
            labels = _follow(windows[-1], snapshot.words, labels, highest)
        highest = max(highest, int(labels.max(initial=-1)) + 1)
        windows.append(WindowClusters(snapshot.window, snapshot.words, labels))
    changes = [_change(a, b) for a, b in pairwise(windows)]
    return TemporalClusters(method, windows, changes)


def _cluster(vectors: Vectors, method: str, n_clusters: int, seed: int) -> NDArray[np.int64]:
    count = len(vectors)
    if count < 2:
        return np.zeros(count, dtype=np.int64)
    wanted = max(1, min(n_clusters, count // _SMALLEST))
    if method == "kmeans":
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits

        # One thread: at this size threads gain nothing alone and lose much beside other work on the same cores.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than clusters is fine
            fitted = KMeans(wanted, n_init=1, max_iter=50, random_state=seed).fit(vectors)
        return np.asarray(fitted.labels_, dtype=np.int64)
    if method == "hierarchical":
        from sklearn.cluster import AgglomerativeClustering

        grouped = AgglomerativeClustering(wanted, metric="cosine", linkage="average").fit(vectors)
        return np.asarray(grouped.labels_, dtype=np.int64)
    from sklearn.cluster import DBSCAN

    # Half the words have their nearest neighbour within this radius: dense spots join, the rest is noise.
    distances = np.clip(1 - vectors @ vectors.T, 0, 2)
    np.fill_diagonal(distances, 2)
    radius = float(np.median(distances.min(axis=1)))
    np.fill_diagonal(distances, 0)
    fitted = DBSCAN(eps=max(radius, 1e-6), min_samples=2, metric="precomputed").fit(distances)
    return np.asarray(fitted.labels_, dtype=np.int64)


def _follow(before: WindowClusters, words: list[str], labels: NDArray[np.int64], highest: int) -> NDArray[np.int64]:
    """``labels`` renamed to the earlier clusters' labels where they share words; new clusters get new labels."""
    from scipy.optimize import linear_sum_assignment

    old = {w: int(c) for w, c in zip(before.words, before.labels, strict=True) if c >= 0}
    shared = Counter((old[w], int(c)) for w, c in zip(words, labels, strict=True) if c >= 0 and w in old)
    rows = sorted({a for a, _ in shared})
    columns = sorted({b for _, b in shared})
    table = np.zeros((len(rows), len(columns)))
    for (a, b), count in shared.items():
        table[rows.index(a), columns.index(b)] = count
    renamed: dict[int, int] = {}
    for i, j in zip(*linear_sum_assignment(-table), strict=True):
        if table[i, j] > 0:
            renamed[columns[j]] = rows[i]
    for label in sorted({int(c) for c in labels if c >= 0}):
        if label not in renamed:
            renamed[label] = highest
            highest += 1
    return np.array([renamed[int(c)] if c >= 0 else -1 for c in labels], dtype=np.int64)


def _change(before: WindowClusters, after: WindowClusters) -> ClusterChange:
    from sklearn.metrics import adjusted_rand_score

    old = dict(zip(before.words, map(int, before.labels), strict=True))
    new = dict(zip(after.words, map(int, after.labels), strict=True))
    both = [word for word in after.words if word in old]
    agreement = float(adjusted_rand_score([old[w] for w in both], [new[w] for w in both])) if len(both) > 1 else 0.0
    moved = sorted((w, old[w], new[w]) for w in both if old[w] != new[w])
    before_labels, after_labels = set(old.values()) - {-1}, set(new.values()) - {-1}
    fresh = [word for word in after.words if word not in old]
    return ClusterChange(
        before.window,
        after.window,
        agreement,
        moved,
        sorted(after_labels - before_labels),
        sorted(before_labels - after_labels),
        fresh,
    )
