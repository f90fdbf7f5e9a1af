"""Daily training with the dense encoder frozen: model selection on a ladder of three query tables.

    floor         lexical floor only (gain 0)
    token rows    the row of a token is its own dense vector: nothing learned
    learned rows  ridge regression on pseudo queries (`pipeline.training.sums`)

A rung is taken only where validation shows it significantly better than the one below on titles or on short queries and
significantly worse on neither. Thresholds and gain of a rung are chosen by validation, too.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.artifacts.vectors import KeptVectors
from pipeline.config.training import TrainingConfig
from pipeline.encoder import Encoder, QueryTable
from pipeline.encoder.statistics import corpus_statistics
from pipeline.progress import Progress, silent
from pipeline.text.words import analyse
from pipeline.training.pseudo_queries import keyword_queries, leading_words
from pipeline.training.sums import Sums, solve

ACTIVE_SHARES = (0.05, 0.1, 0.2)
"""Candidates for the share of recent texts in which a token is active (has a learned weight)."""
GAINS = (16.0, 32.0, 48.0, 64.0)
"""Candidates for the gain, besides 0."""
Z_CRITICAL = 1.645
"""Standard errors from which a mean difference is significant (one-sided, 5%)."""
MIN_TITLE_CHARS = 8
SHORT_QUERY_WORDS = (2, 3)
"""Lengths of short queries in words: users mostly type two or three (docs/findings.md)."""


@dataclass(frozen=True)
class Recent:
    """The newest texts that may be trained on, oldest first, with their titles ("" for none): the validation corpus."""

    texts: list[str]
    titles: list[str]


@dataclass(frozen=True)
class Learned:
    """The selected query table; ``report`` holds the rung taken, all steps of the ladder and figures of the solver."""

    table: QueryTable
    report: dict[str, Any]


def bags(encoder: Encoder, queries: Sequence[str]) -> sp.csr_matrix:
    """Query vectors (n, V) of the encoder, scaled to unit length; a row of 0 for a query without known tokens."""
    rows = encoder.encode_queries(queries)
    norms = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
    return sp.csr_matrix(sp.diags(1 / np.maximum(norms, 1e-12)) @ rows)


def sums_of(
    base: Encoder, groups: Sequence[Sequence[str]], settings: TrainingConfig, progress: Progress = silent
) -> list[Sums]:
    """The sums (`Sums`) of the pseudo queries of each group of texts.

    Queries are weighted by the IDF of the base, which is fixed: sums of different days add up although IDF changes.
    """
    texts = [text for group in groups for text in group]
    sampled = keyword_queries(texts, lambda words: _word_weights(base, words), **_sampling(settings))
    queries = [query for row in sampled for query in row]
    vectors = base.dense.encode(queries, "query", lambda done, total: progress("encoding pseudo queries", done, total))
    rows, sums, first_query, first_text = bags(base, queries), [], 0, 0
    for group in groups:
        last_query = first_query + sum(len(row) for row in sampled[first_text : first_text + len(group)])
        sums.append(Sums.of(rows[first_query:last_query], vectors[first_query:last_query]))
        first_query, first_text = last_query, first_text + len(group)
    return sums


def _sampling(settings: TrainingConfig) -> dict[str, Any]:
    return {
        "per_text": settings.queries_per_text,
        "max_words": settings.query_words,
        "top_words": settings.heaviest_words,
        "seed": settings.seed,
    }


def _word_weights(encoder: Encoder, words: Sequence[str]) -> list[float]:
    """The query weight of each word: the largest of its tokens."""
    weights = encoder.query_weights
    return [float(max((weights[token] for token in ids), default=0.0)) for ids in encoder.query_ids(words)]


def learn(
    base: Encoder,
    sums: Sums,
    recent: Recent,
    dense: KeptVectors,
    settings: TrainingConfig,
    *,
    initial: NDArray[np.float32] | None = None,
    progress: Progress = silent,
) -> Learned:
    """Solve for the query table and select the rung of the ladder.

    ``dense`` holds the dense vectors of all recent texts; ``initial`` (V, H) is an earlier table, where the solver
    starts from (warm start).
    """
    assert base.table is not None
    prior = base.table.rows
    progress("solving the ridge regression", 0, 1)
    rows, iterations = solve(sums, settings.prior_share * prior, settings.ridge, start=initial)
    rows[base.blocked] = 0.0
    progress("solving the ridge regression", 1, 1)
    validation = _Validation(base, recent, dense, settings)
    report: dict[str, Any] = {
        "queries": round(sums.queries, 1),
        "iterations": iterations,
        "validation_texts": len(recent.texts),
        "validation": {name: len(relevant) for name, (_, relevant) in validation.sets.items()},
    }
    best = floor = validation.floor()
    rung, steps = "floor", [{"rung": "floor", **floor.means}]
    for number, (name, candidate_rows) in enumerate((("token rows", prior), ("learned rows", rows))):
        progress("validating", number, 2)
        candidate = validation.best(candidate_rows, floor)
        if candidate is None:
            continue
        taken = candidate.is_better_than(best)
        choice = {"active_share": candidate.active_share, "gain": candidate.table.gain, "taken": taken}
        steps.append({"rung": name, **candidate.means, **choice})
        if taken:
            best, rung = candidate, name
    progress("validating", 2, 2)
    table = best.table if rung != "floor" else replace(best.table, rows=rows)
    return Learned(table, report | {"rung": rung, "ladder": steps, "gain": table.gain})


@dataclass(frozen=True)
class _Candidate:
    """A query table with its nDCG@10 of each validation query: ``values`` (n,) by set (titles, short)."""

    table: QueryTable
    values: dict[str, NDArray[np.float64]]
    active_share: float = 0.0

    @property
    def means(self) -> dict[str, float]:
        """The mean nDCG@10 of each set."""
        return {name: round(float(values.mean()), 4) for name, values in self.values.items()}

    def mean(self) -> float:
        """The mean over the sets of their means."""
        return float(np.mean([values.mean() for values in self.values.values()]))

    def is_better_than(self, other: _Candidate) -> bool:
        """Whether this is significantly better on some set and significantly worse on none (paired z-test)."""
        z = [mean / max(error, 1e-12) for mean, error in self._differences(other)]
        return bool(max(z) > Z_CRITICAL and min(z) > -Z_CRITICAL)

    def ties_with(self, best: _Candidate) -> bool:
        """Whether the mean over the sets is at most one standard error below that of ``best``."""
        means, errors = zip(*self._differences(best), strict=True)
        return float(np.mean(means)) >= -float(np.linalg.norm(errors)) / len(errors)

    def _differences(self, other: _Candidate) -> list[tuple[float, float]]:
        """Mean and standard error of the paired differences on each set."""
        differences = []
        for name, values in self.values.items():
            difference = values - other.values[name]
            error = float(difference.std(ddof=1)) / len(difference) ** 0.5 if len(difference) > 1 else np.inf
            differences.append((float(difference.mean()), error))
        return differences


class _Validation:
    """Validation queries over the recent texts, with one relevant document each.

    ``sets`` holds the query vectors (n, V) and the index of the relevant document of each query, by set.
    """

    def __init__(self, base: Encoder, recent: Recent, dense: KeptVectors, settings: TrainingConfig) -> None:
        kept = dense.only(recent.texts)
        assert kept is not None
        self.base = base
        self.vectors, self.starts = kept.rows(recent.texts)
        statistics = corpus_statistics(base, recent.texts)
        documents = _with_average_length(base, statistics.average_length).lexical_floor(recent.texts)
        self.sets = {
            name: (base.encode_queries([text for text, _ in rows], statistics.query_weights), [i for _, i in rows])
            for name, rows in _validation_queries(base, recent, settings).items()
            if rows
        }
        self.floor_scores = {name: np.asarray((q @ documents.T).todense()) for name, (q, _) in self.sets.items()}

    def floor(self) -> _Candidate:
        """The lexical floor alone: the table of the base with gain 0."""
        assert self.base.table is not None
        infinite = np.full(len(self.base.vocabulary), np.inf, np.float32)
        table = replace(self.base.table, thresholds=infinite, gain=0.0)
        values = {name: _ndcg(self.floor_scores[name], relevant) for name, (_, relevant) in self.sets.items()}
        return _Candidate(table, values)

    def best(self, rows: NDArray[np.float32], floor: _Candidate) -> _Candidate | None:
        """The best active share and gain for ``rows`` by grid search; None where all are below the floor on some set.

        Of the candidates within one standard error of the best, one with the smallest gain is chosen: what a large gain
        wins on news it loses on other texts (docs/findings.md).
        """
        table = QueryTable(rows, np.zeros(len(rows), np.float32), 1.0)
        z = table.scores(self.vectors, self.starts)
        candidates = []
        for share in ACTIVE_SHARES:
            thresholds = np.quantile(z, 1 - share, axis=0).astype(np.float32)
            thresholds[self.base.blocked] = np.inf
            table = replace(table, thresholds=thresholds)
            learned = table.with_gain(1.0).terms(self.vectors, self.starts, self.base.encoding.max_terms)
            scores = {name: np.asarray((q @ learned.T).todense()) for name, (q, _) in self.sets.items()}
            for gain in GAINS:
                values = {
                    name: _ndcg(self.floor_scores[name] + gain * scores[name], relevant)
                    for name, (_, relevant) in self.sets.items()
                }
                candidates.append(_Candidate(table.with_gain(gain), values, share))
        safe = [c for c in candidates if all(c.values[n].mean() >= floor.values[n].mean() for n in c.values)]
        if not safe:
            return None
        best = max(safe, key=_Candidate.mean)
        tied = [candidate for candidate in safe if candidate.ties_with(best)]
        smallest = min(candidate.table.gain for candidate in tied)
        return max((candidate for candidate in tied if candidate.table.gain == smallest), key=_Candidate.mean)


def _with_average_length(base: Encoder, average_length: float) -> Encoder:
    """A shallow copy of the base with the average document length of another corpus."""
    other = copy.copy(base)
    other.encoding = replace(base.encoding, average_length=average_length)
    return other


def _validation_queries(base: Encoder, recent: Recent, settings: TrainingConfig) -> dict[str, list[tuple[str, int]]]:
    """Validation queries by set, each with the index of its relevant text.

    Short queries are the first words of a title; a text without a title gets a pseudo query instead.
    """
    titles = [" ".join(title.split()) for title in recent.titles]
    titled = [(title, index) for index, title in enumerate(titles) if len(title) >= MIN_TITLE_CHARS]
    short: list[tuple[str, int]] = []
    for (_, index), words in zip(titled, analyse([title for title, _ in titled]), strict=True):
        short += [(query, index) for count in SHORT_QUERY_WORDS if (query := leading_words(words.words, count))]
    untitled = sorted(set(range(len(titles))) - {index for _, index in titled})
    sampling = _sampling(settings) | {"per_text": 1, "max_words": max(SHORT_QUERY_WORDS), "seed": settings.seed + 1}
    sampled = keyword_queries([recent.texts[i] for i in untitled], lambda words: _word_weights(base, words), **sampling)
    short += [(queries[0], index) for index, queries in zip(untitled, sampled, strict=True) if queries]
    return {"titles": titled, "short": short}


def _ndcg(scores: NDArray[np.floating], relevant: Sequence[int], depth: int = 10) -> NDArray[np.float64]:
    """nDCG@``depth`` (n,) of queries with one relevant document each, by the ``scores`` (n, documents).

    ``relevant`` are the columns of the relevant documents, which rank last among documents of the same score.
    """
    rank = (scores >= scores[np.arange(len(relevant)), relevant][:, None]).sum(1)
    return np.asarray(np.where(rank <= depth, 1 / np.log2(rank + 1), 0.0), np.float64)
