"""How often does the gate err? Simulated rounds with per-query values as rankings give them.

    python -m tests.benchmarks.gate_quality [ROUNDS]

prints the tables of docs/gate.md. A query's nDCG@10 is that of one relevant document at a rank r = exp(difficulty +
model's noise): 1 / log2(1 + r), 0 beyond 10. Two models share the difficulties; a true gain moves all ranks of one.
"""

from __future__ import annotations

import sys
import time
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.config.gate import GateConfig
from pipeline.evaluation import gate
from pipeline.evaluation.results import SetResult
from pipeline.ranking.metrics import Cost

NOISE = 0.30
"""Spread of a model's own part of a log rank; gives differences with a standard deviation of about 0.13."""
Array = NDArray[np.float64]


def values(difficulty: Array, shift: float, rng: np.random.Generator, noise: float = NOISE) -> Array:
    """nDCG@10 of each query."""
    rank = np.maximum(1, np.round(np.exp(difficulty + rng.normal(0, noise, len(difficulty)) - shift)))
    return np.where(rank <= 10, 1 / np.log2(1 + rank), 0.0)


def difficulties(queries: int, rng: np.random.Generator) -> Array:
    """Log ranks: about 0.65 nDCG@10 in the mean."""
    return rng.normal(0.6, 1.3, queries)


@cache
def shift_for(gain: float) -> float:
    """The shift of all log ranks that raises the mean nDCG@10 by ``gain`` (by bisection on one large sample)."""
    low, high = -3.0, 3.0
    hard = difficulties(40_000, np.random.default_rng(0))
    start = values(hard, 0.0, np.random.default_rng(1)).mean()
    for _ in range(20):
        middle = (low + high) / 2
        if values(hard, middle, np.random.default_rng(1)).mean() - start < gain:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def result(name: str, scores: dict[str, Array], slices: int = 0) -> SetResult:
    """A set with these per-query values, cut into equal slices."""
    queries = len(next(iter(scores.values())))
    cut = {f"s{i}": np.arange(queries)[i::slices] for i in range(slices)}
    held = SetResult(name, [str(i) for i in range(queries)], np.arange(queries), cut, queries, name)
    held.values = {system: {"ndcg@10": array} for system, array in scores.items()}
    return held


def evidence(sets: list[SetResult], best: gate.Best | None = None) -> gate.Evidence:
    """A candidate against a champion; everything that is not measured here passes."""
    return gate.Evidence(
        candidate_as_of=None,
        champion_as_of=None,
        champion=1,
        is_champion=False,
        sets={held.name: held for held in sets},
        system="candidate",
        reference="champion",
        floor="floor",
        best_anchor=best,
        servable={"passed": True},
        cost=Cost(100, 5, 0.99, 1, 100, 0),
        champion_cost=None,
    )


def one_round(
    queries: int, anchors: int, gain: float, config: GateConfig, seed: int, *, identical: bool = False
) -> dict[str, bool]:
    """Whether each of the three rules about quality passes for a candidate with this true gain everywhere."""
    rng = np.random.default_rng(seed)
    shift = shift_for(gain) if gain else 0.0
    sets = []
    for name, size in ((gate.FRESH, queries), (gate.ANCHOR, anchors)):
        hard = difficulties(size, rng)
        champion = values(hard, 0.0, rng)
        candidate = champion.copy() if identical else values(hard, shift, rng)
        sets.append(result(name, {"candidate": candidate, "champion": champion}, slices=5))
    found = evidence(sets)
    rules = {
        "fresh": gate.better_on_fresh(found, config).passed,
        "anchor": gate.not_worse_on_anchor(found, config).passed,
        "slices": gate.no_slice_falls(found, config).passed,
    }
    return {**rules, "all": all(rules.values())}


def share(
    rounds: int, queries: int, anchors: int, gain: float, config: GateConfig, **options: bool
) -> dict[str, float]:
    """Share of the rounds in which each rule, and all of them, pass."""
    found = [one_round(queries, anchors, gain, config, seed, **options) for seed in range(rounds)]
    return {rule: float(np.mean([one[rule] for one in found])) for rule in found[0]}


def ratchet(
    config: GateConfig, *, rounds: int, loss: float, anchors: int, seed: int, remember: bool
) -> tuple[int, float]:
    """Candidates that each lose a little on the anchor set: (how many were promoted, the whole true loss).

    ``remember`` holds candidates against the best ever served, as the gate does; otherwise only against the champion.
    """
    rng = np.random.default_rng(seed)
    hard = difficulties(anchors, rng)
    depth, promoted = 0.0, 0
    champion = values(hard, 0.0, rng)
    best = champion
    for _ in range(rounds):
        shift = shift_for(round(depth - loss, 6))
        candidate = values(hard, shift, rng)
        held = result(gate.ANCHOR, {"candidate": candidate, "champion": champion})
        known = gate.Best(1, float(best.mean()), best) if remember else None
        if gate.not_worse_on_anchor(evidence([held], known), config).passed:
            promoted, depth, champion = promoted + 1, depth - loss, candidate
            best = candidate if candidate.mean() > best.mean() else best
    return promoted, -depth


def main() -> None:
    """Print the tables."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    started = time.monotonic()
    config = GateConfig(permutations=10_000)
    rng = np.random.default_rng(0)
    hard = difficulties(100_000, rng)
    spread = (values(hard, 0, rng) - values(hard, 0, rng)).std()
    print(f"mean nDCG@10 {values(hard, 0, rng).mean():.3f}, sd of a difference {spread:.3f}, {rounds} rounds\n")
    print(
        "| fresh queries | anchor queries | true gain "
        "| better on fresh | not worse on anchor | no slice falls | promoted |"
    )
    print("|---|---|---|---|---|---|---|")
    for queries, gain in ((300, 0.0), (100, 0.0), (100, 0.02), (300, 0.02), (100, 0.05), (300, 0.05), (300, -0.02)):
        found = share(rounds, queries, 500, gain, config)
        cells = " | ".join(f"{found[rule]:.1%}" for rule in ("fresh", "anchor", "slices", "all"))
        print(f"| {queries} | 500 | {gain:+.2f} | {cells} |", flush=True)
    same = share(min(rounds, 20), 300, 500, 0.0, config, identical=True)
    print(f"\nidentical model: promoted {same['all']:.0%}\n")
    print("| loss a round | remembers the best | promoted of 10 | whole loss |")
    print("|---|---|---|---|")
    for loss in (0.005, 0.01):
        for remember in (False, True):
            runs = [
                ratchet(config, rounds=10, loss=loss, anchors=500, seed=seed, remember=remember)
                for seed in range(max(10, rounds // 10))
            ]
            promoted, lost = np.mean(runs, axis=0)
            print(f"| {loss} | {'yes' if remember else 'no'} | {promoted:.1f} | {lost:.3f} |", flush=True)
    print(f"\n{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
