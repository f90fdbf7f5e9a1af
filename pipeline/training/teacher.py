"""Who is distilled: BM25 over the encoder's own tokens (and a dense encoder, `pipeline.encoder.dense`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from pipeline.encoder.lexical import saturation


def bm25_matrix(tokens: Sequence[Sequence[int]], size: int) -> sp.csr_matrix:
    """BM25 weights (documents, V) float32 of documents given as token ids, Lucene's idf.

    ``ln(1 + (N - df + 0.5) / (df + 0.5)) * f * (k1 + 1) / (f + k1 * (1 - b + b * |d| / avgdl))``. A query's score is
    the sum over its tokens.
    """
    average = float(np.mean([len(held) for held in tokens])) if len(tokens) else 1.0
    counts = saturation(tokens, size, average)
    df = np.bincount(counts.indices, minlength=size)
    idf = np.log1p((len(tokens) - df + 0.5) / (df + 0.5)).astype(np.float32)
    counts.data = idf[counts.indices] * counts.data
    return counts
