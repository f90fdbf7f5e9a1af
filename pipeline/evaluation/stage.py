"""`evaluate` and `decide`: a candidate against what users have now, and the gate's verdict on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.query_sets import Corpus, QuerySet
from pipeline.artifacts.query_weights import QueryWeights
from pipeline.artifacts.vectors import KeptVectors
from pipeline.context import Context
from pipeline.errors import RefusedError, UsageError
from pipeline.evaluation import gate, results
from pipeline.evaluation.encodings import Ranker, keep_made
from pipeline.evaluation.results import SetResult
from pipeline.hashing import content_hash
from pipeline.judged import judged_files, judged_folders, over_articles, read_judged
from pipeline.kept import encoding_of, model_encoding, read_kept
from pipeline.progress import Progress, silent
from pipeline.ranking.metrics import Cost
from pipeline.ranking.runs import DEPTH, Run, hybrid_run, sparse_run
from pipeline.search import bm25_run, servable_check
from pipeline.store import datasets, evaluations, models
from pipeline.store.evaluations import Live, Weights
from pipeline.store.models import Model

CANDIDATE, CHAMPION, BM25, FLOOR = "candidate", "champion", gate.BM25, gate.FLOOR
_SERVABLE_DOCUMENTS, _SERVABLE_QUERIES = 200, 32


def with_bm25(system: str) -> str:
    """The name of a system's hybrid with BM25."""
    return f"{system}+{BM25}"


@dataclass(frozen=True)
class _Plan:
    """What an evaluation is about; its hash is the evaluation's key."""

    candidate: Model
    champion: Model | None
    live: Live | None
    candidate_weights: Weights | None
    champion_weights: Weights | None
    sets: list[tuple[str, str]]  # name, artifact
    judged: list[Path]

    def key(self, ctx: Context) -> str:
        return content_hash(
            {
                "configuration": ctx.config.hash_of("evaluation", "gate"),
                "fusion": _fusion(ctx),
                "weights": [w.artifact if w else None for w in (self.candidate_weights, self.champion_weights)],
                "sets": self.sets,
                "judged": judged_files(ctx.config),
            }
        )


def _fusion(ctx: Context) -> dict[str, Any]:
    """How the serving's hybrid query makes one score of BM25's and the encoder's."""
    serving = ctx.config.serving
    return {
        "weights": [serving.hybrid_bm25, 1 - serving.hybrid_bm25],
        "depth": serving.hybrid_depth,
        "fusion": serving.hybrid_fusion,
    }


def _plan(ctx: Context, model_id: int) -> _Plan:
    with ctx.store.begin() as conn:
        candidate = models.get(conn, model_id)
        if candidate.training_set_id is None:
            raise UsageError(f"model {model_id} was not trained on a training set: there is nothing to judge it on")
        training_set = datasets.training_set(conn, candidate.training_set_id)
        rows = datasets.query_sets_by_id(conn, training_set.query_set_ids)
        live = evaluations.live(conn)
        champion = models.get(conn, live.model_id) if live else None
        theirs = evaluations.weights(conn, live.query_weights_id) if live and live.query_weights_id else None
        mine = evaluations.newest_accepted_weights(conn, candidate.vocabulary_hash)
    return _Plan(
        candidate, champion, live, mine, theirs, [(row.name, row.artifact) for row in rows], judged_folders(ctx.config)
    )


def evaluate(ctx: Context, model_id: int, *, progress: Progress = silent) -> int:
    """Measure a model, its lexical floor, the champion and BM25 with nori on every query set; the evaluation's id.

    The same model, champion, query weights, sets and configuration give the row that is there already. Raises
    UsageError for a model that is unknown or was not trained here, UnavailableError where the cluster does not answer.
    """
    with ctx.store.lock(f"garam.evaluate.{model_id}"):
        plan = _plan(ctx, model_id)
        key, champion_id = plan.key(ctx), plan.live.id if plan.live else None
        with ctx.store.begin() as conn:
            found = evaluations.find(conn, model_id, champion_id, key)
        if found is not None and ctx.artifacts.has(found.artifact):
            return found.id
        report, artifact = _measure(ctx, plan, progress)
        with ctx.store.begin() as conn:
            return evaluations.register(
                conn, model_id=model_id, champion_id=champion_id, config_hash=key, report=report, artifact=artifact
            )


def _measure(ctx: Context, plan: _Plan, progress: Progress) -> tuple[dict[str, Any], str]:
    kept: dict[str, KeptVectors] = {}
    rankers = {CANDIDATE: _ranker(ctx, plan.candidate, plan.candidate_weights, kept, progress)}
    if plan.champion is not None:
        rankers[CHAMPION] = _ranker(ctx, plan.champion, plan.champion_weights, kept, progress)
    measured: list[SetResult] = []
    servable: Mapping[str, Any] = {}
    for corpus, sets, foreign in _by_corpus(ctx, plan):
        asking = {name: ranker.over(corpus.texts) if foreign else ranker for name, ranker in rankers.items()}
        matrices = {name: ranker.documents(corpus.texts) for name, ranker in asking.items()}
        floor = asking[CANDIDATE].floor(corpus.texts)
        keep_made(ctx, asking.values())
        for queries in sets:
            progress(f"rank {queries.name}", len(measured), len(plan.sets) + len(plan.judged))
            result = SetResult.of(queries, corpus)
            texts = [query.text for query in queries.queries]
            lexical = _bm25(ctx, corpus, queries)
            result.add(BM25, lexical)
            for name, ranker in asking.items():
                asked = ranker.queries(texts)
                run = sparse_run(asked, matrices[name])
                result.add(name, run, Cost.of(matrices[name], asked))
                result.add(with_bm25(name), _hybrid(ctx, lexical, run), result.costs[name])
            if floor is not None:
                asked = asking[CANDIDATE].queries(texts)
                run = sparse_run(asked, floor)
                result.add(FLOOR, run, Cost.of(floor, asked))
                result.add(with_bm25(FLOOR), _hybrid(ctx, lexical, run), result.costs[FLOOR])
            measured.append(result)
            if not servable and texts:
                progress("check that the cluster serves what was judged", 0, 0)
                servable = _servable(ctx, plan.candidate, corpus, rankers[CANDIDATE], texts)
    with ctx.artifacts.scratch() as work:
        results.write(measured, work / "evaluation")
        artifact = ctx.artifacts.put(work / "evaluation", "evaluation")
    config = ctx.config.evaluation
    summaries = {r.name: r.summary(confidence=config.confidence, resamples=config.resamples) for r in measured}
    anchor = next((r for r in measured if r.name == gate.ANCHOR), None)
    report = {
        "sets": summaries,
        "bm25": "BM25 with nori, in OpenSearch",
        "ranking": config.ranking,
        "servable": dict(servable),
        "models": {name: m.id for name, m in ((CANDIDATE, plan.candidate), (CHAMPION, plan.champion)) if m},
        "query_weights": {
            name: w.id if w else None
            for name, w in ((CANDIDATE, plan.candidate_weights), (CHAMPION, plan.champion_weights))
            if name in rankers
        },
        "encoded_here": {name: ranker.encoded for name, ranker in rankers.items()},
        "anchor": anchor
        and {"identity": anchor.identity, "values": {system: anchor.mean(system) for system in anchor.values}},
    }
    return report, artifact


def _ranker(
    ctx: Context, model: Model, weights: Weights | None, kept: dict[str, KeptVectors], progress: Progress
) -> Ranker:
    """A model; those of one dense encoder share its vectors, which ``kept`` has by the encoder's identity."""
    folder = ctx.artifacts.get(model.artifact)
    known = encoding_of(folder)
    if known is not None and known[0] not in kept:
        kept[known[0]] = read_kept(ctx, known[0])
    return Ranker(
        model.artifact,
        folder,
        dense=kept[known[0]] if known else None,
        query_weights=QueryWeights.read(ctx.artifacts.get(weights.artifact)).weights if weights else None,
        progress=progress,
    )


def _by_corpus(ctx: Context, plan: _Plan) -> list[tuple[Corpus, list[QuerySet], bool]]:
    """Every query set that has a query, with its corpus, and whether that is another one than our articles: then IDF
    and lengths are taken from it, for ours say nothing of it. Sets of one corpus come together."""
    corpora: dict[str, tuple[Corpus, list[QuerySet]]] = {}
    foreign: set[str] = set()
    fresh: str | None = None
    text_of = model_encoding(ctx, plan.candidate)[1].document_text
    names: set[str] = set()

    def add(key: str, corpus: Corpus, queries: QuerySet, name: str) -> None:
        if queries.queries:
            # Two sets may have one name (a folder and a row): both count, so the second gets another.
            while name in names:
                name += "'"
            names.add(name)
            corpora.setdefault(key, (corpus, []))[1].append(QuerySet(name, queries.queries, key))

    for name, artifact in plan.sets:
        folder = ctx.artifacts.get(artifact)
        queries = QuerySet.read(folder)
        key = queries.corpus or artifact
        held = corpora[key][0] if key in corpora else Corpus.read(ctx.artifacts.get(key) if queries.corpus else folder)
        add(key, held, queries, name)
        fresh = key if name == gate.FRESH else fresh
    for folder in plan.judged:
        queries, own = read_judged(folder)
        name = f"judged:{folder.name}"
        if own is not None:
            cut = [text_of(text) for text in own.texts]
            add(str(folder), Corpus(own.ids, cut, own.titles), queries, name)
            foreign.add(str(folder))
        elif fresh is not None:
            with ctx.store.begin() as conn:
                ids = evaluations.article_ids(conn, sorted({d for q in queries.queries for d in q.relevant}))
            add(fresh, corpora[fresh][0], over_articles(queries, corpora[fresh][0], ids), name)
    return [(corpus, sets, key in foreign) for key, (corpus, sets) in corpora.items()]


def _bm25(ctx: Context, corpus: Corpus, queries: QuerySet) -> Run:
    found = bm25_run(ctx.cluster, corpus, queries.queries, size=min(DEPTH, max(100, len(corpus))))
    row_of = {document: row for row, document in enumerate(corpus.ids)}
    return Run.of_hits([found.get(query.id, []) for query in queries.queries], row_of)


def _hybrid(ctx: Context, lexical: Run, sparse: Run) -> Run:
    fusion = _fusion(ctx)
    return hybrid_run([lexical, sparse], fusion["weights"], depth=fusion["depth"], fusion=fusion["fusion"])


def _servable(ctx: Context, model: Model, corpus: Corpus, ranker: Ranker, texts: Sequence[str]) -> Mapping[str, Any]:
    """A sample of the corpus, evenly spread, in the real cluster against the encoder."""
    rows = np.unique(np.linspace(0, len(corpus) - 1, min(_SERVABLE_DOCUMENTS, len(corpus))).astype(int))
    sample = Corpus([corpus.ids[row] for row in rows], [corpus.texts[row] for row in rows])
    matrix = ranker.documents(sample.texts)
    if not np.isfinite(matrix.data).all() or (matrix.data < 0).any():
        return {"passed": False, "sentence": "the vectors hold weights that are not finite or below 0"}
    report = servable_check(
        ctx.cluster,
        ctx.artifacts.get(model.artifact),
        sample,
        matrix,
        list(texts[:_SERVABLE_QUERIES]),
        ranker.query_weights,
    )
    return report.to_json()


def decide(ctx: Context, evaluation_id: int) -> int:
    """The gate's verdict on an evaluation: a row a rule; the id of the decision, which is taken once.

    Raises RefusedError when another generation went live since the evaluation: it compared with the wrong champion.
    """
    with ctx.store.begin() as conn:
        row = evaluations.evaluation(conn, evaluation_id)
        made = evaluations.decision_of(conn, evaluation_id)
        live = evaluations.live(conn)
        candidate = models.get(conn, row.model_id)
        champion = models.get(conn, live.model_id) if live else None
        anchor = row.report.get("anchor")
        earlier = evaluations.anchor_values(conn, anchor["identity"]) if anchor else []
    if made is not None:
        return made.id
    if (live.id if live else None) != row.champion_id:
        raise RefusedError(
            f"the live generation changed after evaluation {evaluation_id}: evaluate model {row.model_id} again"
        )
    measured = {result.name: result for result in results.read(ctx.artifacts.get(row.artifact))}
    hybrid = ctx.config.evaluation.ranking == "hybrid"
    system, reference, floor = (with_bm25(s) if hybrid else s for s in (CANDIDATE, CHAMPION, FLOOR))
    costs = (measured.get(gate.FRESH) or next(iter(measured.values()))).costs if measured else {}
    evidence = gate.Evidence(
        candidate_as_of=candidate.as_of,
        champion_as_of=champion.as_of if champion else None,
        champion=live.id if live else None,
        is_champion=bool(live and live.model_id == candidate.id),
        sets=measured,
        system=system,
        reference=reference if live else BM25,
        floor=floor,
        best_anchor=_best(ctx, candidate.id, system, reference, earlier),
        servable=row.report.get("servable") or {},
        cost=costs.get(CANDIDATE) or Cost(0, 0, 1, 0, 0, 0),
        champion_cost=costs.get(CHAMPION),
    )
    verdict, illness = gate.judge(evidence, ctx.config.gate), gate.illness(evidence, ctx.config.gate)
    with ctx.store.begin() as conn:
        if illness is not None:
            models.mark_unhealthy(conn, candidate.id, illness)
        return evaluations.register_decision(
            conn,
            model_id=row.model_id,
            evaluation_id=evaluation_id,
            verdict=verdict.verdict,
            reason=verdict.reason,
            rules=[rule.row() for rule in verdict.rules],
        )


def _best(
    ctx: Context, candidate: int, system: str, reference: str, earlier: Sequence[evaluations.AnchorValue]
) -> gate.Best | None:
    """The best value that users ever had on the anchor set: of candidates that came to serve, and of champions."""
    best: tuple[float, int, str, str] | None = None
    for value in earlier:
        reached = [(value.values.get(reference), value.champion_model_id, reference)]
        if value.served and value.model_id != candidate:
            reached.append((value.values.get(system), value.model_id, system))
        for mean, model, name in reached:
            if mean is not None and model is not None and model != candidate and (best is None or mean > best[0]):
                best = (mean, model, value.artifact, name)
    if best is None:
        return None
    mean, model, artifact, name = best
    values: NDArray[np.float64] | None = None
    if ctx.artifacts.has(artifact):
        kept = {result.name: result for result in results.read(ctx.artifacts.get(artifact))}
        values = kept[gate.ANCHOR].values[name]["ndcg@10"]
    return gate.Best(model, mean, values)
