"""Is what was judged what would be served? Index and query model against the encoder, on a scratch index."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.artifacts.query_sets import Corpus
from pipeline.errors import BadInputError
from pipeline.search import bodies, bulk, features, query_models
from pipeline.search.cluster import Cluster
from pipeline.search.scratch import scratch

_SINGLE = 2.0**-24
"""Half a unit in the last place of a float32, relative: what one addition in a score may lose."""
_TERMS = 64  # single terms that are compared one by one
_TOP = 100


@dataclass(frozen=True)
class ServableReport:
    """What was compared, and how far the worst was off (relative errors; ``bound`` is 2^-8, see `features.PRECISION`).

    ``sum_bound`` is the bound for a score of as many terms as the longest query has.
    """

    documents: int
    queries: int
    terms: int  # single weights compared
    scores: int  # document scores compared
    term_error: float
    score_error: float
    bound: float
    sum_bound: float
    unequal_queries: list[str]  # texts for which the query model and the encoder differ
    missing_documents: int
    index_bytes: int
    latency_p50_ms: float  # of a plain-text query for 10 documents, warm, one after the other
    latency_p95_ms: float

    @property
    def passed(self) -> bool:
        """Every weight and every score within its bound, every query equal, every document there."""
        return (
            self.term_error <= self.bound
            and self.score_error <= self.sum_bound
            and not self.unequal_queries
            and not self.missing_documents
        )

    @property
    def sentence(self) -> str:
        """The verdict for a person."""
        if self.passed:
            return (
                f"{self.scores} scores of the index agree with the encoder's (worst {self.score_error:.2e}, bound "
                f"{self.sum_bound:.2e}) and the query model gives the same tokens for {self.queries} queries"
            )
        if self.missing_documents:
            return f"the index holds {self.missing_documents} documents fewer than were sent"
        if self.unequal_queries:
            count, example = len(self.unequal_queries), self.unequal_queries[0]
            return f"the query model and the encoder differ for {count} queries, such as {example!r}"
        return (
            f"scores of the index are off by {max(self.term_error, self.score_error):.2e}, more than the bound "
            f"{self.bound:.2e}"
        )

    def to_json(self) -> dict[str, Any]:
        """The report with its verdict, JSON-able."""
        return {**asdict(self), "passed": self.passed, "sentence": self.sentence}


def servable_check(
    cluster: Cluster,
    model_folder: Path,
    corpus: Corpus,
    rows: sp.csr_matrix,
    queries: Sequence[str],
    query_weights: NDArray[np.float32] | None = None,
) -> ServableReport:
    """Load ``corpus`` with its vectors ``rows`` (n, V) and the model's query side into the cluster and compare.

    ``queries`` are texts; ``query_weights`` (V,) replaces the model's own. A sample is enough (a few hundred documents,
    some dozen queries). Scratch index and query model are removed whatever happens. Raises BadInputError where rows and
    documents do not belong together.
    """
    from pipeline.encoder import Encoder

    encoder = Encoder.load(model_folder, device="cpu")
    names = features.names(encoder.vocabulary)
    if rows.shape != (len(corpus), len(names)):
        raise BadInputError(f"vectors of shape {rows.shape} do not fit {len(corpus)} documents and {len(names)} tokens")
    texts = [text for text in queries if text.strip()]
    wanted = encoder.encode_queries(texts, query_weights)
    content = query_models.package(model_folder, query_weights)
    with scratch(cluster) as index:
        cluster.create_index(index, bodies.vector_index())
        bulk.load(
            cluster,
            index,
            (bulk.Action(str(i), {"id": str(i), "emb": features.document(rows[i], names)}) for i in range(len(corpus))),
        )
        cluster.refresh(index)
        missing = len(corpus) - cluster.count(index)
        model_id = query_models.ensure(cluster, index, content)
        unequal = _unequal(cluster, model_id, texts, wanted, names)
        terms, term_error = _compare_terms(cluster, index, rows, names)
        scores, score_error = _compare_scores(cluster, index, model_id, texts, wanted, rows)
        latencies = _latencies(cluster, index, model_id, texts)
        size = cluster.size_bytes(index)
    longest = int(np.diff(wanted.indptr).max()) if texts else 0
    return ServableReport(
        documents=len(corpus),
        queries=len(texts),
        terms=terms,
        scores=scores,
        term_error=term_error,
        score_error=score_error,
        bound=features.PRECISION,
        sum_bound=features.PRECISION + (longest + 1) * _SINGLE,
        unequal_queries=unequal,
        missing_documents=missing,
        index_bytes=size,
        latency_p50_ms=float(np.percentile(latencies, 50)) if latencies else 0.0,
        latency_p95_ms=float(np.percentile(latencies, 95)) if latencies else 0.0,
    )


def _unequal(
    cluster: Cluster, model_id: str, texts: list[str], wanted: sp.csr_matrix, names: Sequence[str]
) -> list[str]:
    """The texts of which the query model makes other tokens or weights than the encoder."""
    unequal = []
    for start in range(0, len(texts), 50):
        part = texts[start : start + 50]
        for offset, made in enumerate(query_models.predict(cluster, model_id, part)):
            # What cannot be dropped (`query_models.package`) is in the answer with NO_WEIGHT: a query cannot hold zero.
            counted = {
                token: np.float32(weight) for token, weight in made.items() if weight > query_models.NO_WEIGHT * 2
            }
            row = wanted[start + offset]
            expected = {names[i]: np.float32(w) for i, w in zip(row.indices.tolist(), row.data, strict=True)}
            if counted.keys() != expected.keys() or any(
                abs(counted[token] - expected[token]) > 1e-6 * expected[token] for token in counted
            ):
                unequal.append(part[offset])
    return unequal


def _compare_terms(cluster: Cluster, index: str, rows: sp.csr_matrix, names: Sequence[str]) -> tuple[int, float]:
    """Single stored weights against the exact ones: (how many, worst relative error)."""
    columns = rows.tocsc()
    used = np.flatnonzero(np.diff(columns.indptr))
    chosen: list[int] = (
        used[np.linspace(0, len(used) - 1, min(_TERMS, len(used))).astype(int)].tolist() if len(used) else []
    )
    searches = [_search(bodies.sparse_tokens({names[token]: 1.0})) for token in chosen]
    compared, worst = 0, 0.0
    for token, answer in zip(chosen, cluster.msearch(index, searches), strict=True):
        column = columns[:, token].toarray().ravel()
        for hit in answer["hits"]["hits"]:
            exact = float(column[int(hit["_id"])])
            worst = max(worst, abs(hit["_score"] - exact) / exact if exact > 0 else float("inf"))
            compared += 1
    return compared, worst


def _compare_scores(
    cluster: Cluster, index: str, model_id: str, texts: list[str], wanted: sp.csr_matrix, rows: sp.csr_matrix
) -> tuple[int, float]:
    """Scores of plain-text queries against query vector times document vector: (how many, worst relative error)."""
    compared, worst = 0, 0.0
    exact = (wanted.astype(np.float64) @ rows.astype(np.float64).T).toarray()
    for start in range(0, len(texts), 50):
        searches = [_search(bodies.sparse(text, model_id)) for text in texts[start : start + 50]]
        for offset, answer in enumerate(cluster.msearch(index, searches)):
            scores = exact[start + offset]
            hits = answer["hits"]["hits"]
            for hit in hits:
                if hit["_score"] <= _floor(rows):
                    continue  # matched only by tokens that count for nothing
                score = float(scores[int(hit["_id"])])
                worst = max(worst, abs(hit["_score"] - score) / score if score > 0 else float("inf"))
                compared += 1
            if len(hits) < min(_TOP, int((scores > _floor(rows)).sum())):
                worst = float("inf")  # a document with a score was not found
    return compared, worst


def _floor(rows: sp.csr_matrix) -> float:
    """No score that counts is this small."""
    return float(query_models.NO_WEIGHT * 600 * max(1.0, rows.data.max() if rows.nnz else 1.0))


def _latencies(cluster: Cluster, index: str, model_id: str, texts: list[str]) -> list[float]:
    """Milliseconds of each query, measured here; the first ones warm the model up and do not count."""
    taken = []
    sample = texts[:30]
    for number, text in enumerate(sample[:3] + sample):
        started = time.perf_counter()
        cluster.call("POST", f"/{index}/_search", {**_search(bodies.sparse(text, model_id)), "size": 10})
        if number >= len(sample[:3]):
            taken.append((time.perf_counter() - started) * 1000)
    return taken


def _search(query: dict[str, Any]) -> dict[str, Any]:
    return {"size": _TOP, "query": query, "_source": False, "track_total_hits": False}
