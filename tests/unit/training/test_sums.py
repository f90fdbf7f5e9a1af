"""The table's statistics are sums: of any batches, in any order, faded by day; and what is solved is the ridge fit."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge

from pipeline.errors import CorruptArtifactError
from pipeline.training.sums import Sums, solve

SIZE, WIDTH = 40, 8


def data(queries: int = 300, seed: int = 0) -> tuple[sp.csr_matrix, np.ndarray]:
    draw = np.random.default_rng(seed)
    bags = sp.random(queries, SIZE, density=0.1, random_state=seed, format="csr")
    return bags, (bags @ draw.normal(size=(SIZE, WIDTH)) + 0.1 * draw.normal(size=(queries, WIDTH)) + 0.5)


def equal(one: Sums, other: Sums) -> None:
    np.testing.assert_allclose(one.gram.toarray(), other.gram.toarray(), rtol=1e-6, atol=1e-9)
    for name in ("cross", "tokens", "target", "queries"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6, atol=1e-6)


def test_batches_add_up_in_any_order(tmp_path):
    bags, vectors = data()
    parts = [Sums.of(bags[i : i + 10], vectors[i : i + 10]) for i in range(0, 300, 10)]
    whole = Sums.of(bags, vectors)
    equal(Sums.total([(1.0, part) for part in parts], SIZE, WIDTH), whole)
    equal(Sums.total([(1.0, part) for part in reversed(parts)], SIZE, WIDTH), whole)
    for number, part in enumerate(parts):
        part.write(tmp_path / str(number))
    read = [Sums.read(tmp_path / str(number)) for number in range(len(parts))]
    equal(Sums.total([(1.0, part) for part in read], SIZE, WIDTH), whole)


def test_a_faded_sum_is_a_weighted_fit():
    bags, vectors = data()
    days = np.arange(300) % 5
    faded = Sums.total([(0.9**day, Sums.of(bags[days == day], vectors[days == day])) for day in range(5)], SIZE, WIDTH)
    prior = np.zeros((SIZE, WIDTH))
    table, _ = solve(faded, prior, 1e-6, tolerance=1e-7)
    weights = 0.9**days
    mean = (weights[:, None] * vectors).sum(0) / weights.sum()
    direct = Ridge(alpha=1e-6, fit_intercept=False).fit(bags.toarray(), vectors - mean, sample_weight=weights)
    np.testing.assert_allclose(table, direct.coef_.T, atol=2e-3)


def test_the_solution_of_the_sums_is_the_direct_fit():
    bags, vectors = data()
    draw = np.random.default_rng(1)
    prior = draw.normal(size=(SIZE, WIDTH))
    parts = [Sums.of(bags[i : i + 50], vectors[i : i + 50]) for i in range(0, 300, 50)]
    table, rounds = solve(Sums.total([(1.0, part) for part in parts], SIZE, WIDTH), prior, 2.0, tolerance=1e-8)
    centred = vectors - vectors.mean(0)
    # Ridge towards a prior is ridge of what the prior leaves.
    rest = Ridge(alpha=2.0, fit_intercept=False, solver="cholesky").fit(bags.toarray(), centred - bags @ prior)
    np.testing.assert_allclose(table, prior + rest.coef_.T, atol=1e-6)
    assert rounds < 60
    again, fewer = solve(Sums.of(bags, vectors), prior, 2.0, start=table, tolerance=1e-5)
    assert fewer <= 1
    np.testing.assert_allclose(again, table, atol=1e-5)


def test_a_token_that_no_query_has_keeps_its_prior():
    bags, vectors = data()
    bags = sp.csr_matrix(bags @ sp.diags((np.arange(SIZE) != 7).astype(float)))
    prior = np.random.default_rng(2).normal(size=(SIZE, WIDTH)).astype(np.float32)
    table, _ = solve(Sums.of(bags, vectors), prior, 1.0)
    np.testing.assert_allclose(table[7], prior[7], atol=1e-5)


def test_broken_sums_are_named(tmp_path):
    bags, vectors = data()
    Sums.of(bags, vectors).write(tmp_path / "s")
    (tmp_path / "s" / "sums.npz").write_bytes(b"x")
    with pytest.raises(CorruptArtifactError, match="readable sums"):
        Sums.read(tmp_path / "s")
