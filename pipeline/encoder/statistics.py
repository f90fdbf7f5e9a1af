"""Term statistics of the searched corpus: IDF and average document length.

They belong to the corpus rather than to the model. BM25 reads them from its index, so an encoder that is compared with
BM25, or that searches another corpus than it was trained on, has to take them from the same texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.encoder.encoder import QueryEncoder
from pipeline.encoder.lexical import CorpusStatistics
from pipeline.errors import BadInputError

_BATCH = 4096  # texts tokenized at once: an encoding takes some kilobytes


def corpus_statistics(encoder: QueryEncoder, texts: Sequence[str]) -> CorpusStatistics:
    """The statistics of ``texts``, tokenized without truncation by the query tokenizer of ``encoder``.

    Weights are IDF, ``ln(1 + (N - df + 0.5) / (df + 0.5))`` (BM25 in Lucene), divided by their mean over the tokens
    that occur. This is the scale of the weights that the temporal statistics publish. Raises BadInputError without
    texts.
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
    for start in range(0, len(texts), _BATCH):
        for encoding in tokenizer.encode_batch(list(texts[start : start + _BATCH]), add_special_tokens=False):
            ids = np.asarray(encoding.ids, np.int64)
            length += int(counted[ids].sum())
            df[np.unique(ids)] += 1
    idf = np.log1p((len(texts) - df + 0.5) / (df + 0.5))
    used = (df > 0) & counted
    weights = np.asarray(idf / idf[used].mean() if used.any() else np.ones_like(idf), np.float32)
    return CorpusStatistics(weights, max(1.0, length / len(texts)))
