"""Synonym discovery and validation."""

from __future__ import annotations

from typing import Literal

from pipeline.config.section import Section, key


class SynonymsConfig(Section):
    """Synonyms: clusters of token embeddings, aliases in the text, and the validator that may only veto."""

    window_days: list[int] = key(
        [30, 90, 365],
        "windows that embeddings are taken from, in days back from the as-of; each leaves out the shorter ones",
        min_length=1,
    )
    articles: int = key(1800, "articles whose words are analysed, at most, shared by the windows", ge=10)
    words: int = key(2000, "words that get embeddings, the most frequent first", ge=10)
    min_articles: int = key(5, "articles a word must occur in to get an embedding", ge=1)
    contexts: int = key(8, "sentences a word's embedding is the mean of, at most, in each window", ge=1)
    sentences: int = key(2000, "sentences that are encoded, at most, shared by the windows", ge=10)
    sentence_tokens: int = key(64, "tokens of a sentence that are read; words beyond are not seen in it", ge=8, le=512)
    batch_size: int = key(64, "batch size of encoding, in sentences", ge=1)
    method: Literal["kmeans", "dbscan", "hierarchical"] = key(
        "kmeans",
        "how embeddings are clustered: kmeans, dbscan or hierarchical",
    )
    n_clusters: int = key(500, "clusters of token embeddings (kmeans, hierarchical); fewer when words are few", ge=2)
    random_rate: float = key(
        0.0005, "share of random pairs of a window that the calibrated similarity threshold lets through", gt=0, lt=0.5
    )
    neighbours: int = key(1, "a pair must be among each other's this many nearest words", ge=1)
    decay_factor: float = key(0.95, "weight of a document is decay_factor ** (age in days)", gt=0, le=1)
    alias_days: int = key(1095, "days back from the as-of that parenthetical aliases are read from", ge=1)
    alias_min_stories: int = key(
        2, "stories that must write an alias, such as 인공지능(AI), to make it a candidate", ge=1
    )
    alias_min_share: float = key(0.5, "share an alias must have among all expansions of its short form", gt=0, le=1)
    max_pairs: int = key(2000, "candidate pairs kept in a run, the most confident first", ge=1)
    group_threshold: float = key(
        0.9,
        "calibrated confidence that two words of a cluster need before they may be in one group",
        ge=0,
        le=1,
        common=True,
    )
    validator: Literal["rules", "llm", "openai"] = key(
        "rules",
        "who may veto: rules, llm (local model) or openai (server)",
        common=True,
    )
    validator_min_auc: float = key(
        0.75, "AUC on known pairs below which a validator's verdicts do not count", ge=0.5, le=1
    )
    validator_false_positives: float = key(
        0.02, "share of known non-synonyms that may pass the threshold from which the rules admit a pair", gt=0, lt=0.5
    )
    validator_false_vetoes: float = key(
        0.1, "share of known synonyms that a validator's veto may hit: its veto threshold is set by it", gt=0, lt=0.5
    )
    known_pairs: int = key(300, "known pairs of each kind that a validator has to prove itself on, at most", ge=8)
    llm_model: str = key(
        "", "local language model: folder, hub name, or a .gguf file; for openai the model's name", common=True
    )
    llm_gguf: str = key("", "file name inside llm_model when that is a folder or hub name holding GGUF files")
    llm_4bit: bool = key(True, "load the local model in 4 bits (bitsandbytes) where there is a GPU")
    llm_batch_size: int = key(16, "batch size of the local model, in questions", ge=1)
    openai_url: str = key(
        "",
        "base URL of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1 (key: OPENAI_API_KEY)",
        common=True,
    )
    openai_timeout_s: float = key(30.0, "seconds that one request to the server may take", gt=0)
    openai_retries: int = key(3, "retries of a request when the server fails", ge=0)
    seed: int = key(13, "seed of clustering and sampling")
