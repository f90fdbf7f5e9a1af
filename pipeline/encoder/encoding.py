"""How a model encodes: saved in its folder, so that whoever loads it needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.encoder.lexical import AVERAGE_LENGTH
from pipeline.encoder.windows import WINDOW_CHARS

QUERY_TOKENS = 256
"""Tokens of a query that are read."""


@dataclass(frozen=True)
class Encoding:
    """``lexical_floor``: weight of a text's own term, said once in a text of ``average_length`` tokens; ``max_chars``
    of a text are read, in windows of about ``window_chars``; ``max_terms`` learned terms are kept, the heaviest."""

    lexical_floor: float = 2.0
    average_length: float = AVERAGE_LENGTH
    max_chars: int = 2500
    window_chars: int = WINDOW_CHARS
    max_terms: int = 150

    def document_text(self, text: str) -> str:
        """The part of a text that is searched and encoded: at most ``max_chars`` characters, cut at a space."""
        return cut(text, self.max_chars)


def cut(text: str, max_chars: int) -> str:
    """At most ``max_chars`` characters of ``text``, cut at a space in their second half where there is one."""
    text = text.strip()
    if len(text) <= max_chars:
        return text
    place = text.rfind(" ", max_chars // 2, max_chars + 1)
    return text[: place if place > 0 else max_chars].rstrip()
