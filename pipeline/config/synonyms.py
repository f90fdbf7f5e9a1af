"""Synonym discovery and validation."""

from __future__ import annotations

from pipeline.config.section import Section, key


class SynonymsConfig(Section):
    """Synonyms: clusters of token embeddings, candidates, and the validator that may only veto."""

    n_clusters: int = key(500, "clusters of token embeddings", ge=2)
