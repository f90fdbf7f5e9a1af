"""Searching the live generation as its clients do: plain text to the alias' stored search template."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.context import Context
from pipeline.encoder.encoding import QUERY_TOKENS
from pipeline.encoder.vocabulary import Vocabulary
from pipeline.errors import RefusedError, UnavailableError, UsageError
from pipeline.search import bodies
from pipeline.search.long_queries import shortened
from pipeline.serving.recipe import Names
from pipeline.store import generations, models
from pipeline.text.normalise import clean_title

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
    """What was found, best first, and the generation that answered.

    ``unread`` is the end of the query that was not searched: what is behind `QUERY_TOKENS` tokens, or more than a query
    of OpenSearch may hold.
    """

    generation: int
    mode: str
    hits: list[Hit]
    unread: str = ""


def search(ctx: Context, text: str, *, mode: str = "sparse", size: int = 10) -> SearchResult:
    """The ``size`` best articles for a plain text by the deployed model, BM25, or both.

    UsageError for an empty text or another mode, RefusedError before the first generation exists.
    """
    text = clean_title(text)
    if not text:
        raise UsageError("there is nothing to search for: write some words")
    if mode not in MODES:
        raise UsageError(f"{mode!r} is no way to search: choose one of {', '.join(MODES)}")
    if not 1 <= size <= 1000:
        raise UsageError("between 1 and 1000 articles can be asked for")
    alias, names = ctx.config.serving.alias, Names(ctx.config.serving.alias)
    if mode == "hybrid" and size > ctx.config.serving.hybrid_depth:
        raise UsageError(f"hybrid search mixes the best {ctx.config.serving.hybrid_depth} articles: ask for as many")
    behind = ctx.cluster.behind(alias)
    if not behind:
        raise RefusedError("no generation is live yet, so nothing can be searched: deploy a model first")

    def hits_of(part: str) -> list[dict[str, Any]]:
        if mode == "bm25":
            shown = {"_source": list(bodies.SHOWN), "track_total_hits": False}
            answer = ctx.cluster.call("POST", f"/{alias}/_search", {"size": size, "query": bodies.bm25(part), **shown})
        else:
            template = names.hybrid_template if mode == "hybrid" else names.template
            answer = _when_ready(lambda: ctx.cluster.search_template(alias, template, {"query": part, "size": size}))
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits

    hits, searched = shortened(hits_of, _first_tokens(ctx, text))
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
        text[len(searched) :].strip(),
    )


def _first_tokens(ctx: Context, text: str) -> str:
    """``text`` up to its `QUERY_TOKENS`-th token, as the live query model cuts it."""
    if len(text) <= QUERY_TOKENS:
        return text
    with ctx.store.begin() as conn:
        live = generations.live(conn)
        model = models.get(conn, live.model_id) if live else None
    if model is None or not ctx.artifacts.has(model.artifact):
        return text
    tokenizer = Vocabulary.read(ctx.artifacts.get(model.artifact)).tokenizer
    tokenizer.no_truncation()
    ends = [end for _, end in tokenizer.encode(text, add_special_tokens=False).offsets]
    return text if len(ends) <= QUERY_TOKENS else text[: ends[QUERY_TOKENS - 1]]


def _when_ready(search: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return search()
        except UnavailableError as error:
            if "is not ready for" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.5)
