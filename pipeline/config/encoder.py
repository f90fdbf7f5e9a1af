"""Encoding text into sparse vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.config.section import Section, key

if TYPE_CHECKING:
    from pipeline.encoder.lexical import LexicalFloor


class EncoderConfig(Section):
    """Encoder: how text becomes a sparse vector, in training, evaluation and serving alike."""

    max_chars: int = key(1000, "characters of an article's text that are searched and encoded; the rest is cut", ge=50)
    max_length: int = key(256, "tokens of a document that are read; the rest is cut", ge=16, le=512)
    max_added: int = key(150, "terms of a document that are kept besides its own text's, the heaviest", ge=16)
    batch_size: int = key(32, "documents encoded at once", ge=1)
    lexical_floor: float = key(
        2.0,
        "least weight of a text's own term, said once in a text of average length (BM25's side); 0: none",
        ge=0,
        le=30,
    )
    lexical_added: bool = key(
        True, "true adds a text's own terms' floor to what the model says; false takes the larger of the two"
    )
    average_length: float = key(
        0.0,
        "tokens of a text of average length, for the lexical floor; 0: of the base's own texts",
        ge=0,
    )

    @property
    def lexical(self) -> LexicalFloor | None:
        """The floor under a text's own terms; None when it is switched off."""
        from pipeline.encoder.lexical import LexicalFloor

        if self.lexical_floor <= 0:
            return None
        return LexicalFloor(self.lexical_floor, self.average_length, self.lexical_added)

    def document_text(self, text: str) -> str:
        """The part of an article's text that is searched: at most ``max_chars`` characters, cut at a space.

        Everybody who encodes or indexes an article's text asks here, so that vectors (keyed by text) are shared.
        """
        text = text.strip()
        if len(text) <= self.max_chars:
            return text
        cut = text.rfind(" ", self.max_chars // 2, self.max_chars + 1)
        return text[: cut if cut > 0 else self.max_chars].rstrip()
