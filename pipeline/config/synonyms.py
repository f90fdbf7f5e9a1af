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
    method: Literal["kmeans", "dbscan", "hierarchical"] = key(
        "kmeans",
        "how embeddings are clustered: kmeans, dbscan or hierarchical",
    )
    n_clusters: int = key(500, "clusters of token embeddings (kmeans, hierarchical); fewer when words are few", ge=2)
    decay_factor: float = key(0.95, "weight of a document is decay_factor ** (age in days)", gt=0, le=1)
    alias_days: int = key(1095, "days back from the as-of that parenthetical aliases are read from", ge=1)
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
    llm_model: str = key(
        "", "local language model: folder, hub name, or a .gguf file; for openai the model's name", common=True
    )
    llm_gguf: str = key("", "file name inside llm_model when that is a folder or hub name holding GGUF files")
    llm_4bit: bool = key(True, "load the local model in 4 bits (bitsandbytes) where there is a GPU")
    openai_url: str = key(
        "",
        "base URL of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1 (key: OPENAI_API_KEY)",
        common=True,
    )
    seed: int = key(13, "seed of clustering and sampling")
