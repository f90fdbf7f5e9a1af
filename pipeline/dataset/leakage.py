"""Whether two texts tell the same: shingles of words, hashed."""

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
    """Knows what is held out, and says of an article why it must not be trained on."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._queries: set[str] = set()
        self._asked: dict[int, list[frozenset[int]]] = defaultdict(list)
        self._stories: set[int] = set()
        self._articles: set[int] = set()
        self._sizes: list[int] = []
        self._held: dict[int, list[int]] = defaultdict(list)

    def hold(self, *, article_id: int, story_id: int, title: str, text: str) -> None:
        """Hold an article out: it, its story, its title, and whatever tells the same."""
        self._articles.add(article_id)
        self._stories.add(story_id)
        if title:
            self.hold_query(title)
        own = shingles(text)
        for shingle in own:
            self._held[shingle].append(len(self._sizes))
        self._sizes.append(len(own))

    def hold_query(self, text: str) -> None:
        """Hold a query out: no example may ask it."""
        self._queries.add(normalised(text))
        own = shingles(text)
        for shingle in own:
            self._asked[shingle].append(own)

    def refuses_query(self, text: str) -> bool:
        """Whether a query is one of those held out."""
        return normalised(text) in self._queries

    def near_query(self, text: str) -> bool:
        """Whether a query shares ``threshold`` of its shingles with one that is held out."""
        own = shingles(text)
        near = (held for shingle in own for held in self._asked.get(shingle, ()))
        return any(overlap(own, held) >= self.threshold for held in near)

    def refuses(self, *, article_id: int, story_id: int, text: str) -> str | None:
        """Why an article must not be trained on ("held_out", "story", "near_duplicate"), or None."""
        if article_id in self._articles:
            return "held_out"
        if story_id in self._stories:
            return "story"
        own = shingles(text)
        common = Counter(held for shingle in own for held in self._held.get(shingle, ()))
        for held, count in common.most_common(3):
            if count >= self.threshold * min(len(own), self._sizes[held]):
                return "near_duplicate"
        return None


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
