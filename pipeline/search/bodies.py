"""What is sent to OpenSearch: index, search pipeline and query bodies, as plain dictionaries."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

SEISMIC_LIMIT = 32_768
"""``sparse_vector`` folds token ids modulo this: a larger vocabulary would collide silently."""
DATE = "published_at"
SHOWN = ("title", "url", "outlet", "category", "published_at")
HORIZON = 7.0
"""Times ``days`` after which recency is cut off. exp(-7) = .0009 of it is left: with a strength of up to 4, and no
trend weight above its query weight, that is less of a score than `features.PRECISION`."""
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


def recent(
    inner: Mapping[str, Any], *, strength: float, days: float, field: str = DATE, origin: str = "now"
) -> dict[str, Any]:
    """``inner``'s score times strength x exp(-age / days), the age counted from ``origin`` to the document's ``field``.

    Only documents of the last `HORIZON` x ``days`` are scored, where all but e^-7 of the decay has happened. One
    without a date, or with one after ``origin``, gets nothing. ``strength`` is above 0.
    """
    seconds = days * 86_400
    return {
        "function_score": {
            "query": {
                "bool": {
                    "must": [dict(inner)],
                    "filter": [
                        {"range": {field: {"gte": _before(origin, math.ceil(HORIZON * seconds)), "lte": origin}}}
                    ],
                }
            },
            "functions": [{"exp": {field: {"origin": origin, "scale": f"{seconds:.0f}s", "decay": math.exp(-1)}}}],
            "boost_mode": "multiply",
            "boost": strength,
        }
    }


def _before(origin: str, seconds: int) -> str:
    """OpenSearch's date arithmetic: ``seconds`` before ``origin``."""
    return f"{origin}{'' if origin == 'now' else '||'}-{seconds}s"


def ranked(
    terms: dict[str, Any],
    trends: dict[str, Any] | None,
    *,
    strength: float,
    days: float,
    origin: str = "now",
) -> dict[str, Any]:
    """The ranking that users get: the clause of a query's terms, and its trends' clause while an article is recent.

    Both are `sparse` or both `sparse_tokens`. Without trends (None, or strength 0) it is the clause of the terms alone.
    """
    if trends is None or strength <= 0:
        return terms
    return {"bool": {"should": [terms, recent(trends, strength=strength, days=days, origin=origin)]}}


def ranked_tokens(
    tokens: Mapping[str, float], trends: Mapping[str, float], *, strength: float, days: float, origin: str = "now"
) -> dict[str, Any]:
    """`ranked` for clients without ML Commons: feature name -> weight by the query weights and by the trend weights."""
    second = {token: weight for token, weight in trends.items() if weight > 0}
    return ranked(
        sparse_tokens(tokens),
        sparse_tokens(second) if second else None,
        strength=strength,
        days=days,
        origin=origin,
    )


def published(query: dict[str, Any], since: str | None = None, until: str | None = None) -> dict[str, Any]:
    """``query`` among the articles of these dates, both included; a date without an hour is the whole day in Seoul."""
    bounds = {"gte": since, "lte": until}
    filters = [{"range": {DATE: {name: value, "time_zone": "Asia/Seoul"}}} for name, value in bounds.items() if value]
    return {"bool": {"must": [query], "filter": filters}}


def hybrid(
    text: str,
    depth: int,
    *,
    ranking: dict[str, Any] | None = None,
    since: str | None = None,
    until: str | None = None,
) -> dict[str, Any]:
    """BM25 and ``ranking`` (default `sparse`), the best ``depth`` of each, among the articles of these dates.

    The index's search pipeline makes one score of both.
    """
    legs = [published(leg, since, until) for leg in (bm25(text), ranking or sparse(text))]
    return {"hybrid": {"queries": legs, "pagination_depth": depth}}


# ---------------------------------------------------------------- stored templates
def search_template(
    *, trend_model: str | None, strength: float, days: float, depth: int | None = None, shown: Sequence[str] = SHOWN
) -> str:
    """The mustache source of an alias' search template: `ranked`, or with a ``depth`` `hybrid` of it and BM25.

    Its parameters are ``query`` (the text as it was typed) and optionally ``size`` (10), ``from`` (0),
    ``published_from`` and ``published_to`` (see `published`). Mustache escapes them for JSON, and every one stands
    within quotes, so that none can add to the query. ``trend_model`` is the id of the query model of trend weights
    (None: no recency), the first clause's is that of the index's search pipeline. ``shown`` are the fields in answers.
    """
    text, since, until = "{{query}}", "{{published_from}}", "{{published_to}}"
    trends = sparse(text, trend_model) if trend_model else None
    ranking = ranked(sparse(text), trends, strength=strength, days=days)
    body = {
        "size": "{{size}}{{^size}}10{{/size}}",
        "from": "{{from}}{{^from}}0{{/from}}",
        "query": hybrid(text, depth, ranking=ranking, since=since, until=until)
        if depth
        else published(ranking, since, until),
        "_source": list(shown),
        "track_total_hits": False,
    }
    source = json.dumps(body, ensure_ascii=False)
    first, second = (json.dumps(one) for one in published({}, since, until)["bool"]["filter"])
    return source.replace(
        f"[{first}, {second}]",
        "[{{#published_from}}" + first + "{{#published_to}}, {{/published_to}}{{/published_from}}"
        "{{#published_to}}" + second + "{{/published_to}}]",
    )
