"""Near-duplicates: two tellings of one story, by the pairs of words that they share.

A signature's agreement with another estimates the Jaccard similarity of their sets of pairs (MinHash: Broder, 1997);
bands of rows make a locality-sensitive index of it (Indyk and Motwani, 1998). The index only finds who is to be
compared: `likeness` decides, on the texts themselves. Same text, same signature, on every machine.
"""

from __future__ import annotations

import datetime as dt
import re
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

HASHES = 64
ROWS = 3
BANDS = HASHES // ROWS  # texts of similarity s share a band with 1 - (1 - s^3)^21: .94 at .5, .994 at .6, .03 at .1
MARGIN = 0.2  # below the least similarity: three standard errors of its estimate, so that only the texts decide
LEAST_WORDS = 5  # shorter texts say too little to be the same story

_WORDS = re.compile(r"[가-힣]+|[A-Za-z]+|\d+")
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")


def _coefficients() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    # A fixed sequence (splitmix64), not a library's random numbers: signatures are stored and must never change.
    values, state, mask = [], 0x6761_7261_6D00_0001, (1 << 64) - 1
    for _ in range(2 * HASHES):
        state = (state + 0x9E37_79B9_7F4A_7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58_476D_1CE4_E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & mask
        values.append(z ^ (z >> 31))
    a = np.array(values[:HASHES], dtype=np.uint64) | np.uint64(1)
    return a, np.array(values[HASHES:], dtype=np.uint64)


_A, _B = _coefficients()


@dataclass(frozen=True, slots=True)
class Telling:
    """What of an article is compared: its pairs of words, and its numbers."""

    pairs: frozenset[str]
    numbers: frozenset[str]


def telling(title: str, text: str) -> Telling | None:
    """The telling of a text (with its title when there is next to no text); None when it has too few words."""
    words, told = _WORDS.findall(text.lower()), text
    if len(words) < LEAST_WORDS:
        told = f"{title} {text}"
        words = _WORDS.findall(told.lower())
        if len(words) < LEAST_WORDS:
            return None
    numbers = frozenset(found.replace(",", "") for found in _NUMBERS.findall(told))
    return Telling(frozenset(f"{first} {second}" for first, second in pairwise(words)), numbers)


def likeness(first: Telling, second: Telling) -> float:
    """Jaccard similarity of the pairs of words, 0 where the numbers contradict it.

    What is written anew every day by the same template (exchange rates, indices, schedules) differs in little but its
    numbers, and copies of one story have most of them in common. One number alone says nothing.
    """
    fewer = min(len(first.numbers), len(second.numbers))
    if fewer >= 2 and 2 * len(first.numbers & second.numbers) <= fewer:
        return 0.0
    return len(first.pairs & second.pairs) / len(first.pairs | second.pairs)


def signature(title: str, text: str) -> bytes | None:
    """64 hashes of 4 bytes of a `telling`; None when there is none."""
    found = telling(title, text)
    if found is None:
        return None
    keys = np.fromiter(
        (zlib.crc32(s.encode()) | (len(s) << 32) for s in found.pairs), dtype=np.uint64, count=len(found.pairs)
    )
    keys *= np.uint64(0x9E37_79B9_7F4A_7C15)
    keys ^= keys >> np.uint64(29)
    # Multiply-shift hashing: the high 32 bits of a*x + b modulo 2^64, with a odd (Dietzfelbinger, 1996).
    least = np.full(HASHES, np.iinfo(np.uint32).max, dtype=np.uint32)
    for start in range(0, len(keys), 512):
        block = (keys[start : start + 512, None] * _A + _B) >> np.uint64(32)
        least = np.minimum(least, block.min(axis=0).astype(np.uint32))
    return least.astype("<u4").tobytes()


def bands(fingerprint: bytes) -> list[tuple[int, int]]:
    """(band, key) of a signature: articles that share one are compared."""
    rows = np.frombuffer(fingerprint, dtype="<u4")[: BANDS * ROWS].reshape(BANDS, ROWS)
    return [(i, _key(row.tobytes())) for i, row in enumerate(rows)]


def _key(data: bytes) -> int:
    value = zlib.crc32(data) << 32 | zlib.crc32(data[::-1])
    return value - (1 << 64) if value >= 1 << 63 else value


def agreement(first: bytes, second: bytes) -> float:
    """The estimate of the Jaccard similarity from two signatures: the share of equal hashes, in steps of 1/64."""
    return float(np.mean(np.frombuffer(first, dtype="<u4") == np.frombuffer(second, dtype="<u4")))


class Candidate(Protocol):
    """An article that joins a story or begins one; `pipeline.store.news.Entry` is one."""

    @property
    def title(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def published_at(self) -> dt.datetime: ...
    @property
    def fingerprint(self) -> bytes | None: ...
    @property
    def bands(self) -> Sequence[tuple[int, int]]: ...


@dataclass(slots=True)
class First:
    """The first article of a story; ``words`` is None while its text was not read, or where it is too short."""

    id: int
    published_at: dt.datetime
    fingerprint: bytes
    words: Telling | None = None


@dataclass(frozen=True, slots=True)
class StoryRule:
    """When an article belongs to the story of an earlier one: that of the first article it is most similar to.

    Nothing ever joins a retelling, so similarity cannot creep along a chain of texts.
    """

    similarity: float  # least Jaccard similarity of their pairs of words
    within: dt.timedelta  # how far apart they may be published

    def is_close(self, article: Candidate, first: First) -> bool:
        """Whether the dates and the signatures make it worth comparing the texts."""
        return (
            article.fingerprint is not None
            and abs(article.published_at - first.published_at) <= self.within
            and agreement(article.fingerprint, first.fingerprint) >= self.similarity - MARGIN
        )

    def join(self, articles: Mapping[int, Candidate], earlier: Mapping[int, Sequence[First]]) -> dict[int, int]:
        """The stories that articles (by id) join, in the order of their ids; those that begin a story are not in it.

        ``earlier`` has the first articles of before that are worth comparing with each (`is_close`).
        """
        by_band: dict[tuple[int, int], list[First]] = defaultdict(list)  # first articles among these
        joined: dict[int, int] = {}
        for id_ in sorted(articles):
            article = articles[id_]
            words = telling(article.title, article.text)
            if words is None or article.fingerprint is None:
                continue
            own_bands = article.bands
            near = {f.id: f for band in own_bands for f in by_band[band] if self.is_close(article, f)}
            best, story = 0.0, None
            for first in sorted((*earlier.get(id_, ()), *near.values()), key=lambda first: first.id):
                alike = likeness(words, first.words) if first.words is not None else 0.0
                if alike >= self.similarity and alike > best:
                    best, story = alike, first.id
            if story is not None:
                joined[id_] = story
                continue
            first = First(id_, article.published_at, article.fingerprint, words)
            for band in own_bands:
                by_band[band].append(first)
        return joined


@dataclass(frozen=True, slots=True)
class _Listed:
    title: str
    text: str
    published_at: dt.datetime
    fingerprint: bytes | None

    @property
    def bands(self) -> list[tuple[int, int]]:
        return bands(self.fingerprint) if self.fingerprint is not None else []


def stories(articles: Sequence[tuple[str, str, dt.datetime]], *, similarity: float, within: dt.timedelta) -> list[int]:
    """The story of each article (title, text, published at): the position of its first telling, which may be itself.

    The rule of the service (`StoryRule`) over a whole list in its order.
    """
    listed = {i: _Listed(title, text, when, signature(title, text)) for i, (title, text, when) in enumerate(articles)}
    joined = StoryRule(similarity, within).join(listed, {})
    return [joined.get(i, i) for i in listed]
