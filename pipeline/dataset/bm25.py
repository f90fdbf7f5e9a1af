"""BM25 over a collection at once: the ranking of rank-bm25's ``BM25Okapi``, as one sparse matrix.

Score of a document d for a query: the sum over the query's words (a repeated word counts again) of
``idf(t) * f * (k1 + 1) / (f + k1 * (1 - b + b * |d| / avgdl))``; ``idf(t) = ln(N - n + 0.5) - ln(n + 0.5)``, and a
negative idf becomes ``epsilon`` times the mean idf (Robertson et al. 1994; Trotman et al. 2014). All that does not
depend on the query is computed once, so a batch of queries is one sparse product.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.errors import BadInputError

Tokenizer = Callable[[str], list[str]]
_RUN = re.compile(r"[가-힣]+|[一-鿿]+|[a-z0-9]+")


def bigrams(text: str) -> list[str]:
    """Words of Korean text without a dictionary: overlapping pairs of syllables of each run, other runs whole.

    Particles and compounds need no analysis this way; on Korean it ranks about as well as morphemes do, and much
    faster.
    """
    found = []
    for run in _RUN.findall(text.lower()):
        if len(run) < 2 or run[0].isascii():
            found.append(run)
        else:
            found.extend(run[i : i + 2] for i in range(len(run) - 1))
    return found


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
        self.tokenize = tokenize
        self.words: dict[str, int] = {}
        indptr, indices, counts, lengths = [0], [], [], []
        for document in documents:
            tokens = tokenize(document)
            lengths.append(len(tokens))
            for word, count in Counter(tokens).items():
                indices.append(self.words.setdefault(word, len(self.words)))
                counts.append(count)
            indptr.append(len(indices))
        if not self.words:
            raise BadInputError("BM25 needs documents with words in them: the collection is empty")
        size = (len(documents), len(self.words))
        column = np.asarray(indices, np.int64)
        frequency = np.asarray(counts, np.float64)
        length = np.asarray(lengths, np.float64)
        df = np.bincount(column, minlength=size[1]).astype(np.float64)
        idf = np.log(size[0] - df + 0.5) - np.log(df + 0.5)
        idf[idf < 0] = epsilon * idf.mean()
        norm = k1 * (1 - b + b * length / length.mean())
        row_norm = np.repeat(norm, np.diff(indptr))
        weights = idf[column] * frequency * (k1 + 1) / (frequency + row_norm)
        self.idf = idf
        self.matrix = sp.csr_matrix((weights, column, np.asarray(indptr, np.int64)), shape=size)
        self._by_word = self.matrix.T.tocsr()

    def _queries(self, texts: Sequence[str]) -> sp.csr_matrix:
        indptr, indices, counts = [0], [], []
        for text in texts:
            for word, count in Counter(self.tokenize(text)).items():
                if word in self.words:
                    indices.append(self.words[word])
                    counts.append(float(count))
            indptr.append(len(indices))
        return sp.csr_matrix((counts, indices, indptr), shape=(len(texts), len(self.words)))

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
            block = (self._queries(queries[start : start + chunk]) @ self._by_word).tocsr()
            for row in range(block.shape[0]):
                span = slice(block.indptr[row], block.indptr[row + 1])
                found, score = block.indices[span], block.data[span]
                positive = score > 0
                found, score = found[positive], score[positive]
                if len(found) > k:
                    # Everything down to the k-th best score, so that ties are cut by position and not by chance.
                    kept = score >= np.partition(score, len(score) - k)[len(score) - k]
                    found, score = found[kept], score[kept]
                order = np.lexsort((found, -score))[:k]
                yield found[order].astype(np.int64), score[order]

    def pairs(self, queries: Sequence[str], documents: Sequence[int]) -> NDArray[np.float64]:
        """Score of query i with document ``documents[i]``, (queries,)."""
        asked = self._queries(queries)
        return np.asarray(asked.multiply(self.matrix[list(documents)]).sum(axis=1), np.float64).ravel()
