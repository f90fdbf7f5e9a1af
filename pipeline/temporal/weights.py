"""Query weights of tokens: ensemble IDF times a bounded trend boost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.query_weights import QueryWeights
from pipeline.encoder.vocabulary import Vocabulary
from pipeline.errors import RefusedError
from pipeline.store import counts as store
from pipeline.store import statistics
from pipeline.store.packed import digest
from pipeline.store.statistics import Trend
from pipeline.temporal.counting import vocabularies

if TYPE_CHECKING:
    from pipeline.context import Context

LARGEST = 64.0  # OpenSearch allows query weights in (0, 64]
SMALLEST = 2.0**-10


def make_query_weights(ctx: Context, statistics_id: int) -> int:
    """Compute and store the query weights of the statistics, and return their id; deterministic.

    The artifact (kind ``weights``) holds weights.npy, float32 (V,): 0 for blocked tokens, else in (0, 64], with mean 1
    over the tokens in use; and explain.json, the boosts of tokens and the words they come from.
    """
    with ctx.store.begin() as conn:
        learned = statistics.get(conn, statistics_id)
        trends = statistics.trends_of(conn, statistics_id)
        vocabulary_hash = store.version(conn, learned.token_version_id).key
    artifact = vocabularies(ctx).get(vocabulary_hash)
    if artifact is None:
        raise RefusedError(
            f"statistics {statistics_id} are of a vocabulary that neither base nor champion has: learn that day again"
        )
    vocabulary = Vocabulary.read(ctx.artifacts.get(artifact))
    names, blocked = vocabulary.names, vocabulary.blocked

    def pieces(word: str) -> list[int]:
        return list(vocabulary.tokenizer.encode(word, add_special_tokens=False).ids)

    boosts, causes = token_boosts([(t, pieces(t.word)) for t in trends], learned.arrays["recent_df"])
    weights, scale = combine(learned.arrays, boosts, blocked)
    explained = {
        "statistics": statistics_id,
        "statistics_hash": learned.content_hash,
        "day": learned.as_of.day.isoformat(),
        "known_by": learned.as_of.known_by.isoformat(),
        "vocabulary": vocabulary_hash,
        "formula": "weight = ensemble_idf * boost / scale, within the bounds; 0 when blocked",
        "scale": scale,
        "bounds": [SMALLEST, LARGEST],
        "in_use": int(in_use(learned.arrays, blocked).sum()),
        "blocked": int(blocked.sum()),
        "boosted": [
            {"token": names[id_], "id": id_, "boost": float(boosts[id_]), "because": causes[id_]}
            for id_ in sorted(causes, key=lambda i: (-boosts[i], i))
        ],
    }
    identity = digest({"weights": weights}, json.dumps(explained["boosted"], ensure_ascii=False, sort_keys=True))
    with ctx.artifacts.scratch() as work:
        QueryWeights(weights, explained).write(work / "weights")
        name = ctx.artifacts.put(work / "weights", "weights")
    with ctx.store.begin() as conn:
        return statistics.add_query_weights(
            conn,
            statistics_id=statistics_id,
            day=learned.as_of.day,
            vocabulary_hash=vocabulary_hash,
            content_hash=identity,
            artifact=name,
        )


def token_boosts(
    trends: Sequence[tuple[Trend, Sequence[int]]], recent_df: NDArray[np.int64]
) -> tuple[NDArray[np.float64], dict[int, list[dict[str, Any]]]]:
    """Boosts (V,) of at least 1, and for each boosted token the words that boost it, the strongest first.

    The boost of a word is scaled by the share of a token's recent stories that mention the word: a frequent subword
    (`##들`) is hardly boosted by a single word that contains it. Of several words the largest boost counts.
    """
    boosts = np.ones(len(recent_df))
    causes: dict[int, list[dict[str, Any]]] = {}
    for trend, ids in trends:
        if trend.boost <= 1:
            continue
        for id_ in dict.fromkeys(ids):
            share = min(1.0, trend.evidence["stories"] / max(int(recent_df[id_]), 1))
            factor = 1.0 + (trend.boost - 1.0) * share
            if factor > 1.0:
                boosts[id_] = max(boosts[id_], factor)
                causes.setdefault(id_, []).append({"word": trend.word, "boost": trend.boost, "share": share})
    for reasons in causes.values():
        reasons.sort(key=lambda r: (-(r["boost"] - 1) * r["share"], r["word"]))
    return boosts, causes


def in_use(arrays: dict[str, NDArray[Any]], blocked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tokens that are not blocked and occur in the statistics, bool (V,)."""
    return ~blocked & ((arrays["window_df"] > 0).any(axis=0) | (arrays["decayed_df"] >= 1e-3))


def combine(
    arrays: dict[str, NDArray[Any]], boosts: NDArray[np.float64], blocked: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], float]:
    """(weights float32 (V,), scale): IDF x boost over scale, where scale makes the mean 1 over the tokens in use."""
    raw = arrays["ensemble_idf"] * boosts
    used = in_use(arrays, blocked)
    averaged = used if used.any() else ~blocked
    scale = float(raw[averaged].mean()) if averaged.any() else 1.0
    weights = np.clip(raw / scale, SMALLEST, LARGEST)
    weights[blocked] = 0.0
    return weights.astype(np.float32), scale
