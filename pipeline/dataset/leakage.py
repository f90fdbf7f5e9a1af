"""Leakage between training and test: what is held out, and near-duplicates by hashed shingles of words."""

from __future__ import annotations

import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from pipeline.dataset.passages import normalised

SHINGLE = 4
"""Words of a shingle: four in a row are rarely the same by chance, and survive most rewriting by an outlet."""
_WORD = re.compile(r"[0-9a-z가-힣一-鿿]+")


_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 1], np.uint64)  # odd: one to one


@lru_cache(maxsize=1 << 17)
def _code(word: str) -> int:
    return zlib.crc32(word.encode())


def shingles(text: str) -> frozenset[int]:
    """Hashes (64 bits) of every four words in a row; a shorter text is one shingle."""
    words = _WORD.findall(text.lower())
    if not words:
        return frozenset()
    codes = np.zeros(max(SHINGLE, len(words)), np.uint64)
    codes[: len(words)] = [_code(word) for word in words]
    count = len(codes) - SHINGLE + 1
    mixed = np.zeros(count, np.uint64)
    for place, factor in enumerate(_FACTORS):
        mixed += codes[place : place + count] * factor  # modulo 2^64
    return frozenset(mixed.tolist())


def overlap(a: frozenset[int], b: frozenset[int]) -> float:
    """Containment: common shingles as a share of the smaller set, 0 when one is empty."""
    return len(a & b) / min(len(a), len(b)) if a and b else 0.0


class Guard:
    """What is held out of training, and why an article or a query must not be trained on."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._queries: set[str] = set()
        self._query_shingles: dict[int, list[frozenset[int]]] = defaultdict(list)
        self._stories: set[int] = set()
        self._articles: set[int] = set()
        self._sizes: list[int] = []
        self._documents: dict[int, list[int]] = defaultdict(list)  # shingle -> rows of ``_sizes``

    def hold_out(self, *, article_id: int, story_id: int, title: str, text: str) -> None:
        """Hold an article out: it, its story, its title as a query, and near-duplicates of its text."""
        self._articles.add(article_id)
        self._stories.add(story_id)
        self.hold_out_text(title, text)

    def hold_out_text(self, title: str, text: str) -> None:
        """Hold out a document that is no article of ours: its title as a query, and near-duplicates of its text."""
        if title:
            self.hold_out_query(title)
        own = shingles(text)
        for shingle in own:
            self._documents[shingle].append(len(self._sizes))
        self._sizes.append(len(own))

    def hold_out_query(self, text: str) -> None:
        """Hold a query out: no example may have it."""
        self._queries.add(normalised(text))
        own = shingles(text)
        for shingle in own:
            self._query_shingles[shingle].append(own)

    def refuses_query(self, text: str) -> bool:
        """Whether a query is one of those held out."""
        return normalised(text) in self._queries

    def near_query(self, text: str) -> bool:
        """Whether a query shares ``threshold`` of its shingles with one that is held out."""
        own = shingles(text)
        near = (other for shingle in own for other in self._query_shingles.get(shingle, ()))
        return any(overlap(own, other) >= self.threshold for other in near)

    def refuses(self, *, article_id: int, story_id: int) -> str | None:
        """Why an article must not be trained on, by its identity: "held_out", "story" or None."""
        if article_id in self._articles:
            return "held_out"
        return "story" if story_id in self._stories else None

    def near_duplicate(self, text: str) -> bool:
        """Whether a text shares ``threshold`` of the shingles of a held-out document."""
        own = shingles(text)
        common = Counter(row for shingle in own for row in self._documents.get(shingle, ()))
        return any(count >= self.threshold * min(len(own), self._sizes[row]) for row, count in common.most_common(3))


def duplicates(texts: Iterable[str]) -> set[int]:
    """Positions of texts whose letters already stood at an earlier position."""
    seen: set[str] = set()
    found = set()
    for index, text in enumerate(texts):
        key = normalised(text)
        if key in seen:
            found.add(index)
        seen.add(key)
    return found
