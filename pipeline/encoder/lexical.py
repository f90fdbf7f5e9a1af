"""The lexical floor: the BM25 weights of the terms that a document contains.

Learned weights capture the topic of a text. They ignore term frequency and document length, and are missing for new
words. So each term of a document gets a BM25 weight (term frequency saturated, length normalised), and learned weights
are added to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

K1, B = 1.2, 0.75  # the defaults of Lucene and OpenSearch
AVERAGE_LENGTH = 150.0
"""Default average document length in tokens (the first 500 characters of a news article)."""


@dataclass(frozen=True)
class CorpusStatistics:
    """``query_weights`` (V,) float32; ``average_length`` of a text in tokens, blocked ones left out."""

    query_weights: NDArray[np.float32]
    average_length: float


def bm25_weights(tokens: Sequence[Sequence[int]], vocabulary_size: int, average_length: float) -> sp.csr_matrix:
    """BM25 term weights of documents, without IDF: (n, V) float32; ``tokens`` are the token ids of n documents.

    ``f * (k1 + 1) / (f + k1 * (1 - b + b * |d| / average_length))`` (Robertson and Zaragoza 2009): 1 for a term
    that occurs once in a document of average length, at most ``k1 + 1``.
    """
    lengths = np.array([len(ids) for ids in tokens], np.int64)
    columns = np.fromiter((token for ids in tokens for token in ids), np.int64, int(lengths.sum()))
    rows = np.repeat(np.arange(len(tokens)), lengths)
    counts = sp.csr_matrix((np.ones(len(rows), np.float64), (rows, columns)), shape=(len(tokens), vocabulary_size))
    counts.sum_duplicates()
    norm = np.repeat(K1 * (1 - B + B * lengths / max(average_length, 1e-9)), np.diff(counts.indptr))
    counts.data = counts.data * (K1 + 1) / (counts.data + norm)
    return counts.astype(np.float32)
