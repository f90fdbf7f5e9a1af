"""BM25 by bm25s (Lù 2024): Lucene's formula, over bigrams of syllables or over morphemes.

Weight of term t in document d (Lucene's BM25Similarity since 8.0; Robertson et al. 1994):
``ln(1 + (N - n_t + 0.5) / (n_t + 0.5)) * f / (f + k1 * (1 - b + b * |d| / avgdl))``; a term that a query repeats
counts again. What the cluster computes with nori is `pipeline.search.bm25_run`; this is for where there is no cluster.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInputError
from pipeline.ranking.runs import DEPTH, Run

Tokenizer = Callable[[Iterable[str]], Iterable[list[str]]]
"""Texts to the terms of each."""

# At every place: a pair of syllables or of hanja, one that stands alone, or a whole run of Latin letters and digits.
_BIGRAM = re.compile(
    r"(?=([가-힣]{2}|[一-鿿]{2}|(?<![가-힣])[가-힣]|(?<![一-鿿])[一-鿿]|(?<![a-z0-9])[a-z0-9]+))[가-힣一-鿿a-z0-9]"
)
# The tags that nori's default filter drops: endings, particles, adverbs, determiners, affixes, punctuation ...
_STOP_TAGS = ("E", "J", "MA", "MM", "IC", "XP", "XS", "SF", "SP", "SS", "SE", "SO", "SW", "SB", "VCP", "W_", "Z_", "UN")


def bigrams(texts: Iterable[str]) -> Iterator[list[str]]:
    """Terms of Korean text without a dictionary: overlapping pairs of syllables of each run, other runs whole.

    Particles and compounds need no analysis this way; on Korean it ranks about as well as morphemes, and is much
    faster.
    """
    return (_BIGRAM.findall(text.lower()) for text in texts)


def morphemes(texts: Iterable[str]) -> Iterator[list[str]]:
    """The content morphemes of each text by kiwipiepy, lower case, in their order."""
    for tokens in _kiwi().tokenize(iter(texts)):
        yield [token.form.lower() for token in tokens if not token.tag.startswith(_STOP_TAGS)]


@cache
def _kiwi() -> Any:
    from kiwipiepy import Kiwi  # takes a second and 250 MB

    return Kiwi(num_workers=min(2, os.cpu_count() or 1))


class BM25:
    """An index of ``documents``; BadInputError when no document has a term."""

    def __init__(
        self, documents: Sequence[str], tokenize: Tokenizer = bigrams, *, k1: float = 1.2, b: float = 0.75
    ) -> None:
        import bm25s

        self._tokenize = tokenize
        self._ids: dict[str, int] = {}
        rows = [[self._ids.setdefault(term, len(self._ids)) for term in terms] for terms in tokenize(documents)]
        if not self._ids:
            raise BadInputError("BM25 needs documents with words in them: the collection is empty")
        self._index = bm25s.BM25(k1=k1, b=b, method="lucene")
        self._index.index((rows, self._ids), create_empty_token=False, show_progress=False)

    def scores(self, queries: Iterable[str]) -> Iterator[NDArray[np.float32]]:
        """Scores (documents,) of every document, for one query after the other."""
        for terms in self._tokenize(queries):
            yield self._index.get_scores_from_ids([self._ids[term] for term in terms if term in self._ids])

    def run(self, queries: Iterable[str], depth: int = DEPTH) -> Run:
        """The ``depth`` best documents of each query."""
        ranked = (top(scores, depth) for scores in self.scores(queries))
        return Run.of([(documents.astype(np.int32), scores) for documents, scores in ranked])


def top(scores: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The ``k`` highest positive scores and their positions, best first; ties go to the earlier position."""
    least = np.partition(scores, len(scores) - k)[len(scores) - k] if len(scores) > k else 0.0
    # Everything down to the k-th best score, so that ties are cut by position and not by chance.
    positions = np.flatnonzero(scores >= least if least > 0 else scores > 0)
    order = np.lexsort((positions, -scores[positions]))[:k]
    return positions[order], scores[positions[order]]
