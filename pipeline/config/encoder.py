"""Encoding text into sparse vectors."""

from __future__ import annotations

from pipeline.config.section import Section, key


class EncoderConfig(Section):
    """Encoder: how text becomes a sparse vector, in training, evaluation and serving alike."""

    max_length: int = key(160, "tokens of a document that are read; the rest is cut", ge=16, le=512)
    query_max_length: int = key(64, "tokens of a query that are read", ge=4, le=512)
    max_active: int = key(256, "terms of a document that are kept, the heaviest first", ge=16)
    batch_size: int = key(32, "documents encoded at once", ge=1)
