"""Searching the live generation as its clients do: plain text to the alias."""

from __future__ import annotations

import datetime as dt
import time
import unicodedata
from dataclasses import dataclass
from typing import Any

from pipeline.context import Context
from pipeline.errors import RefusedError, UnavailableError, UsageError
from pipeline.search import bodies

MODES = ("sparse", "bm25", "hybrid")
PATIENCE_S = 20.0
"""How long a search waits for a query model that is coming back after a restart of OpenSearch."""


@dataclass(frozen=True)
class Hit:
    """An article that was found."""

    rank: int
    score: float
    title: str
    url: str
    published_at: dt.datetime


@dataclass(frozen=True)
class SearchResult:
    """What was found, best first, and the generation that answered."""

    generation: int
    mode: str
    hits: list[Hit]


def search(ctx: Context, text: str, *, mode: str = "sparse", size: int = 10) -> SearchResult:
    """The ``size`` best articles for a plain text by the deployed model, BM25, or both.

    UsageError for an empty text or another mode, RefusedError before the first generation exists.
    """
    text = unicodedata.normalize("NFC", text).strip()
    if not text:
        raise UsageError("there is nothing to search for: write some words")
    if mode not in MODES:
        raise UsageError(f"{mode!r} is no way to search: choose one of {', '.join(MODES)}")
    if not 1 <= size <= 1000:
        raise UsageError("between 1 and 1000 articles can be asked for")
    alias = ctx.config.serving.alias
    behind = ctx.cluster.behind(alias)
    if not behind:
        raise RefusedError("no generation is live yet, so nothing can be searched: deploy a model first")
    if mode == "hybrid":
        query = bodies.hybrid(text, max(size, ctx.config.serving.hybrid_depth))
    else:
        query = {"sparse": bodies.sparse, "bm25": bodies.bm25}[mode](text)
    body = {"size": size, "query": query, "_source": ["title", "url", "published_at"], "track_total_hits": False}
    hits = _ask(ctx, alias, body)["hits"]["hits"]
    answered = hits[0]["_index"] if hits else behind[0]
    return SearchResult(
        int(answered.rpartition("-g")[2]),
        mode,
        [
            Hit(
                rank,
                float(hit["_score"]),
                hit["_source"]["title"],
                hit["_source"]["url"],
                dt.datetime.fromisoformat(hit["_source"]["published_at"]),
            )
            for rank, hit in enumerate(hits, 1)
        ],
    )


def _ask(ctx: Context, alias: str, body: dict[str, Any]) -> Any:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ctx.cluster.call("POST", f"/{alias}/_search", body)
        except UnavailableError as error:
            if "is not ready for" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.5)
