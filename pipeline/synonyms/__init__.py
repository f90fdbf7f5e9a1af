"""Synonyms: aliases in the text, neighbours in clusters of word embeddings, and validators that may veto.

The stage is `discover` and `validate`; the other functions work on documents and dates in memory. This package imports
nothing heavy by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.lazy_imports import attributes

if TYPE_CHECKING:
    from pipeline.synonyms.candidates import build_synonym_groups_from_clusters, discover_synonyms_temporal
    from pipeline.synonyms.clusters import cluster_tokens_temporal
    from pipeline.synonyms.discovery import discover
    from pipeline.synonyms.embeddings import extract_temporal_embeddings
    from pipeline.synonyms.validation import ValidationReport, validate
    from pipeline.synonyms.validators.judge import validate_synonyms_with_llm

_HOME = {
    "build_synonym_groups_from_clusters": "candidates",
    "cluster_tokens_temporal": "clusters",
    "discover": "discovery",
    "discover_synonyms_temporal": "candidates",
    "extract_temporal_embeddings": "embeddings",
    "validate": "validation",
    "validate_synonyms_with_llm": "validators.judge",
    "ValidationReport": "validation",
}
__all__ = [
    "ValidationReport",
    "build_synonym_groups_from_clusters",
    "cluster_tokens_temporal",
    "discover",
    "discover_synonyms_temporal",
    "extract_temporal_embeddings",
    "validate",
    "validate_synonyms_with_llm",
]

__getattr__ = attributes(__name__, _HOME)
