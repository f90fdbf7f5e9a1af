"""Evaluation on files alone: models, judged queries and baselines from folders, a report into a folder.

No database and no cluster: BM25 is Lucene's formula over kiwipiepy's morphemes (see `pipeline.ranking.bm25`).
Encoders, like BM25, take IDF and the average length of a text from the corpus that is searched.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.artifacts.query_sets import Corpus, QuerySet
from pipeline.config import Config, load
from pipeline.errors import BadInputError, UsageError
from pipeline.evaluation import report
from pipeline.evaluation.encodings import Ranker
from pipeline.evaluation.results import SetResult
from pipeline.judged import read_judged
from pipeline.progress import Progress, silent
from pipeline.ranking import bm25
from pipeline.ranking.metrics import Cost
from pipeline.ranking.runs import hybrid_run, sparse_run
from pipeline.ranking.significance import interval, p_value

BM25, FLOOR = "bm25", "floor"
_BM25_NAME = "BM25 over kiwipiepy morphemes (no cluster)"


def evaluate_files(
    models: Sequence[Path | str],
    data: Sequence[Path | str],
    baselines: Sequence[Path | str],
    output: Path | str,
    *,
    config: Config | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure encoders on judged sets and write ``report.json``, ``report.html`` and ``table.txt`` into ``output``.

    ``models`` and ``baselines`` are encoder folders, ``baselines`` may also name ``bm25``; ``data`` are folders in BEIR
    or TREC form with a corpus. With ``bm25`` every encoder's hybrid with it is measured, too; ``floor`` is the lexical
    floor alone of the first encoder that has one. The report has ``sets[NAME][SYSTEM]`` with means, intervals and
    costs, and ``comparisons[NAME]``: each model against each baseline by a paired randomization test. Raises UsageError
    for a folder that is missing, BadInputError for an unusable one.
    """
    config = config or load()
    folders = [Path(model) for model in models]
    lexical = any(str(baseline).lower() == BM25 for baseline in baselines)
    others = [Path(baseline) for baseline in baselines if str(baseline).lower() != BM25]
    if not folders or not data:
        raise UsageError("name at least one model and one folder of judged queries")
    for folder in folders + others:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder of a model")
    sets = [_read(Path(folder)) for folder in data]
    target = Path(output)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the report cannot be written to {target}: {error.strerror}") from error
    names = _unique([folder.resolve().name for folder in folders + others])
    results = [SetResult.of(queries, corpus) for queries, corpus in sets]
    for result, name in zip(results, _unique([result.name for result in results]), strict=True):
        result.name = name
    started = time.monotonic()
    runs = {}
    if lexical:
        for result, (queries, corpus) in zip(results, sets, strict=True):
            progress(f"BM25 on {result.name}", 0, 0)
            index = bm25.BM25(corpus.texts, bm25.morphemes, k1=config.evaluation.bm25_k1, b=config.evaluation.bm25_b)
            runs[result.name] = index.run([query.text for query in queries.queries])
            result.add(BM25, runs[result.name])
    for name, folder in zip(names, folders + others, strict=True):
        # One encoder at a time: two of them may not fit into memory.
        model = Ranker(name, folder, progress=progress)
        for result, (queries, corpus) in zip(results, sets, strict=True):
            ranker = model.over(corpus.texts)
            documents = ranker.documents(corpus.texts)
            asked = ranker.queries([query.text for query in queries.queries])
            run = sparse_run(asked, documents)
            result.add(name, run, Cost.of(documents, asked))
            if FLOOR not in result.values and (floor := ranker.floor(corpus.texts)) is not None:
                result.add(FLOOR, sparse_run(asked, floor), Cost.of(floor, asked))
            if lexical:
                weights = (config.serving.hybrid_bm25, 1 - config.serving.hybrid_bm25)
                mixed = hybrid_run(
                    [runs[result.name], run],
                    weights,
                    depth=config.serving.hybrid_depth,
                    fusion=config.serving.hybrid_fusion,
                )
                result.add(f"{name}+{BM25}", mixed, result.costs[name])
    compared = [BM25] * lexical + names[len(folders) :]
    evaluation = config.evaluation
    written: dict[str, Any] = {
        "sets": {r.name: r.summary(confidence=evaluation.confidence, resamples=evaluation.resamples) for r in results},
        "comparisons": {r.name: _comparisons(r, names[: len(folders)], compared, config) for r in results},
        "bm25": _BM25_NAME if lexical else None,
        "hybrid": {
            "bm25": config.serving.hybrid_bm25,
            "fusion": config.serving.hybrid_fusion,
            "depth": config.serving.hybrid_depth,
        },
        "confidence": evaluation.confidence,
        "models": {name: str(folder) for name, folder in zip(names, folders + others, strict=True)},
        "seconds": round(time.monotonic() - started, 1),
    }
    _write(target, written)
    return written


def _read(folder: Path) -> tuple[QuerySet, Corpus]:
    queries, corpus = read_judged(folder)
    if corpus is None:
        raise BadInputError(
            f"{folder} has no corpus.jsonl: without a database the documents must be beside the queries"
        )
    return QuerySet(queries.name, queries.queries), corpus


def _unique(names: Sequence[str]) -> list[str]:
    """The names, numbered where one comes again."""
    found: list[str] = []
    for name in names:
        number = 2
        fresh = name
        while fresh in found or fresh in (BM25, FLOOR):
            fresh = f"{name}-{number}"
            number += 1
        found.append(fresh)
    return found


def _comparisons(
    result: SetResult, models: Sequence[str], baselines: Sequence[str], config: Config
) -> list[dict[str, Any]]:
    rows = []
    for model in models:
        for system in [model] + [f"{model}+{BM25}"] * (f"{model}+{BM25}" in result.values):
            for baseline in baselines:
                differences = result.differences(system, baseline)
                p = p_value(differences, permutations=config.gate.permutations, seed=config.gate.seed)
                low, high = interval(
                    differences, confidence=config.evaluation.confidence, resamples=config.evaluation.resamples
                )
                sentence = (
                    f"{system} against {baseline}: nDCG@10 {differences.mean:+.4f} "
                    f"({config.evaluation.confidence:.0%} interval {low:+.4f} to {high:+.4f}; "
                    f"p that it is not better: {p:.4f})"
                )
                rows.append(
                    {"system": system, "baseline": baseline, "difference": round(differences.mean, 6), "p_value": p,
                     "interval": [round(low, 6), round(high, 6)], "sentence": sentence}
                )  # fmt: skip
    return rows


def _write(target: Path, written: dict[str, Any]) -> None:
    """The report's files; report.json comes last and whole, so whoever finds it finds all."""
    (target / "report.html").write_text(report.html_page(written), encoding="utf-8")
    (target / "table.txt").write_text(report.render_evaluation(written["sets"]) + "\n", encoding="utf-8")
    partial = target / ".report.json"
    partial.write_text(json.dumps(written, ensure_ascii=False, indent=2), encoding="utf-8")
    partial.replace(target / "report.json")
