"""Training sets and query sets."""

from __future__ import annotations

from pipeline.config.section import Section, key


class DatasetConfig(Section):
    """Training sets: what pairs are made, which negatives they get, and what is held out to judge the model."""

    window_days: int = key(1095, "days of articles that pairs may come from", ge=1)
    holdout_days: int = key(1, "newest days never trained on in this round: their titles are the fresh queries", ge=1)
    negatives: int = key(8, "negatives of a query", ge=1)
    hard_share: float = key(0.5, "share of the negatives that are BM25-hard; the rest is random", ge=0, le=1)
    expansion_ratio: float = key(0.5, "queries rewritten with synonyms, as a share of all pairs", ge=0, le=1)
