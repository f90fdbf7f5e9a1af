"""The lexical floor: a text's own terms never weigh less than BM25 would have them weigh.

A learned weight says what a text is about; it knows neither how often a term is said nor how long the text is, and it
is missing exactly where a word is new. So each own term of a document weighs at least ``weight`` times the document's
side of BM25 (term frequency saturated, length normalised), whatever the model thinks of it: what a model forgets can
never be less findable than by words alone. The model's own weight is laid on it in one of two ways: as a maximum (the
model counts where it is above the floor) or as a sum (it always counts, and always learns: under a maximum no gradient
reaches an own term that is below its floor). Terms that the text does not hold (expansions) come from the model only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

K1, B = 1.2, 0.75  # Lucene's, as in OpenSearch
AVERAGE_LENGTH = 150.0
"""Tokens of a text of average length where nobody measured it (a news article's first 500 characters)."""


@dataclass(frozen=True)
class LexicalFloor:
    """``weight`` of a term said once in a text of ``average_length`` tokens (0: as the model knows it); ``added`` to
    what the model says, or else the least that a term weighs."""

    weight: float
    average_length: float
    added: bool = False

    def times(self, share: float) -> LexicalFloor:
        """A floor with ``share`` of the weight."""
        return replace(self, weight=share * self.weight)

    def of(self, tokens: Sequence[Sequence[int]], size: int, average_length: float) -> sp.csr_matrix:
        """The floor (documents, ``size``) float32 of documents given as token ids."""
        return saturation(tokens, size, average_length) * np.float32(self.weight)

    def under(self, learned: Tensor, floor: Tensor) -> Tensor:
        """Document weights: what the model says, laid on the floor; all of one shape."""
        return learned + floor if self.added else torch.maximum(learned, floor)


def saturation(tokens: Sequence[Sequence[int]], size: int, average_length: float) -> sp.csr_matrix:
    """The document's side of BM25, without idf: (documents, ``size``) float32.

    ``f * (k1 + 1) / (f + k1 * (1 - b + b * |d| / average_length))`` (Robertson and Zaragoza 2009): 1 for a term said
    once in a text of average length, at most ``k1 + 1``.
    """
    lengths = np.array([len(held) for held in tokens], np.int64)
    columns = np.fromiter((token for held in tokens for token in held), np.int64, int(lengths.sum()))
    rows = np.repeat(np.arange(len(tokens)), lengths)
    counts = sp.csr_matrix((np.ones(len(rows), np.float64), (rows, columns)), shape=(len(tokens), size))
    counts.sum_duplicates()
    norm = np.repeat(K1 * (1 - B + B * lengths / max(average_length, 1e-9)), np.diff(counts.indptr))
    counts.data = counts.data * (K1 + 1) / (counts.data + norm)
    return counts.astype(np.float32)
