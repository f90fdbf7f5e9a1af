"""The smaller gate: may these query weights be published over the ones that are?

Query weights change every day and touch no document, so they need less proof than a model: nothing broken in them,
boosts within bounds, and on the newest fresh queries not worse than what is published, within a margin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.query_sets import Corpus, QuerySet
from pipeline.artifacts.query_weights import QueryWeights
from pipeline.config.gate import GateConfig
from pipeline.context import Context
from pipeline.encoder.vocabulary import Vocabulary
from pipeline.evaluation.encodings import Ranker, keep_made
from pipeline.evaluation.gate import Rule
from pipeline.evaluation.results import SetResult
from pipeline.kept import encoding_of, read_kept
from pipeline.progress import Progress, silent
from pipeline.ranking.runs import sparse_run
from pipeline.ranking.significance import lower_bound
from pipeline.store import evaluations, models
from pipeline.store.evaluations import Live, Weights
from pipeline.store.models import Model

LARGEST = 64.0
"""OpenSearch takes query weights in (0, 64]."""


def judge_query_weights(ctx: Context, query_weights_id: int, *, progress: Progress = silent) -> bool:
    """Judge query weights once and write the verdict beside them; whether they were accepted.

    Without a champion of their vocabulary, or without fresh queries, their bounds alone decide, and the verdict
    says so.
    """
    with ctx.store.lock("garam.judge_query_weights"):
        with ctx.store.begin() as conn:
            weights = evaluations.weights(conn, query_weights_id)
            live = evaluations.live(conn)
            champion = models.get(conn, live.model_id) if live else None
            published = evaluations.weights(conn, live.query_weights_id) if live and live.query_weights_id else None
            relative = models.head(conn, weights.vocabulary_hash)
        if weights.status != "candidate":
            return weights.status == "accepted"
        candidate = QueryWeights.read(ctx.artifacts.get(weights.artifact))
        numbers, boosts = candidate.weights, candidate.explanation.get("boosted", [])
        rules = [bounded(numbers, _blocked(ctx, relative)), boosts_bounded(boosts, ctx.config.gate)]
        kept: dict[str, Any] = {}
        if published is not None:
            rules.append(newer(weights, published))
        if all(rule.passed for rule in rules):
            rule, kept = _not_worse(ctx, numbers, weights, live, champion, published, progress)
            rules.append(rule)
        failed = [rule for rule in rules if not rule.passed]
        verdict = {
            "reason": failed[0].sentence if failed else rules[-1].sentence,
            "rules": [rule.row() for rule in rules],
            "against": published.id if published else None,
            **kept,
        }
        with ctx.store.begin() as conn:
            evaluations.record_weights_verdict(conn, weights.id, accepted=not failed, verdict=verdict)
        return not failed


def bounded(weights: NDArray[np.float32], blocked: NDArray[np.bool_] | None) -> Rule:
    """Every weight is finite and in (0, 64]; 0 only where a token never fires.

    ``blocked`` is (V,); while it is unknown, 0 may stand anywhere.
    """
    name = "weights in bounds"
    if blocked is not None and len(blocked) != len(weights):
        sentence = f"There are {len(weights)} weights for a vocabulary of {len(blocked)} tokens."
        return Rule(name, False, float(len(weights)), float(len(blocked)), sentence)
    bad = ~np.isfinite(weights) | (weights < 0) | (weights > LARGEST)
    if blocked is not None:
        bad |= (weights == 0) & ~blocked
    count = int(bad.sum())
    if count or not (weights > 0).any():
        first = int(np.flatnonzero(bad)[0]) if count else 0
        sentence = f"{count or 'All'} weights are not in (0, 64], the first of token {first}: {weights[first]}."
        return Rule(name, False, float(count), 0.0, sentence)
    return Rule(
        name,
        True,
        float(weights.max()),
        LARGEST,
        f"All weights are finite and at most {weights.max():.3g} (64 is allowed).",
    )


def boosts_bounded(boosted: list[dict[str, Any]], config: GateConfig) -> Rule:
    """No token is lifted by more than the configured factor."""
    largest = max(boosted, key=lambda row: float(row["boost"]), default=None)
    value = float(largest["boost"]) if largest else 1.0
    passed = bool(np.isfinite(value)) and value <= config.max_boost
    said = f"the largest of {len(boosted)} boosts is {value:.3g}" + (f" ({largest['token']})" if largest else "")
    sentence = f"Boosts are {'within' if passed else 'out of'} bounds: {said}, {config.max_boost:g} is allowed."
    return Rule("boosts bounded", passed, value, config.max_boost, sentence)


def newer(weights: Weights, published: Weights) -> Rule:
    """A backfill's weights never replace those of a newer day."""
    days = float((weights.day - published.day).days)
    passed = days >= 0
    sentence = f"The weights are of {weights.day}, those published of {published.day}" + (
        "." if passed else ": a backfill's weights are kept and never served."
    )
    return Rule("not older", passed, days, 0.0, sentence)


def not_worse(result: SetResult, config: GateConfig) -> Rule:
    """On fresh queries the lower confidence bound of (``new`` - ``published``) stays above -margin."""
    differences = result.differences("new", "published")
    bound = lower_bound(differences, significance=config.significance, seed=config.seed)
    passed = bound > -config.weights_margin
    sentence = (
        f"{'Not worse' if passed else 'Possibly worse'} than the published weights: "
        f"nDCG@10 on {len(result.ids)} fresh queries is "
        f"{result.mean('new'):.4f} against {result.mean('published'):.4f}; "
        f"the difference {differences.mean:+.4f} is at least {bound:+.4f} "
        f"with {1 - config.significance:.0%} confidence, and {-config.weights_margin:+g} is allowed."
    )
    return Rule("not worse on fresh", passed, bound, -config.weights_margin, sentence)


def _not_worse(
    ctx: Context,
    numbers: NDArray[np.float32],
    weights: Weights,
    live: Live | None,
    champion: Model | None,
    published: Weights | None,
    progress: Progress,
) -> tuple[Rule, dict[str, Any]]:
    def unjudged(why: str) -> tuple[Rule, dict[str, Any]]:
        return Rule("not worse on fresh", True, None, None, f"Accepted on their bounds alone: {why}."), {}

    with ctx.store.begin() as conn:
        fresh = evaluations.newest_fresh(conn)
    if champion is None or live is None:
        return unjudged("there is no champion yet")
    if champion.vocabulary_hash != weights.vocabulary_hash:
        return unjudged("the champion has another vocabulary")
    if fresh is None or not ctx.artifacts.has(fresh[1]):
        return unjudged("there is no fresh query set yet")
    folder = ctx.artifacts.get(fresh[1])
    queries = QuerySet.read(folder)
    if len(queries.queries) < ctx.config.gate.minimum_queries:
        return unjudged(f"the newest fresh set has only {len(queries.queries)} queries")
    corpus = Corpus.read(ctx.artifacts.get(queries.corpus) if queries.corpus else folder)
    model = ctx.artifacts.get(champion.artifact)
    known = encoding_of(model)
    ranker = Ranker(champion.artifact, model, dense=read_kept(ctx, known[0]) if known else None, progress=progress)
    corpus = _affordable(ranker, corpus, queries, ctx.config.gate.weights_documents)
    documents = ranker.documents(corpus.texts)
    keep_made(ctx, [ranker])
    texts = [query.text for query in queries.queries]
    result = SetResult.of(queries, corpus)
    theirs = QueryWeights.read(ctx.artifacts.get(published.artifact)).weights if published else None
    for name, table in (("new", numbers), ("published", theirs)):
        result.add(name, sparse_run(ranker.encoder.encode_queries(texts, table), documents))
    return not_worse(result, ctx.config.gate), {"query_set": fresh[0], "documents": len(corpus)}


def _affordable(ranker: Ranker, corpus: Corpus, queries: QuerySet, most: int) -> Corpus:
    """The documents that have vectors, and of the others the judged ones and then the first, ``most`` at most.

    Both weights rank the same documents, so leaving some out is fair to both.
    """
    lacking = set(ranker.lacking(list(dict.fromkeys(corpus.texts))))
    if len(lacking) <= most:
        return corpus
    judged = {document for query in queries.queries for document in query.relevant}
    order = sorted(range(len(corpus)), key=lambda row: corpus.ids[row] not in judged)
    kept: set[int] = set()
    encoded: set[str] = set()
    for row in order:
        text = corpus.texts[row]
        if text not in lacking or text in encoded or len(encoded) < most:
            kept.add(row)
            if text in lacking:
                encoded.add(text)
    rows = sorted(kept)
    return Corpus([corpus.ids[row] for row in rows], [corpus.texts[row] for row in rows])


def _blocked(ctx: Context, model: Model | None) -> NDArray[np.bool_] | None:
    """Which tokens of a model's vocabulary never fire; None without a model of that vocabulary."""
    if model is None or not ctx.artifacts.has(model.artifact):
        return None
    return Vocabulary.read(ctx.artifacts.get(model.artifact)).blocked
