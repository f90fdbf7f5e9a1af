"""What an encoder has to know of the texts that are searched: how rare each term is there, how long a text is.

Both belong to the corpus, not to the model: BM25 takes them from its index, so whoever compares with it, or searches
another corpus than the one that was learned from, takes them from the same texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInputError

if TYPE_CHECKING:
    from pipeline.encoder.encoder import QuerySide

_AT_ONCE = 4096  # texts tokenized together: their encodings take some kilobytes each


@dataclass(frozen=True)
class CorpusStatistics:
    """``query_weights`` (V,) float32; ``average_length`` of a text, in tokens that the lexical floor counts."""

    query_weights: NDArray[np.float32]
    average_length: float


def corpus_statistics(encoder: QuerySide, texts: Sequence[str]) -> CorpusStatistics:
    """The statistics of ``texts`` in the encoder's tokens, of whole texts.

    Weights are IDF, ``ln(1 + (N - df + 0.5) / (df + 0.5))`` (Lucene's BM25), divided by their mean over the words in
    use, so that they compare with the weights that the temporal statistics publish. Raises BadInputError where there
    are no texts.
    """
    if not texts:
        raise BadInputError("there are no texts to take term statistics from: name a corpus that holds some")
    size = len(encoder.vocabulary)
    df = np.zeros(size)
    counted = ~encoder.blocked
    length = 0
    tokenizer = encoder.tokenizer.backend_tokenizer
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for start in range(0, len(texts), _AT_ONCE):
        for encoding in tokenizer.encode_batch(list(texts[start : start + _AT_ONCE]), add_special_tokens=False):
            ids = np.asarray(encoding.ids, np.int64)
            length += int(counted[ids].sum())
            df[np.unique(ids)] += 1
    idf = np.log1p((len(texts) - df + 0.5) / (df + 0.5))
    used = (df > 0) & counted
    weights = np.asarray(idf / idf[used].mean() if used.any() else np.ones_like(idf), np.float32)
    return CorpusStatistics(weights, max(1.0, length / len(texts)))
