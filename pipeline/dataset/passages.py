"""Articles to passages, and passages to sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence

# A sentence ends at its punctuation (with closing quotes), and at every line break.
_END = re.compile(r"(?<=[.!?。…][\"'”’」』)])\s+|(?<=[.!?。…])\s+|\s*\n+\s*")
_SPACE = re.compile(r"\s+")
_BARE = re.compile(r"[^0-9a-z가-힣一-鿿]+")


def normalised(text: str) -> str:
    """A text's letters and digits in lower case: what "verbatim" and "the same query" are compared by."""
    return _BARE.sub("", text.lower())


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order, without surrounding space; their join by spaces is the text."""
    return [_SPACE.sub(" ", part).strip() for part in _END.split(text) if part and part.strip()]


def passages(text: str, size: int, most: int, least: int) -> list[list[str]]:
    """Up to ``most`` passages of about ``size`` characters, each a list of sentences.

    A passage begins with a sentence and has at least ``least`` characters (a short rest joins nothing). Where an
    article holds more, its first passage is taken (that is where news says it) and others evenly from the rest.
    """
    parts: list[list[str]] = []
    length = 0
    for sentence in sentences(text):
        # A "sentence" longer than a passage (a list, a text without punctuation) is cut.
        for start in range(0, len(sentence), size):
            piece = sentence[start : start + size]
            if not parts or length + len(piece) > size:
                parts.append([])
                length = 0
            parts[-1].append(piece)
            length += len(piece) + 1
    parts = [part for part in parts if len(" ".join(part)) >= least]
    if len(parts) <= most:
        return parts
    step = (len(parts) - 1) / max(1, most - 1)
    return [parts[round(i * step)] for i in range(most)] if most > 1 else parts[:1]


def is_verbatim(query: str, passage: str) -> bool:
    """Whether the passage contains the query's letters as they stand: such a pair teaches copying."""
    needle = normalised(query)
    return bool(needle) and needle in normalised(passage)


def without(parts: Sequence[str], taken: Sequence[int]) -> str:
    """The sentences that are not taken, joined."""
    left = set(taken)
    return " ".join(part for index, part in enumerate(parts) if index not in left)
