"""What an evaluation measured: per-query values of every system on every query set: the tests need them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.query_sets import Corpus, QuerySet
from pipeline.errors import CorruptArtifactError
from pipeline.hashing import content_hash
from pipeline.ranking.metrics import METRICS, Cost, Judgments, Values, measure
from pipeline.ranking.runs import Run
from pipeline.ranking.significance import Differences, interval


@dataclass
class SetResult:
    """One query set: ``values[system][metric]`` is (queries,), rows as in ``ids``."""

    name: str
    ids: list[str]
    groups: NDArray[np.int64]  # queries of one relevant document share a group
    slices: dict[str, NDArray[np.int64]]  # rows of each slice
    documents: int
    identity: str  # of the queries, their judgments and the corpus: values of equal identities can be compared
    values: dict[str, Values] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    _judged: Judgments | None = None

    @classmethod
    def of(cls, queries: QuerySet, corpus: Corpus) -> SetResult:
        """A set nothing was measured on yet."""
        judged = Judgments.of(queries.queries, corpus.ids)
        slices: dict[str, list[int]] = {}
        for row, query in enumerate(queries.queries):
            for name in dict.fromkeys(query.slices):
                slices.setdefault(name, []).append(row)
        identity = content_hash(
            [[(q.id, q.text, sorted(q.relevant.items())) for q in queries.queries], corpus.ids, corpus.texts]
        )
        return cls(
            queries.name,
            [query.id for query in queries.queries],
            judged.groups(),
            {name: np.array(rows) for name, rows in sorted(slices.items())},
            len(corpus),
            identity[:20],
            _judged=judged,
        )

    def add(self, system: str, run: Run, cost: Cost | None = None) -> None:
        """Measure a system's run."""
        assert self._judged is not None, "a result read from a file takes no runs"
        self.values[system] = measure(run, self._judged)
        if cost is not None:
            self.costs[system] = cost

    def differences(
        self, a: str, b: str, metric: str = "ndcg@10", rows: NDArray[np.int64] | None = None
    ) -> Differences:
        """Differences a - b of two systems, over all queries or some rows."""
        picked = np.arange(len(self.ids)) if rows is None else rows
        return Differences.of(self.values[a][metric][picked], self.values[b][metric][picked], self.groups[picked])

    def mean(self, system: str, metric: str = "ndcg@10", rows: NDArray[np.int64] | None = None) -> float:
        """A system's mean over all queries or some rows; 0 without queries."""
        values = self.values[system][metric] if rows is None else self.values[system][metric][rows]
        return float(values.mean()) if len(values) else 0.0

    def summary(self, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0) -> dict[str, dict[str, Any]]:
        """Of each system its means, their intervals, its costs and its means by slice: JSON-able."""
        found: dict[str, dict[str, Any]] = {}
        for system, values in self.values.items():
            row: dict[str, Any] = {metric: round(self.mean(system, metric), 6) for metric in METRICS}
            row["queries"], row["documents"] = len(self.ids), self.documents
            row["confidence_intervals"] = {
                metric: [
                    round(end, 6)
                    for end in interval(
                        Differences.of(values[metric], 0.0, self.groups),
                        confidence=confidence,
                        resamples=resamples,
                        seed=seed,
                    )
                ]
                for metric in METRICS
            }
            if system in self.costs:
                cost = self.costs[system]
                row |= {
                    "active_terms": round(cost.active_terms, 3),
                    "query_terms": round(cost.query_terms, 3),
                    "sparsity": round(cost.sparsity, 6),
                    "flops": round(cost.flops, 6),
                    "postings": cost.postings,
                    "unusable_weights": cost.unusable,
                }
            if self.slices:
                row["slices"] = {
                    name: {"queries": len(rows), "ndcg@10": round(self.mean(system, rows=rows), 6)}
                    for name, rows in self.slices.items()
                }
            found[system] = row
        return found


def write(results: list[SetResult], folder: Path) -> None:
    """Write ``queries.json`` (sets, ids, groups, slices) and ``values.npz``; the caller stores the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[np.float64]] = {}
    sets = []
    for result in results:
        keys: dict[str, dict[str, str]] = {}
        for system, values in result.values.items():
            for metric, numbers in values.items():
                name = f"v{len(arrays)}"
                arrays[name] = numbers
                keys.setdefault(system, {})[metric] = name
        sets.append(
            {
                "name": result.name,
                "ids": result.ids,
                "groups": result.groups.tolist(),
                "slices": {name: rows.tolist() for name, rows in result.slices.items()},
                "documents": result.documents,
                "identity": result.identity,
                "values": keys,
                "costs": {system: vars(cost) for system, cost in result.costs.items()},
            }
        )
    (folder / "queries.json").write_text(json.dumps({"sets": sets}, ensure_ascii=False), encoding="utf-8")
    np.savez(folder / "values.npz", **arrays)  # type: ignore[arg-type]


def read(folder: Path) -> list[SetResult]:
    """The results that `write` stored."""
    try:
        sets = json.loads((folder / "queries.json").read_text(encoding="utf-8"))["sets"]
        with np.load(folder / "values.npz", allow_pickle=False) as held:
            return [
                SetResult(
                    name=one["name"],
                    ids=one["ids"],
                    groups=np.array(one["groups"], np.int64),
                    slices={name: np.array(rows, np.int64) for name, rows in one["slices"].items()},
                    documents=one["documents"],
                    identity=one["identity"],
                    values={s: {m: held[k] for m, k in keys.items()} for s, keys in one["values"].items()},
                    costs={system: Cost(**cost) for system, cost in one["costs"].items()},
                )
                for one in sets
            ]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise CorruptArtifactError(
            f"{folder} holds no readable evaluation ({error}): evaluate the model again"
        ) from error
