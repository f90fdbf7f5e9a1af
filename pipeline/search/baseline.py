"""BM25 with nori, the ranking that a first model has to beat, from a scratch index in the real cluster."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from pipeline.artifacts.query_sets import Corpus, Query
from pipeline.search import bodies, bulk
from pipeline.search.cluster import Cluster, ClusterError
from pipeline.search.long_queries import shortened, too_long
from pipeline.search.scratch import scratch

logger = logging.getLogger(__name__)
_AT_ONCE = 50
Run = dict[str, list[tuple[str, float]]]
"""Query id -> (document id, score), best first."""


def bm25_run(cluster: Cluster, corpus: Corpus, queries: Sequence[Query], size: int = 100) -> Run:
    """Rank ``corpus`` (texts only, titles are not searched) for every query by BM25 with nori.

    At most ``size`` documents a query with a score above 0, best first, equal scores by document id (as text). The
    same corpus and queries give the same run: one shard, nothing deleted, nothing approximate. A query whose words
    occur nowhere has an empty list. Raises UnavailableError, ClusterError (see `Cluster`).
    """
    with scratch(cluster) as index:
        cluster.create_index(index, bodies.text_index())
        actions = (
            bulk.Action(str(number), {"id": doc, "text": text})
            for number, (doc, text) in enumerate(zip(corpus.ids, corpus.texts, strict=True))
        )
        bulk.load(cluster, index, actions)
        cluster.refresh(index)
        run: Run = {}
        for start in range(0, len(queries), _AT_ONCE):
            part = queries[start : start + _AT_ONCE]
            for query, answer in zip(part, _answers(cluster, index, [query.text for query in part], size), strict=True):
                run[query.id] = [(hit["fields"]["id"][0], float(hit["_score"])) for hit in answer["hits"]["hits"]]
    return run


def _answers(cluster: Cluster, index: str, texts: list[str], size: int) -> list[dict[str, Any]]:
    def search(texts: Sequence[str]) -> list[dict[str, Any]]:
        searches = [
            {
                "size": size,
                "query": bodies.bm25_text(text),
                "sort": [{"_score": "desc"}, {"id": "asc"}],
                "track_scores": True,
                "track_total_hits": False,
                "docvalue_fields": ["id"],
                "_source": False,
            }
            for text in texts
        ]
        return cluster.msearch(index, searches)

    try:
        return search(texts)
    except ClusterError as error:
        if not too_long(error):
            raise
    answers = []
    for text in texts:
        (answer,), searched = shortened(lambda part: search([part]), text)
        if searched != text:
            logger.warning("BM25: the first %d of %d characters of a query are searched", len(searched), len(text))
        answers.append(answer)
    return answers
