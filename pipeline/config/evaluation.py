"""Evaluation."""

from __future__ import annotations

from typing import Literal

from pipeline.config.section import Section, key


class EvaluationConfig(Section):
    """Evaluation: what is measured, on how much, and which ranking is judged."""

    ranking: Literal["sparse", "hybrid"] = key(
        "sparse",
        "the ranking users get, which the gate judges: sparse or hybrid",
        common=True,
    )
    judged: list[str] = key(
        [],
        "your own judged queries: folders in BEIR form (queries.jsonl, qrels.tsv) or TREC form (topics, qrels)",
        common=True,
    )
    confidence: float = key(0.95, "level of the two-sided bootstrap intervals in reports", gt=0.5, lt=1)
    resamples: int = key(10000, "bootstrap resamples of an interval or bound", ge=1000)
    bm25_k1: float = key(1.2, "BM25 without a cluster: saturation of the term frequency", ge=0)
    bm25_b: float = key(0.75, "BM25 without a cluster: share of the length normalisation", ge=0, le=1)
