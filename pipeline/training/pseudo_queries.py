"""Pseudo queries: keyword queries sampled from the words of a text with the highest tf-idf."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from pipeline.artifacts.vectors import text_key
from pipeline.text.words import analyse

RULES = 1
"""Increment it when the code samples other queries from the same text."""


def keyword_queries(
    texts: Sequence[str],
    weights: Callable[[Sequence[str]], Iterable[float]],
    *,
    per_text: int,
    max_words: int,
    top_words: int,
    seed: int,
) -> list[list[str]]:
    """Up to ``per_text`` distinct queries for each text, of 1 to ``max_words`` words, in the order of the text.

    Words are sampled from the ``top_words`` words of the text with the highest term frequency times weight; ``weights``
    maps distinct words to their weights (IDF). The sample depends only on the text, the weights and ``seed``, so an
    article has the same queries in every training. A text without words has none.
    """
    words = [analysis.words for analysis in analyse(texts)]
    distinct = sorted({word for row in words for word in row})
    weight = dict(zip(distinct, weights(distinct), strict=True))
    return [
        _sample(row, weight, per_text, max_words, top_words, random.Random(f"{seed}:{text_key(text)}"))
        for text, row in zip(texts, words, strict=True)
    ]


def _sample(
    words: Sequence[str], weight: dict[str, float], count: int, max_words: int, top_words: int, rng: random.Random
) -> list[str]:
    frequency = Counter(words)
    top = sorted(frequency, key=lambda word: (-frequency[word] * weight[word], word))[:top_words]
    position = {word: words.index(word) for word in top}
    queries = []
    for _ in range(count if top else 0):
        size = rng.randint(1, min(max_words, len(top)))
        queries.append(" ".join(sorted(rng.sample(top, size), key=position.__getitem__)))
    return list(dict.fromkeys(queries))


def leading_words(title: Sequence[str], count: int) -> str | None:
    """A short query: the first ``count`` distinct words of an analysed title; None where it has fewer."""
    distinct = list(dict.fromkeys(title))
    return " ".join(distinct[:count]) if len(distinct) >= count else None
