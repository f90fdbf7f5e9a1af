"""Learning a model from kept vectors: the ladder from the lexical floor to the learned table, each rung by validation.

    floor        the text's own terms alone (gain 0)
    token rows   each token's own dense vector as its row: nothing learned
    learned rows ridge regression from pseudo queries (`pipeline.training.sums`)

A rung is taken only where it beats the one below by more than noise on titles or on short queries and hurts neither, so
nothing is ever learned that makes search worse on what validation can see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.config.training import TrainingConfig
from pipeline.encoder import Encoder, QueryTable
from pipeline.encoder.statistics import corpus_statistics
from pipeline.progress import Progress, silent
from pipeline.text.words import analyse
from pipeline.training.pseudo_queries import keyword_queries, leading_words
from pipeline.training.sums import Sums, solve
from pipeline.vectors import KeptVectors

FIRING_SHARES = (0.05, 0.1, 0.2)
"""Shares of recent texts in which a term may fire: what validation chooses from."""
GAINS = (16.0, 32.0, 48.0, 64.0)
"""Gains that validation chooses from, beside 0."""
SIGNIFICANT = 1.645
"""Standard errors that a mean difference has to have to count (one-sided, 5%)."""
SHORTEST_TITLE = 8
SHORT = (2, 3)
"""Words of a short query: people type two or three (docs/findings.md)."""


@dataclass(frozen=True)
class Recent:
    """The newest texts that may be learned from, oldest first, with their titles ("" where one has none)."""

    texts: list[str]
    titles: list[str]


@dataclass(frozen=True)
class Learned:
    """A table and how it was chosen: ``report`` has the rung, the ladder's steps and the solution's figures."""

    table: QueryTable
    report: dict[str, Any]


def bags(encoder: Encoder, queries: Sequence[str]) -> sp.csr_matrix:
    """Queries as rows (n, V) of length 1, by the encoder's own weights; a query without a known token is a row of 0."""
    rows = encoder.encode_queries(queries)
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
    return sp.csr_matrix(sp.diags(1 / np.maximum(lengths, 1e-12)) @ rows)


def sums_of(
    base: Encoder, groups: Sequence[Sequence[str]], settings: TrainingConfig, progress: Progress = silent
) -> list[Sums]:
    """The sums of the pseudo queries of each group of texts. Their bags have the base's weights, which never change
    under it: sums of different days add up whatever the day's IDF is."""
    texts = [text for group in groups for text in group]
    drawn = keyword_queries(texts, lambda words: _word_weights(base, words), **_drawing(settings))
    queries = [query for row in drawn for query in row]
    vectors = base.dense.encode(queries, "query", lambda done, total: progress("pseudo queries", done, total))
    rows, made, at, text = bags(base, queries), [], 0, 0
    for group in groups:
        size = sum(len(row) for row in drawn[text : text + len(group)])
        made.append(Sums.of(rows[at : at + size], vectors[at : at + size]))
        at, text = at + size, text + len(group)
    return made


def _drawing(settings: TrainingConfig) -> dict[str, Any]:
    return {
        "per_text": settings.queries_per_text,
        "most_words": settings.query_words,
        "heaviest": settings.heaviest_words,
        "seed": settings.seed,
    }


def _word_weights(encoder: Encoder, words: Sequence[str]) -> list[float]:
    """The weight of each word: that of its rarest token."""
    weights = encoder.query_weights
    return [float(max((weights[token] for token in ids), default=0.0)) for ids in encoder.query_ids(words)]


def learn(
    base: Encoder,
    sums: Sums,
    recent: Recent,
    dense: KeptVectors,
    settings: TrainingConfig,
    *,
    warm: NDArray[np.float32] | None = None,
    progress: Progress = silent,
) -> Learned:
    """Climb the ladder. ``dense`` has the vectors of all recent texts; ``warm`` (V, H) is an earlier table to start the
    solution from."""
    assert base.table is not None
    prior = base.table.rows
    progress("solving for the table", 0, 1)
    rows, rounds = solve(sums, settings.prior_share * prior, settings.ridge, start=warm)
    rows[base.blocked] = 0.0
    progress("solving for the table", 1, 1)
    trial = _Trial(base, recent, dense, settings)
    report: dict[str, Any] = {"queries": round(sums.queries, 1), "rounds": rounds, "recent_texts": len(recent.texts)}
    report["validation"] = {name: len(own) for name, (_, own) in trial.sets.items()}
    best = floor = trial.floor()
    rung, steps = "floor", [{"rung": "floor", **floor.means}]
    for number, (name, candidate) in enumerate((("token rows", prior), ("learned rows", rows))):
        progress("choosing by validation", number, 2)
        choice = trial.best(candidate, floor)
        if choice is None:
            continue
        taken = choice.climbs_above(best)
        steps.append({"rung": name, **choice.means, "firing": choice.firing, "gain": choice.table.gain, "taken": taken})
        if taken:
            best, rung = choice, name
    progress("choosing by validation", 2, 2)
    table = best.table if rung != "floor" else replace(best.table, rows=rows)
    return Learned(table, report | {"rung": rung, "ladder": steps, "gain": table.gain})


@dataclass(frozen=True)
class _Choice:
    """A table with what each validation query scores by it: ``values`` (nDCG@10 a query) by set."""

    table: QueryTable
    values: dict[str, NDArray[np.float64]]
    firing: float = 0.0

    @property
    def means(self) -> dict[str, float]:
        return {name: round(float(values.mean()), 4) for name, values in self.values.items()}

    def mean(self) -> float:
        """The mean over the sets."""
        return float(np.mean([values.mean() for values in self.values.values()]))

    def climbs_above(self, other: _Choice) -> bool:
        """Whether this is better on some set, and worse on none, by more than noise (paired differences)."""
        scores = [mean / max(error, 1e-12) for mean, error in self._differences(other)]
        return bool(max(scores) > SIGNIFICANT and min(scores) > -SIGNIFICANT)

    def equals(self, best: _Choice) -> bool:
        """Whether the mean over the sets is within a standard error of that of ``best``."""
        means, errors = zip(*self._differences(best), strict=True)
        return float(np.mean(means)) >= -float(np.linalg.norm(errors)) / len(errors)

    def _differences(self, other: _Choice) -> list[tuple[float, float]]:
        """Mean and standard error of the paired differences on each set."""
        found = []
        for name, values in self.values.items():
            difference = values - other.values[name]
            error = float(difference.std(ddof=1)) / len(difference) ** 0.5 if len(difference) > 1 else np.inf
            found.append((float(difference.mean()), error))
        return found


class _Trial:
    """Validation: titles and short queries that search the recent texts, one answer each."""

    def __init__(self, base: Encoder, recent: Recent, dense: KeptVectors, settings: TrainingConfig) -> None:
        kept = dense.only(recent.texts)
        assert kept is not None
        self.base = base
        self.vectors, self.starts = kept.rows(recent.texts)
        statistics = corpus_statistics(base, recent.texts)
        searching = _over(base, statistics.average_length)
        self.documents = searching.lexical_floor(recent.texts)
        self.sets = {
            name: (base.encode_queries([text for text, _ in rows], statistics.query_weights), [i for _, i in rows])
            for name, rows in _queries(base, recent, settings).items()
            if rows
        }
        self.floors = {name: np.asarray((q @ self.documents.T).todense()) for name, (q, _) in self.sets.items()}

    def floor(self) -> _Choice:
        """The lexical floor: the base's own table, whose gain is 0."""
        assert self.base.table is not None
        none = np.full(len(self.base.vocabulary), np.inf, np.float32)
        table = replace(self.base.table, thresholds=none, gain=0.0)
        return _Choice(table, {name: _ndcg(self.floors[name], own) for name, (_, own) in self.sets.items()})

    def best(self, rows: NDArray[np.float32], floor: _Choice) -> _Choice | None:
        """A firing share and a gain: of those that are below the floor on no set, the smallest gain that is within a
        standard error of the best (by the mean of the sets); None where each is below the floor.

        The smallest, because what a large gain wins on the news it loses on other texts (docs/findings.md).
        """
        table = QueryTable(rows, np.zeros(len(rows), np.float32), 1.0)
        z = table.scores(self.vectors, self.starts)
        choices = []
        for firing in FIRING_SHARES:
            thresholds = np.quantile(z, 1 - firing, axis=0).astype(np.float32)
            thresholds[self.base.blocked] = np.inf
            fired = replace(table, thresholds=thresholds)
            learned = fired.terms(self.vectors, self.starts, self.base.encoding.max_terms)
            gained = {name: np.asarray((q @ learned.T).todense()) for name, (q, _) in self.sets.items()}
            for gain in GAINS:
                values = {
                    name: _ndcg(self.floors[name] + gain * gained[name], own) for name, (_, own) in self.sets.items()
                }
                choices.append(_Choice(fired.with_gain(gain), values, firing))
        safe = [c for c in choices if all(c.values[n].mean() >= floor.values[n].mean() for n in c.values)]
        if not safe:
            return None
        best = max(safe, key=_Choice.mean)
        equal = [choice for choice in safe if choice.equals(best)]
        smallest = min(choice.table.gain for choice in equal)
        return max((choice for choice in equal if choice.table.gain == smallest), key=_Choice.mean)


def _over(base: Encoder, average_length: float) -> Encoder:
    """The base with another corpus' average length."""
    import copy

    other = copy.copy(base)
    other.encoding = replace(base.encoding, average_length=average_length)
    return other


def _queries(base: Encoder, recent: Recent, settings: TrainingConfig) -> dict[str, list[tuple[str, int]]]:
    """Validation queries by set, each with the place of its text. Short ones are a title's first words, and words of
    the text itself where it has no title."""
    titles = [" ".join(title.split()) for title in recent.titles]
    asked = [(title, place) for place, title in enumerate(titles) if len(title) >= SHORTEST_TITLE]
    short: list[tuple[str, int]] = []
    for (_, place), words in zip(asked, analyse([title for title, _ in asked]), strict=True):
        short += [(query, place) for count in SHORT if (query := leading_words(words.words, count))]
    titled = {place for _, place in asked}
    rest = [place for place in range(len(titles)) if place not in titled]
    drawing = _drawing(settings) | {"per_text": 1, "most_words": max(SHORT), "seed": settings.seed + 1}
    drawn = keyword_queries([recent.texts[place] for place in rest], lambda w: _word_weights(base, w), **drawing)
    short += [(row[0], place) for place, row in zip(rest, drawn, strict=True) if row]
    return {"titles": asked, "short": short}


def _ndcg(scores: NDArray[np.floating], own: Sequence[int], depth: int = 10) -> NDArray[np.float64]:
    """nDCG@10 of each query (n,) with one relevant document, ``scores`` (n, documents); ties count against it."""
    mine = scores[np.arange(len(own)), own][:, None]
    rank = (scores >= mine).sum(1)
    return np.asarray(np.where(rank <= depth, 1 / np.log2(rank + 1), 0.0), np.float64)
