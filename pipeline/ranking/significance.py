"""Tests on paired differences of per-query values: is a gain real, and how large is it?

Queries that share their relevant document are one observation each, not several: signs are flipped and samples drawn
by *group* of queries. Every number is the same when computed again (seeded).

Sources: paired randomization for retrieval metrics, Smucker, Allan and Carterette 2007 (CIKM); the +1 that keeps a
Monte Carlo p-value valid, Phipson and Smyth 2010; multiple tests, Holm 1979; percentile bootstrap, Efron 1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EXACT_GROUPS = 14
"""Up to so many groups that differ, all 2^n sign patterns are counted instead of sampled."""
_CELLS = 4_000_000  # numbers held at once


@dataclass(frozen=True)
class Differences:
    """Differences of paired values (a - b), summed by group: ``sums`` and ``counts`` (groups,)."""

    sums: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def of(
        cls, a: NDArray[np.float64], b: NDArray[np.float64] | float, groups: NDArray[np.int64] | None = None
    ) -> Differences:
        """Differences of values (n,) with values (n,) or one number; every query its own group by default."""
        difference = np.asarray(a - b, np.float64)
        if groups is None:
            return cls(difference, np.ones(len(difference), np.int64))
        place = np.unique(groups, return_inverse=True)[1]
        sums = np.bincount(place, weights=difference).astype(np.float64)
        return cls(sums, np.bincount(place).astype(np.int64))

    @property
    def queries(self) -> int:
        """How many queries were compared."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """The mean difference over queries; 0 without any."""
        return float(self.sums.sum() / self.queries) if self.queries else 0.0


def p_value(differences: Differences, *, permutations: int = 20_000, seed: int = 0) -> float:
    """One-sided p of "the mean is not above 0" by flipping the signs of the groups' sums.

    Exact for up to `EXACT_GROUPS` groups that differ at all, else ``permutations`` random patterns.
    1 when nothing differs.
    """
    sums = differences.sums[differences.sums != 0]
    if not len(sums):
        return 1.0
    # A sum as large as the observed one must count although it was added up in another order.
    observed = sums.sum() - 1e-9 * np.abs(sums).sum()
    if len(sums) <= EXACT_GROUPS:
        bits = (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1
        return float(np.mean((2 * bits - 1) @ sums >= observed))
    rng = np.random.default_rng(seed)
    hits, done = 0, 0
    step = max(1, _CELLS // len(sums))
    while done < permutations:
        rows = min(step, permutations - done)
        # A flipped total is twice the sum of a random subset less the whole: one product with 0/1 signs.
        subset = rng.integers(0, 2, (rows, len(sums)), dtype=np.int8) @ sums.astype(np.float64)
        hits += int((2 * subset - sums.sum() >= observed).sum())
        done += rows
    return (1 + hits) / (1 + permutations)


def interval(
    differences: Differences, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Two-sided percentile bootstrap interval of the mean, by group; (0, 0) without queries."""
    groups = len(differences.sums)
    if groups == 0:
        return 0.0, 0.0
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _CELLS // groups)
    for start in range(0, resamples, step):
        drawn = rng.integers(0, groups, (min(step, resamples - start), groups))
        means[start : start + len(drawn)] = differences.sums[drawn].sum(axis=1) / differences.counts[drawn].sum(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def lower_bound(differences: Differences, *, significance: float, resamples: int = 10_000, seed: int = 0) -> float:
    """One-sided lower confidence bound (level 1 - significance) of the mean difference."""
    return interval(differences, confidence=1 - 2 * significance, resamples=resamples, seed=seed)[0]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: comparing each with alpha keeps the family's error below alpha."""
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
