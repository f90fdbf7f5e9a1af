"""What is sent to OpenSearch: index, search pipeline and query bodies, as plain dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SEISMIC_LIMIT = 32_768
"""``sparse_vector`` folds token ids modulo this: a larger vocabulary would collide silently."""
KEYWORD_BYTES = 8_000  # a longer keyword is kept and shown, and not searched (Lucene's limit is 32,766 bytes)

# Compounds are indexed whole and in parts (mixed), so that 한국은행 is found by 은행; particles and endings are dropped
# by nori's own stop tags, hanja are read in Hangul.
KOREAN = {
    "tokenizer": {"korean": {"type": "nori_tokenizer", "decompound_mode": "mixed", "discard_punctuation": True}},
    "analyzer": {
        "korean": {
            "type": "custom",
            "tokenizer": "korean",
            "filter": ["cjk_width", "nori_part_of_speech", "nori_readingform", "lowercase"],
        }
    },
}


def settings(*, shards: int = 1, replicas: int = 0, refresh: str = "1s") -> dict[str, Any]:
    """Index settings with the Korean analyser named ``korean``."""
    return {
        "index": {
            "number_of_shards": shards,
            "number_of_replicas": replicas,
            "refresh_interval": refresh,
            "analysis": KOREAN,
        }
    }


def text_index() -> dict[str, Any]:
    """A scratch index for BM25: the id to break ties with, and the text."""
    return {
        "settings": settings(refresh="-1"),
        "mappings": {
            "dynamic": "strict",
            "_source": {"enabled": False},
            "properties": {"id": {"type": "keyword"}, "text": {"type": "text", "analyzer": "korean"}},
        },
    }


def vector_index() -> dict[str, Any]:
    """A scratch index for document vectors alone."""
    return {
        "settings": settings(refresh="-1"),
        "mappings": {
            "dynamic": "strict",
            "_source": {"enabled": False},
            "properties": {"id": {"type": "keyword"}, "emb": {"type": "rank_features"}},
        },
    }


def news_index(
    meta: Mapping[str, Any], *, shards: int, replicas: int, pipeline: str, seismic: bool = False
) -> dict[str, Any]:
    """The index of a generation. ``meta`` says which one, ``pipeline`` is its search pipeline.

    Vectors are searched, not shown: they stay out of ``_source``, which would hold them a second time.
    """
    keyword = {"type": "keyword", "ignore_above": KEYWORD_BYTES // 3}
    properties: dict[str, Any] = {
        "article_id": {"type": "long"},
        "version": {"type": "integer"},
        "url": keyword,
        "outlet": keyword,
        "category": keyword,
        "published_at": {"type": "date"},
        "title": {"type": "text", "analyzer": "korean"},
        "text": {"type": "text", "analyzer": "korean"},
        "emb": {"type": "rank_features"},
    }
    if seismic:
        properties["seismic"] = {
            "type": "sparse_vector",
            "method": {
                "name": "seismic",
                "parameters": {"approximate_threshold": 1_000_000},
            },
        }
    body: dict[str, Any] = {
        "settings": settings(shards=shards, replicas=replicas),
        "mappings": {
            "_meta": {"garam": dict(meta)},
            "dynamic": "strict",
            "_source": {"excludes": ["emb", "seismic"]},
            "properties": properties,
        },
    }
    body["settings"]["index"]["search.default_pipeline"] = pipeline
    if seismic:
        body["settings"]["index"]["sparse"] = True
    return body


def search_pipeline(query_model: str, *, hybrid_weights: tuple[float, float], fusion: str) -> dict[str, Any]:
    """A generation's search pipeline: its query model for plain text, and how a hybrid query's two scores become one.

    ``hybrid_weights`` are those of (BM25, sparse) and sum to 1; ``fusion`` is ``minmax`` or ``rrf`` (reciprocal ranks).
    """
    weights = [round(weight, 6) for weight in hybrid_weights]
    if fusion == "rrf":
        processor: dict[str, Any] = {
            "score-ranker-processor": {
                "combination": {"technique": "rrf", "rank_constant": 60, "parameters": {"weights": weights}}
            }
        }
    else:
        processor = {
            "normalization-processor": {
                "normalization": {"technique": "min_max"},
                "combination": {"technique": "arithmetic_mean", "parameters": {"weights": weights}},
            }
        }
    return {
        "description": "Kept by Garam: replaced when query weights are published",
        "request_processors": [{"neural_query_enricher": {"default_model_id": query_model}}],
        "phase_results_processors": [processor],
    }


# ---------------------------------------------------------------- queries
def bm25(text: str) -> dict[str, Any]:
    """BM25 over text and title, the better field deciding."""
    return {"multi_match": {"query": text, "fields": ["title", "text"], "type": "best_fields", "tie_breaker": 0.3}}


def bm25_text(text: str) -> dict[str, Any]:
    """BM25 over the text alone: what models are judged against."""
    return {"match": {"text": {"query": text}}}


def sparse(text: str, model_id: str | None = None) -> dict[str, Any]:
    """Plain text through a query model; without an id, the one of the index's search pipeline."""
    inner = {"query_text": text} | ({"model_id": model_id} if model_id else {})
    return {"neural_sparse": {"emb": inner}}


def sparse_tokens(tokens: Mapping[str, float]) -> dict[str, Any]:
    """A sparse query as (feature name -> weight in (0, 64])."""
    return {"neural_sparse": {"emb": {"query_tokens": dict(tokens)}}}


def hybrid(text: str, depth: int) -> dict[str, Any]:
    """BM25 and sparse together, the best ``depth`` of each; the index's search pipeline makes one score of both."""
    return {"hybrid": {"queries": [bm25(text), sparse(text)], "pagination_depth": depth}}
