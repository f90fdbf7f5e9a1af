"""Tests of significance against exact counts, textbook values and their promised error rates."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.ranking.significance import Differences, holm, interval, lower_bound, p_value


def differences(values: list[float]) -> Differences:
    return Differences.of(np.array(values), 0.0)


def test_exact_p_counts_every_sign_pattern() -> None:
    values = [0.3, 0.1, -0.05, 0.2, 0.0, 0.1]
    kept = [v for v in values if v]
    patterns = [
        sum(s * abs(v) for s, v in zip(signs, kept, strict=True)) for signs in itertools.product((1, -1), repeat=5)
    ]
    expected = np.mean([total >= sum(kept) - 1e-12 for total in patterns])
    assert p_value(differences(values)) == pytest.approx(expected)


def test_all_wins_have_the_smallest_p() -> None:
    assert p_value(differences([0.1] * 10)) == pytest.approx(2**-10)
    assert p_value(differences([-0.1] * 10)) == 1


def test_equal_systems_have_p_one() -> None:
    assert p_value(differences([0.0] * 100)) == 1
    assert interval(differences([0.0] * 100)) == (0, 0)
    assert p_value(differences([])) == 1


def test_sampled_p_is_near_the_exact_one_and_the_same_again() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0.1, 0.3, 14)
    exact = p_value(Differences.of(values, 0.0))
    padded = np.concatenate([values, [1e-7, -1e-7]])  # two groups more: now it is sampled
    sampled = p_value(Differences.of(padded, 0.0), seed=1)
    assert sampled == pytest.approx(exact, abs=0.01)
    assert p_value(Differences.of(padded, 0.0), seed=1) == sampled


def test_sampled_p_is_never_zero() -> None:
    assert p_value(differences([0.5] * 60), permutations=10_000) == pytest.approx(1 / 10_001)


def test_false_alarms_stay_at_the_level_promised() -> None:
    rng = np.random.default_rng(5)
    hits = [p_value(Differences.of(rng.normal(0, 0.2, 60), 0.0), permutations=2000, seed=i) < 0.05 for i in range(400)]
    assert 0.02 < np.mean(hits) < 0.085


def test_repeated_queries_of_one_document_add_no_certainty() -> None:
    """Ten copies of twelve observations are twelve observations: without groups p would be near 0."""
    rng = np.random.default_rng(8)
    values = rng.normal(0.05, 0.2, 12)
    values += 0.08 - values.mean()
    copies, groups = np.repeat(values, 10), np.repeat(np.arange(12), 10)
    assert p_value(Differences.of(copies, 0.0, groups)) == pytest.approx(p_value(Differences.of(values, 0.0)))
    assert p_value(Differences.of(copies, 0.0)) < 0.5 * p_value(Differences.of(copies, 0.0, groups))
    wide, narrow = interval(Differences.of(copies, 0.0, groups)), interval(Differences.of(copies, 0.0))
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_interval_is_students_for_many_queries() -> None:
    values = np.random.default_rng(2).normal(0.03, 0.2, 400)
    low, high = interval(Differences.of(values, 0.0))
    error = values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.003)
    bound = lower_bound(Differences.of(values, 0.0), significance=0.05)
    assert bound == pytest.approx(values.mean() - 1.645 * error, abs=0.003)


def test_mean_is_over_queries_not_over_groups() -> None:
    found = Differences.of(np.array([1.0, 1.0, 1.0, 0.0]), 0.0, np.array([7, 7, 7, 9]))
    assert found.mean == 0.75
    assert found.queries == 4
    assert len(found.sums) == 2


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
