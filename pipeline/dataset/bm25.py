"""BM25 over a collection at once: the ranking of rank-bm25's ``BM25Okapi``, as one sparse matrix.

Score of a document d for a query: the sum over the query's words (a repeated word counts again) of
``idf(t) * f * (k1 + 1) / (f + k1 * (1 - b + b * |d| / avgdl))``; ``idf(t) = ln(N - n + 0.5) - ln(n + 0.5)``, and a
negative idf becomes ``epsilon`` times the mean idf (Robertson et al. 1994; Trotman et al. 2014). All that does not
depend on the query is computed once, so a batch of queries is one sparse product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.dataset.terms import Counted, Tokenizer, bigrams, terms_of
from pipeline.errors import BadInputError

__all__ = ["BM25", "Tokenizer", "best", "bigrams"]


class BM25:
    """BM25 weights of a collection: ``matrix`` (documents, words) CSR float64."""

    def __init__(
        self,
        documents: Sequence[str],
        tokenize: Tokenizer = bigrams,
        *,
        k1: float = 1.5,
        b: float = 0.75,
        epsilon: float = 0.25,
    ) -> None:
        self._terms = terms_of(tokenize)
        counted = self._terms.collection(documents)
        if not self._terms.size:
            raise BadInputError("BM25 needs documents with words in them: the collection is empty")
        size = (len(documents), self._terms.size)
        column, frequency, length = counted.words, counted.counts, counted.lengths.astype(np.float64)
        df = np.bincount(column, minlength=size[1]).astype(np.float64)
        idf = np.log(size[0] - df + 0.5) - np.log(df + 0.5)
        idf[idf < 0] = epsilon * idf.mean()
        norm = k1 * (1 - b + b * length / length.mean())
        row_norm = np.repeat(norm, np.diff(counted.indptr))
        weights = idf[column] * frequency * (k1 + 1) / (frequency + row_norm)
        self.idf = idf
        self.matrix = sp.csr_matrix((weights, column, counted.indptr), shape=size)
        self._by_word = self.matrix.T.tocsr()
        self._documents = self._by_word.indices.astype(np.int64)  # what bincount wants, converted once

    def _queries(self, texts: Sequence[str]) -> sp.csr_matrix:
        counted = self._terms.queries(texts)
        return sp.csr_matrix((counted.counts, counted.words, counted.indptr), shape=(len(texts), self._terms.size))

    def scores(self, query: str) -> NDArray[np.float64]:
        """Scores (documents,) of every document for one query."""
        found: NDArray[np.float64] = (self._queries([query]) @ self._by_word).toarray().ravel()
        return found

    def top(
        self, queries: Sequence[str], k: int, *, chunk: int = 256
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """For each query the documents with a positive score, best first, at most ``k``: positions and scores.

        Ties go to the earlier document.
        """
        for start in range(0, len(queries), chunk):
            counted = self._terms.queries(queries[start : start + chunk])
            for row in range(len(counted.lengths)):
                yield best(self._score(counted, row), k)

    def _score(self, counted: Counted, row: int) -> NDArray[np.float64]:
        """Scores (documents,) of one query: its words' postings, added up."""
        span = slice(counted.indptr[row], counted.indptr[row + 1])
        edges = self._by_word.indptr
        lists = [(slice(edges[word], edges[word + 1]), count) for word, count in
                 zip(counted.words[span].tolist(), counted.counts[span].tolist(), strict=True)]  # fmt: skip
        size = self.matrix.shape[0]
        if not lists:
            return np.zeros(size)
        found = np.concatenate([self._documents[place] for place, _ in lists])
        weights = np.concatenate([self._by_word.data[place] * count for place, count in lists])
        return np.bincount(found, weights, minlength=size).astype(np.float64, copy=False)

    def pairs(self, queries: Sequence[str], documents: Sequence[int]) -> NDArray[np.float64]:
        """Score of query i with document ``documents[i]``, (queries,)."""
        asked = self._queries(queries)
        return np.asarray(asked.multiply(self.matrix[list(documents)]).sum(axis=1), np.float64).ravel()


def best(scores: NDArray[np.float64], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The ``k`` largest positive scores, best first, and where they stand; ties go to the earlier place."""
    least = np.partition(scores, len(scores) - k)[len(scores) - k] if len(scores) > k else 0.0
    # Everything down to the k-th best score, so that ties are cut by position and not by chance.
    found = np.flatnonzero(scores >= least if least > 0 else scores > 0)
    order = np.lexsort((found, -scores[found]))[:k]
    return found[order], scores[found[order]]
