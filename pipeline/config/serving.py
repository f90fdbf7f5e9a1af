"""Serving from OpenSearch."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from pipeline.config.section import Section, key


class ServingConfig(Section):
    """Serving: index, aliases, what a document's vector is, and how many generations stay warm."""

    alias: str = key(
        "news",
        "read alias; the write alias is <alias>-write and indices are <alias>-gNNNN",
        pattern="^[a-z][a-z0-9-]*$",
        max_length=60,
        common=True,
    )
    keep_generations: int = key(2, "generations kept warm for rollback besides the live one", ge=1, le=7, common=True)
    title_weight: float = key(
        1.0,
        "least weight of a title's own tokens in its article's vector; 0 serves what was judged, exactly",
        ge=0,
        le=64,
    )
    shards: int = key(1, "primary shards of an index", ge=1, le=64, common=True)
    replicas: int = key(0, "copies of each shard; 0 on a single node", ge=0, le=8, common=True)
    seismic: bool = key(
        False, "true also indexes a SEISMIC sparse_vector; vocabularies of at most 32,768 tokens", common=True
    )
    hybrid_bm25: float = key(
        0.5, "weight of BM25 in hybrid search; the sparse model has the rest", ge=0, le=1, common=True
    )
    hybrid_fusion: Literal["minmax", "rrf"] = key(
        "minmax",
        "how hybrid makes one score of two: minmax (scaled scores) or rrf (reciprocal ranks)",
        common=True,
    )
    hybrid_depth: int = key(
        100, "documents of each ranking that hybrid search mixes (the query's pagination_depth)", ge=10, le=10_000
    )
    recency_strength: float = key(
        0.5,
        "gain of a new article by words that rise, as a share of their score; 0: age never counts (docs/time.md)",
        ge=0,
        le=8,
        common=True,
    )
    recency_days: float = key(1.0, "age at which that gain has fallen to a third (1/e)", ge=0.1, le=60)
    verify_documents: int = key(
        32, "articles whose scores are compared with the encoder's before a swap", ge=1, le=1000
    )
    grace_seconds: float = key(
        2.0, "seconds that a replaced query model stays, for the searches that still use it", ge=0, le=600
    )

    @model_validator(mode="after")
    def _names_differ(self) -> ServingConfig:
        if self.alias.startswith("garam-scratch"):
            raise ValueError("alias must not begin with garam-scratch: such indices are swept")
        return self
