"""Rankings: which documents a system returns for each query, best first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

DEPTH = 1000
"""Documents kept of a ranking. Ten times the deepest metric, so that a tie across the cut cannot help anybody."""

# The two constants of OpenSearch's min_max normalization: the lowest of several scores, and an only one.
_LOWEST, _ONLY = np.float32(0.001), np.float32(1.0)
_RANK_CONSTANT = np.float32(60)  # of reciprocal rank fusion, as in the search pipeline


@dataclass(frozen=True)
class Run:
    """``documents`` (queries, k) int32 rows of the corpus, best first, -1 behind the last one found;
    ``scores`` (queries, k) float32, -inf there."""

    documents: NDArray[np.int32]
    scores: NDArray[np.float32]

    @classmethod
    def of(cls, rows: Sequence[tuple[NDArray[np.int32], NDArray[np.float32]]]) -> Run:
        """A run of each query's found documents and scores, in any order; equal scores go by corpus row."""
        width = max((len(found) for found, _ in rows), default=0)
        documents = np.full((len(rows), width), -1, np.int32)
        scores = np.full((len(rows), width), -np.inf, np.float32)
        for row, (found, score) in enumerate(rows):
            order = np.lexsort((found, -score))
            documents[row, : len(found)], scores[row, : len(found)] = found[order], score[order]
        return cls(documents, scores)

    @classmethod
    def of_hits(cls, hits: Sequence[Sequence[tuple[str, float]]], row_of: Mapping[str, int]) -> Run:
        """A run of (document id, score) lists, a list a query; ids outside the corpus are left out."""
        rows = []
        for found in hits:
            known = [(row_of[document], score) for document, score in found if document in row_of and score > 0]
            rows.append((np.array([d for d, _ in known], np.int32), np.array([s for _, s in known], np.float32)))
        return cls.of(rows)

    def top(self, k: int) -> Run:
        """The first ``k`` documents of each query."""
        return Run(self.documents[:, :k], self.scores[:, :k])


def sparse_run(queries: sp.csr_matrix, documents: sp.csr_matrix, depth: int = DEPTH) -> Run:
    """Dot products of queries (n, V) and documents (m, V), the ``depth`` best of each query.

    Weights that are not finite count as 0: a broken model finds nothing (the gate reports it apart).
    """
    inverted = _finite(documents).T.tocsr()
    queries = _finite(queries)
    # As many queries at once as keep the product within some 100 MB even when every pair shares a term.
    step = max(1, 8_000_000 // max(1, documents.shape[0]))
    rows: list[tuple[NDArray[np.int32], NDArray[np.float32]]] = []
    for start in range(0, queries.shape[0], step):
        product = (queries[start : start + step] @ inverted).tocsr()
        product.sort_indices()
        for first, last in zip(product.indptr[:-1], product.indptr[1:], strict=True):
            rows.append(_best(product.indices[first:last], product.data[first:last], depth))
    return Run.of(rows)


def _finite(matrix: sp.csr_matrix) -> sp.csr_matrix:
    if np.isfinite(matrix.data).all():
        return matrix
    return sp.csr_matrix(
        (np.nan_to_num(matrix.data, nan=0, posinf=0, neginf=0), matrix.indices, matrix.indptr), matrix.shape
    )


def _best(
    found: NDArray[np.int32], scores: NDArray[np.float32], depth: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The ``depth`` highest positive scores; of equal ones at the cut those with the lowest rows."""
    kept = scores > 0
    found, scores = found[kept], scores[kept]
    if len(scores) > depth:
        cut = np.partition(scores, len(scores) - depth)[len(scores) - depth]
        above = np.flatnonzero(scores > cut)
        kept_rows = np.concatenate([above, np.flatnonzero(scores == cut)[: depth - len(above)]])
        found, scores = found[kept_rows], scores[kept_rows]
    return found.astype(np.int32), scores.astype(np.float32)


def hybrid_run(runs: Sequence[Run], weights: Sequence[float], *, depth: int, fusion: str = "minmax") -> Run:
    """What OpenSearch makes of several rankings in one hybrid query.

    The first ``depth`` documents of each ranking are taken and a document's score is the weighted mean of its scores,
    with 0 where a ranking lacks it. ``minmax`` (normalization processor, min_max and arithmetic_mean): a score becomes
    ``(s - min) / (max - min)``, the lowest 0.001 rather than 0 and an only score 1. ``rrf`` (score ranker processor):
    a score is 1 / (60 + rank).
    """
    share = np.asarray(weights, np.float64) / float(np.sum(weights))
    normal = {"minmax": _min_max, "rrf": _reciprocal_ranks}[fusion]
    parts = [(run.top(depth).documents, normal(run.top(depth).scores)) for run in runs]
    rows = []
    for query in range(len(runs[0].documents)):
        documents = np.concatenate([found[query] for found, _ in parts])
        scores = np.concatenate([part * s[query] for part, (_, s) in zip(share, parts, strict=True)])
        there = documents >= 0
        found, place = np.unique(documents[there], return_inverse=True)
        rows.append((found.astype(np.int32), np.bincount(place, scores[there], len(found)).astype(np.float32)))
    return Run.of(rows)


def _reciprocal_ranks(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    ranks = np.arange(1, scores.shape[1] + 1, dtype=np.float32)
    return np.where(np.isfinite(scores), 1 / (_RANK_CONSTANT + ranks), 0).astype(np.float32)


def _min_max(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    if scores.shape[1] == 0:
        return scores
    there = np.isfinite(scores)
    low = np.where(there, scores, np.inf).min(axis=1, keepdims=True)
    high = np.where(there, scores, -np.inf).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        normal = np.where(high == low, _ONLY, (scores - low) / (high - low))
    normal = np.where(normal == 0, _LOWEST, normal)
    return np.where(there, normal, 0).astype(np.float32)
