"""Training sets and query sets."""

from __future__ import annotations

from pipeline.config.section import Section, key


class DatasetConfig(Section):
    """Training sets: what pairs are made, which negatives they get, and what is held out to judge the model."""

    window_days: int = key(1095, "days of articles that pairs may come from", ge=1, common=True)
    max_articles: int = key(20000, "articles of one training set", ge=1, common=True)
    recent_days: int = key(30, "newest days that are taken whole before older windows are replayed", ge=1)
    replay_share: float = key(0.5, "share of the articles that is replayed from before recent_days", ge=0, le=1)
    half_life_days: float = key(
        180.0, "age in days at which an older article is half as likely to be replayed", gt=0, common=True
    )
    minimum_weight: float = key(0.25, "smallest weight of an old example (1 is today's)", gt=0, le=1)

    passage_chars: int = key(600, "characters of a passage; a longer article gives several", ge=50)
    passages_per_article: int = key(3, "passages of an article at most", ge=1)
    sentences_per_passage: int = key(
        2, "sentences taken out of a passage to be its queries, where its title stands in it or is too short", ge=0
    )
    min_query_chars: int = key(8, "shortest query, in characters", ge=1)
    min_passage_chars: int = key(60, "shortest passage, in characters", ge=1)
    expansion_ratio: float = key(
        0.5, "queries rewritten with aliases and synonyms, as a share of all pairs", ge=0, le=1
    )
    minimum_confidence: float = key(0.5, "synonym groups below this confidence are not used", ge=0, le=1)

    generator: str = key(
        "", "sequence-to-sequence model (folder or hub name) that writes queries; empty: none", common=True
    )
    generator_prompt: str = key("{text}", "what it reads; {text} stands for the passage", pattern=r"\{text\}")
    generated_per_passage: int = key(1, "queries that it writes for a passage", ge=1, le=16)

    negatives: int = key(8, "negatives of a query", ge=1)
    hard_share: float = key(0.5, "share of the negatives that are BM25-hard; the rest is random", ge=0, le=1)
    hard_top_k: int = key(100, "BM25 ranks that hard negatives come from", ge=1)
    hard_margin: float = key(
        3.0, "a hard negative scoring above this share of the positive's BM25 score is taken for a positive", gt=0
    )
    near_duplicate: float = key(0.4, "share of common word shingles from which two texts tell the same", gt=0, le=1)
    seed: int = key(13, "seed of every choice made for a training set")

    holdout_days: int = key(1, "newest days never trained on in this round: their titles are the fresh queries", ge=1)
    holdout_queries_min: int = key(
        200, "fresh queries wanted: older days are held out too until there are so many", ge=1
    )
    holdout_queries_max: int = key(2000, "fresh queries at most", ge=1)
    holdout_share_max: float = key(0.25, "share of the window's articles that may be held out at most", gt=0, lt=1)
    corpus_size: int = key(20000, "documents that are searched in an evaluation, newest first", ge=10)
    anchor_queries: int = key(500, "queries of the anchor set, frozen with the first training set", ge=1)
    anchor_corpus: int = key(2000, "documents of the anchor set", ge=10)
    anchor_share_max: float = key(
        0.1, "share of the first window's articles that may become anchor queries", gt=0, lt=1
    )
