"""Vectors as OpenSearch keeps them: ``rank_features`` with 9 significant bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.encoder.vocabulary import feature_name

PRECISION = 2.0**-8
"""Largest relative error of a stored weight: Lucene keeps a float's first 9 significant bits and drops the rest.

The error is one-sided (a stored weight is never larger) and the terms of a score are never negative, so a sum of
stored terms lies within the same bound of the exact sum: ``(1 - 2^-8) S < stored <= S``, whatever the number of terms;
adding n numbers in single precision may move it by a further n * 2^-24."""
_TINY = float(np.finfo(np.float32).tiny)


def stored(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weights as Lucene's FeatureField keeps them: the last 15 bits of the float32 are dropped."""
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32) & np.uint32(0xFFFF8000)
    return bits.view(np.float32)


def names(vocabulary: Sequence[str]) -> list[str]:
    """Feature names by token id."""
    return [feature_name(token) for token in vocabulary]


def document(row: sp.csr_matrix, feature_names: Sequence[str]) -> dict[str, float]:
    """A document vector (1, V) as feature name -> weight, as it will be stored (which makes short JSON, too).

    Only positive normal floats can be stored: others are left out, they could not change a score.
    """
    weights = stored(row.data)
    keep = weights >= _TINY
    return {
        feature_names[index]: weight
        for index, weight in zip(row.indices[keep].tolist(), weights[keep].tolist(), strict=True)
    }


def query(row: sp.csr_matrix, feature_names: Sequence[str]) -> dict[str, float]:
    """A query vector (1, V) as feature name -> weight."""
    return {
        feature_names[index]: float(f"{weight:.9g}")
        for index, weight in zip(row.indices.tolist(), row.data.tolist(), strict=True)
        if weight >= _TINY
    }
