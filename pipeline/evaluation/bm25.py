"""BM25 without a cluster: Lucene's formula over Korean morphemes, for evaluations on files.

The cluster's own BM25 with nori (`pipeline.search.bm25_run`) is what the gate compares with. This one is its
counterpart where there is no cluster: the same formula and defaults (k1 1.2, b 0.75), morphemes by kiwipiepy instead
of nori, and nori's default stop tags: endings, particles, adverbs, determiners, interjections, affixes, punctuation.

Weight of word t in document d (Lucene's BM25Similarity since 8.0, Robertson et al. 1994):
``ln(1 + (N - n_t + 0.5) / (n_t + 0.5)) * f / (f + k1 * (1 - b + b * |d| / avgdl))``;
a query's repeated word counts again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse as sp

from pipeline.evaluation.runs import DEPTH, Run, sparse_run

_DROPPED = ("E", "J", "MA", "MM", "IC", "XP", "XS", "SF", "SP", "SS", "SE", "SO", "SW", "SB", "VCP", "W_", "Z_", "UN")


@cache
def _kiwi() -> Any:
    from kiwipiepy import Kiwi  # a second and 250 MB: only where there is no cluster

    return Kiwi(num_workers=min(2, os.cpu_count() or 1))


def morphemes(texts: Iterable[str]) -> Iterator[list[str]]:
    """The content morphemes of each text, lower case, in their order."""
    for tokens in _kiwi().tokenize(iter(texts)):
        yield [token.form.lower() for token in tokens if not token.tag.startswith(_DROPPED)]


class BM25:
    """An index of documents; ``matrix`` (documents, words) float32 holds BM25's weights."""

    name = "BM25 over kiwipiepy morphemes (no cluster)"

    def __init__(self, documents: Sequence[str], *, k1: float = 1.2, b: float = 0.75) -> None:
        self.words: dict[str, int] = {}
        indptr, indices, counts, lengths = [0], [], [], []
        for tokens in morphemes(documents):
            found = Counter(tokens)
            indices += [self.words.setdefault(word, len(self.words)) for word in found]
            counts += list(found.values())
            lengths.append(len(tokens))
            indptr.append(len(indices))
        shape = (len(documents), max(1, len(self.words)))
        frequency = np.array(counts, np.float64)
        column = np.array(indices, np.int64)
        holding = np.bincount(column, minlength=shape[1])
        idf = np.log1p((len(documents) - holding + 0.5) / (holding + 0.5))
        length = np.array(lengths, np.float64)
        norm = k1 * (1 - b + b * length / max(length.mean() if len(length) else 1.0, 1e-9))
        weight = idf[column] * frequency / (frequency + np.repeat(norm, np.diff(indptr)))
        self.matrix = sp.csr_matrix((weight.astype(np.float32), column, np.array(indptr)), shape=shape)

    def run(self, queries: Sequence[str], depth: int = DEPTH) -> Run:
        """The ``depth`` best documents of each query."""
        indptr, indices, counts = [0], [], []
        for tokens in morphemes(queries):
            found = Counter(word for word in tokens if word in self.words)
            indices += [self.words[word] for word in found]
            counts += list(found.values())
            indptr.append(len(indices))
        shape = (len(queries), self.matrix.shape[1])
        return sparse_run(
            sp.csr_matrix((np.array(counts, np.float32), indices, indptr), shape=shape), self.matrix, depth
        )
