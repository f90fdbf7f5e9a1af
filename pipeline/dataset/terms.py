"""Words of many texts at once, counted: what BM25 is made of.

`Counted` holds how often each word stands in each text. `bigrams` of Korean text are found by whole arrays of code
points, many times faster than text by text; any other tokenizer goes through Python. Both give the same counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Tokenizer = Callable[[str], list[str]]
_RUN = re.compile(r"[가-힣]+|[一-鿿]+|[a-z0-9]+")
_ASCII = re.compile(r"[a-z0-9]+")
_CODE_BITS = 33  # a pair of code points below 2^16, or 2^32 + the number of a word in ASCII
_AT_ONCE = 2000  # texts: some 10 MB of code points


def bigrams(text: str) -> list[str]:
    """Words of Korean text without a dictionary: overlapping pairs of syllables of each run, other runs whole.

    Particles and compounds need no analysis this way; on Korean it ranks about as well as morphemes do, and much
    faster.
    """
    found = []
    for run in _RUN.findall(text.lower()):
        if len(run) < 2 or run[0].isascii():
            found.append(run)
        else:
            found.extend(run[i : i + 2] for i in range(len(run) - 1))
    return found


@dataclass(frozen=True)
class Counted:
    """Words of n texts as CSR: text i has ``words[indptr[i]:indptr[i+1]]``, ``counts`` times each; ``lengths`` (n,)."""

    indptr: NDArray[np.int64]
    words: NDArray[np.int64]
    counts: NDArray[np.float64]
    lengths: NDArray[np.int64]


class Terms(Protocol):
    """Numbers words: those of the collection it was made with, 0 to ``size``; others are left out of queries."""

    size: int

    def collection(self, texts: Sequence[str]) -> Counted: ...
    def queries(self, texts: Sequence[str]) -> Counted: ...


def terms_of(tokenize: Tokenizer) -> Terms:
    """The fastest way to count this tokenizer's words."""
    return BigramTerms() if tokenize is bigrams else AnyTerms(tokenize)


class AnyTerms:
    """Words of any tokenizer."""

    def __init__(self, tokenize: Tokenizer) -> None:
        self._tokenize = tokenize
        self._number: dict[str, int] = {}
        self.size = 0

    def collection(self, texts: Sequence[str]) -> Counted:
        """Count the collection and number its words."""
        counted = self._count(texts, lambda word: self._number.setdefault(word, len(self._number)))
        self.size = len(self._number)
        return counted

    def queries(self, texts: Sequence[str]) -> Counted:
        """Count queries in the collection's words."""
        return self._count(texts, self._number.get)

    def _count(self, texts: Sequence[str], number: Callable[[str], int | None]) -> Counted:
        indptr, words, counts, lengths = [0], [], [], []
        for text in texts:
            found = self._tokenize(text)
            lengths.append(len(found))
            for word, count in Counter(found).items():
                place = number(word)
                if place is not None:
                    words.append(place)
                    counts.append(float(count))
            indptr.append(len(words))
        return Counted(
            np.array(indptr, np.int64), np.array(words, np.int64), np.array(counts), np.array(lengths, np.int64)
        )


class BigramTerms:
    """Words of `bigrams`."""

    def __init__(self) -> None:
        self._ascii: dict[str, int] = {}
        self._codes: NDArray[np.int64] = np.zeros(0, np.int64)
        self.size = 0

    def collection(self, texts: Sequence[str]) -> Counted:
        """Count the collection and number its words."""
        indptr, codes, counts, lengths = self._count(texts, lambda word: self._ascii.setdefault(word, len(self._ascii)))
        self._codes, words = np.unique(codes, return_inverse=True)
        self.size = len(self._codes)
        return Counted(indptr, words.astype(np.int64), counts, lengths)

    def queries(self, texts: Sequence[str]) -> Counted:
        """Count queries in the collection's words."""
        indptr, codes, counts, lengths = self._count(texts, self._ascii.get)
        place = np.searchsorted(self._codes, codes)
        known = self._codes[np.minimum(place, self.size - 1)] == codes if self.size else np.zeros(len(codes), bool)
        kept = np.concatenate([[0], np.cumsum(known)])[indptr]
        return Counted(kept.astype(np.int64), place[known], counts[known], lengths)

    def _count(
        self, texts: Sequence[str], number: Callable[[str], int | None]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """(indptr, codes, counts, lengths) of the texts' words."""
        codes, counts = [np.zeros(0, np.int64)], [np.zeros(0)]
        sizes, lengths = [np.zeros(1, np.int64)], [np.zeros(0, np.int64)]
        for start in range(0, len(texts), _AT_ONCE):
            part = [text.lower() for text in texts[start : start + _AT_ONCE]]
            owner, code = _codes(part, number)
            lengths.append(np.bincount(owner, minlength=len(part)).astype(np.int64))
            key, count = np.unique((owner << _CODE_BITS) | code, return_counts=True)
            codes.append(key & ((1 << _CODE_BITS) - 1))
            counts.append(count.astype(np.float64))
            sizes.append(np.bincount(key >> _CODE_BITS, minlength=len(part)).astype(np.int64))
        return np.cumsum(np.concatenate(sizes)), np.concatenate(codes), np.concatenate(counts), np.concatenate(lengths)


def _codes(texts: Sequence[str], number: Callable[[str], int | None]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(text, code) of every word of lower-case texts; words in ASCII that have no ``number`` are left out."""
    joined = "\n".join(texts)
    points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
    starts = np.cumsum([0, *(len(text) + 1 for text in texts)])[:-1]
    script = np.zeros(len(points), np.int8)
    script[(points >= ord("가")) & (points <= ord("힣"))] = 1
    script[(points >= ord("一")) & (points <= ord("鿿"))] = 2
    letter = script > 0
    joins = np.zeros(len(points) + 1, bool)  # whether point i - 1 and point i are of one run
    joins[1:-1] = letter[1:] & (script[1:] == script[:-1])
    pairs = np.flatnonzero(joins[1:-1])
    single = np.flatnonzero(letter & ~joins[:-1] & ~joins[1:])
    places, numbers = [], []
    for match in _ASCII.finditer(joined):
        found = number(match.group())
        if found is not None:
            places.append(match.start())
            numbers.append(found)
    place = np.concatenate([pairs, single, np.array(places, np.int64)])
    code = np.concatenate(
        [(points[pairs] << 16) | points[pairs + 1], points[single] << 16, np.array(numbers, np.int64) | (1 << 32)]
    )
    return np.searchsorted(starts, place, side="right") - 1, code
