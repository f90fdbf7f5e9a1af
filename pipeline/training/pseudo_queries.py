"""Pseudo queries: what people might type to find a text, drawn from its heaviest words."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from pipeline.text.words import analyse
from pipeline.vectors import text_key

RULES = 1
"""Raise it when other queries are drawn from the same text."""


def keyword_queries(
    texts: Sequence[str],
    weights: Callable[[Sequence[str]], Iterable[float]],
    *,
    per_text: int,
    most_words: int,
    heaviest: int,
    seed: int,
) -> list[list[str]]:
    """Up to ``per_text`` different queries a text, each of 1 to ``most_words`` of its ``heaviest`` words in the order
    in which the text first has them.

    A word is as heavy as it is frequent in the text times its weight; ``weights`` gives those of different words. What
    is drawn depends on the text, the weights and ``seed`` alone: an article has the same queries whenever it is asked
    and whatever else is learned. A text without words has none.
    """
    words = [analysis.words for analysis in analyse(texts)]
    different = sorted({word for row in words for word in row})
    weight = dict(zip(different, weights(different), strict=True))
    return [
        _draw(row, weight, per_text, most_words, heaviest, random.Random(f"{seed}:{text_key(text)}"))
        for text, row in zip(texts, words, strict=True)
    ]


def _draw(
    words: Sequence[str], weight: dict[str, float], queries: int, most: int, heaviest: int, draw: random.Random
) -> list[str]:
    counts = Counter(words)
    chosen = sorted(counts, key=lambda word: (-counts[word] * weight[word], word))[:heaviest]
    place = {word: words.index(word) for word in chosen}
    drawn = []
    for _ in range(queries if chosen else 0):
        size = draw.randint(1, min(most, len(chosen)))
        drawn.append(" ".join(sorted(draw.sample(chosen, size), key=place.__getitem__)))
    return list(dict.fromkeys(drawn))


def leading_words(title: Sequence[str], count: int) -> str | None:
    """The first ``count`` different words of an analysed title, as people shorten it; None where it has fewer."""
    different = list(dict.fromkeys(title))
    return " ".join(different[:count]) if len(different) >= count else None
