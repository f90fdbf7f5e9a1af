"""Ranking metrics, a value a query, and the costs of sparse vectors.

Definitions are trec_eval's with one difference: a tie counts against the system. Of documents with the same score the
relevant ones come last, so a model that gives every document the same score earns (almost) nothing, whatever order
the documents happen to lie in. A document with a score of 0 or less was not found: that is what the index does.

- nDCG@k (Järvelin and Kekäläinen 2002): sum over the first k of gain / log2(1 + rank), divided by the best such sum.
- MRR@k: 1 / rank of the first relevant document, 0 when it is not among the first k.
- Recall@k: relevant documents among the first k, divided by all relevant documents.
- FLOPS (Paria et al. 2020): the products that scoring one query against one document takes on average,
  ``sum_j P(term j in a query) * P(term j in a document)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.artifacts.query_sets import Query
from pipeline.ranking.runs import Run

METRICS = ("ndcg@10", "mrr@10", "recall@10", "recall@100")
Values = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Judgments:
    """Judged pairs as parallel arrays: query row, document row (-1 when it is not in the corpus), gain > 0."""

    queries: int
    query: NDArray[np.int64]
    document: NDArray[np.int64]
    gain: NDArray[np.float64]

    @classmethod
    def of(cls, queries: Sequence[Query], document_ids: Sequence[str]) -> Judgments:
        """Judgments of ``queries`` over the corpus whose row i is ``document_ids[i]``.

        A relevant document that the corpus lacks cannot be found; it still counts in recall and in the ideal ranking.
        """
        row_of = {document: row for row, document in enumerate(document_ids)}
        pairs = [
            (row, row_of.get(document, -1), gain)
            for row, query in enumerate(queries)
            for document, gain in sorted(query.relevant.items())
        ]
        columns = zip(*pairs, strict=True) if pairs else ((), (), ())
        query, document, gain = columns
        return cls(len(queries), np.array(query, np.int64), np.array(document, np.int64), np.array(gain, np.float64))

    def groups(self) -> NDArray[np.int64]:
        """A group for each query: queries with the same first relevant document are not independent observations."""
        first = np.full(self.queries, np.iinfo(np.int64).max)
        known = np.where(self.document >= 0, self.document, np.iinfo(np.int64).max - 1 - self.query)
        np.minimum.at(first, self.query, known)
        return np.unique(first, return_inverse=True)[1].astype(np.int64)


def pessimistic_ranks(run: Run, judged: Judgments) -> NDArray[np.int64]:
    """The rank (1, 2 ...) of each judged pair's document; 0 where it was not found.

    Among documents of one score the irrelevant come first, then the relevant by rising gain.
    """
    ranks = np.zeros(len(judged.query), np.int64)
    scores = np.zeros(len(judged.query), np.float32)
    step = max(1, 4_000_000 // max(1, run.documents.shape[1]))
    for start in range(0, len(judged.query), step):
        part = slice(start, start + step)
        found = run.documents[judged.query[part]]
        hit = (found == judged.document[part, None]) & (found >= 0)
        pair, column = np.nonzero(hit)
        score = run.scores[judged.query[part][pair], column]
        scores[start + pair] = score
        ranks[start + pair] = (run.scores[judged.query[part][pair]] >= score[:, None]).sum(axis=1)
    # ``ranks`` is now the end of each pair's tie group; step back once for each tied relevant document behind it.
    order = np.lexsort((judged.gain, scores, judged.query))
    query, score = judged.query[order], scores[order]
    last = np.r_[(query[1:] != query[:-1]) | (score[1:] != score[:-1]), True]
    ends = np.flatnonzero(last)
    behind = ends[np.searchsorted(ends, np.arange(len(order)))] - np.arange(len(order)) if len(order) else ends
    ranks[order] -= np.where(ranks[order] > 0, behind, 0)
    return ranks


def measure(run: Run, judged: Judgments) -> Values:
    """`METRICS` of a run, a value a query: arrays (queries,) in [0, 1]."""
    ranks = pessimistic_ranks(run, judged)

    def total(of: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(judged.query, weights=of, minlength=judged.queries).astype(np.float64)

    def within(k: int) -> NDArray[np.bool_]:
        return (ranks > 0) & (ranks <= k)

    discount = 1.0 / np.log2(1.0 + np.maximum(ranks, 1))
    reciprocal = np.zeros(judged.queries)
    np.maximum.at(reciprocal, judged.query, np.where(within(10), 1.0 / np.maximum(ranks, 1), 0.0))
    relevant = np.maximum(total(np.ones(len(ranks))), 1.0)
    return {
        "ndcg@10": _divide(total(np.where(within(10), judged.gain * discount, 0.0)), _ideal(judged, 10)),
        "mrr@10": reciprocal,
        "recall@10": total(within(10).astype(float)) / relevant,
        "recall@100": total(within(100).astype(float)) / relevant,
    }


def _ideal(judged: Judgments, k: int) -> NDArray[np.float64]:
    """The largest discounted sum that any ranking of the judged documents reaches, a value a query."""
    order = np.lexsort((-judged.gain, judged.query))
    query, gain = judged.query[order], judged.gain[order]
    starts = np.searchsorted(query, np.arange(judged.queries))
    rank = np.arange(len(order)) - starts[query] + 1
    discounted = np.where(rank <= k, gain / np.log2(1.0 + rank), 0.0)
    return np.bincount(query, weights=discounted, minlength=judged.queries).astype(np.float64)


def _divide(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)


@dataclass(frozen=True)
class Cost:
    """What a model's vectors cost: means over the documents (and queries) they were measured on."""

    active_terms: float  # terms of a document with a weight above 0
    query_terms: float
    sparsity: float  # share of the vocabulary that is 0 in a document
    flops: float  # products per query and document
    postings: int  # entries of the whole inverted index
    unusable: int  # weights that are not finite or below 0: the index would refuse them

    @classmethod
    def of(cls, documents: sp.csr_matrix, queries: sp.csr_matrix) -> Cost:
        """Costs of documents (n, V) searched with queries (m, V)."""
        bad = sum(int((~np.isfinite(matrix.data) | (matrix.data < 0)).sum()) for matrix in (documents, queries))
        documents_with, queries_with = _document_frequency(documents), _document_frequency(queries)
        n, m = max(1, documents.shape[0]), max(1, queries.shape[0])
        active = float(documents_with.sum()) / n
        return cls(
            active_terms=active,
            query_terms=float(queries_with.sum()) / m,
            sparsity=1.0 - active / documents.shape[1],
            flops=float(documents_with @ queries_with) / (n * m),
            postings=int(documents_with.sum()),
            unusable=bad,
        )


def _document_frequency(matrix: sp.csr_matrix) -> NDArray[np.float64]:
    active = matrix.indices[matrix.data > 0]
    return np.bincount(active, minlength=matrix.shape[1]).astype(np.float64)
