"""Encoding settings of a model. They are saved in its folder, so loading a model needs no configuration."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.encoder import EncoderConfig
from pipeline.encoder.lexical import AVERAGE_LENGTH
from pipeline.encoder.windows import WINDOW_CHARS

QUERY_TOKENS = 256
"""Longest query in tokens; the rest is truncated."""


@dataclass(frozen=True)
class Encoding:
    """How text becomes a sparse vector.

    Attributes:
        lexical_floor: weight of a term that occurs once in a document of average length.
        average_length: average document length in tokens (the ``avgdl`` of BM25).
        max_chars: characters of a document that are encoded; the rest is truncated.
        window_chars: characters of a window that the dense encoder reads at once.
        max_terms: learned terms of a document, at most; the heaviest are kept.
    """

    lexical_floor: float = 2.0
    average_length: float = AVERAGE_LENGTH
    max_chars: int = 2500
    window_chars: int = WINDOW_CHARS
    max_terms: int = 150

    @classmethod
    def of(cls, settings: EncoderConfig) -> Encoding:
        """The encoding of a base that is built with these settings; its models keep it in their folders."""
        return cls(
            lexical_floor=settings.lexical_floor,
            max_chars=settings.max_chars,
            window_chars=settings.window_chars,
            max_terms=settings.max_terms,
        )

    def document_text(self, text: str) -> str:
        """The part of a text that is searched and encoded: at most ``max_chars`` characters, cut at a space.

        Whoever encodes, indexes or judges a text cuts it here: kept dense vectors are keyed by what is left.
        """
        return cut(text, self.max_chars)


def cut(text: str, max_chars: int) -> str:
    """``text`` truncated to ``max_chars`` characters, at a space where the second half of them has one."""
    text = text.strip()
    if len(text) <= max_chars:
        return text
    space = text.rfind(" ", max_chars // 2, max_chars + 1)
    return text[: space if space > 0 else max_chars].rstrip()
