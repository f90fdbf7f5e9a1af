"""The lexical floor: a text's own terms never weigh less than BM25 would have them weigh.

A learned weight says what a text is about; it knows neither how often a term is said nor how long the text is, and it
is missing exactly where a word is new. So each own term of a document weighs ``weight`` times the document's side of
BM25 (term frequency saturated, length normalised), and what is learned is added to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

K1, B = 1.2, 0.75  # Lucene's, as in OpenSearch
AVERAGE_LENGTH = 150.0
"""Tokens of a text of average length where nobody measured it (a news article's first 500 characters)."""


def saturation(tokens: Sequence[Sequence[int]], size: int, average_length: float) -> sp.csr_matrix:
    """The document's side of BM25, without idf: (documents, ``size``) float32.

    ``f * (k1 + 1) / (f + k1 * (1 - b + b * |d| / average_length))`` (Robertson and Zaragoza 2009): 1 for a term said
    once in a text of average length, at most ``k1 + 1``.
    """
    lengths = np.array([len(ids) for ids in tokens], np.int64)
    columns = np.fromiter((token for ids in tokens for token in ids), np.int64, int(lengths.sum()))
    rows = np.repeat(np.arange(len(tokens)), lengths)
    counts = sp.csr_matrix((np.ones(len(rows), np.float64), (rows, columns)), shape=(len(tokens), size))
    counts.sum_duplicates()
    norm = np.repeat(K1 * (1 - B + B * lengths / max(average_length, 1e-9)), np.diff(counts.indptr))
    counts.data = counts.data * (K1 + 1) / (counts.data + norm)
    return counts.astype(np.float32)
