"""What a day of learning costs, part by part: `python benchmarks/learning.py [--kept N] [--new N]`.

- Encoding: our dense encoder beside sentence-transformers' `SentenceTransformer` of the same folder, on packaged
  speeches cut at 300 characters, in turns, as a ratio; the vectors are compared.
- Sums, solution, terms: on vectors and bags of the real sizes with random content. The solution stands beside
  scikit-learn's `Ridge(solver="sparse_cg")` at the same tolerance, which has to be given all queries where ours has
  their sums.

`--kept` texts have vectors already and get new terms by a new table; `--new` are the day's. Peak memory is the
process's own.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import datetime as dt
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import material
from pipeline.config.encoder import EncoderConfig
from pipeline.encoder import QueryTable
from pipeline.encoder.windows import windows
from pipeline.training.base import dense_encoder
from pipeline.training.sums import Sums, solve

SIZE, WIDTH, WINDOWS, TOKENS = 16_000, 384, 3, 6  # tokens, numbers a vector, windows a text, tokens a query


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and the result."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def encoding(texts: int) -> None:
    """Ours beside sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    articles = material.articles(dt.date(2019, 1, 1), dt.date(2019, 12, 31))
    parts = [part for article in articles for part in windows(article.text)][:texts]
    ours = dense_encoder(EncoderConfig())
    with tempfile.TemporaryDirectory() as folder:
        ours.save(Path(folder))
        theirs = SentenceTransformer(folder, device=str(ours.device))
    behind = [ours.settings.passage_prefix + part for part in parts]
    ours.encode(parts[:16], "passage")
    theirs.encode(behind[:16])
    seconds = {"ours": 0.0, "theirs": 0.0}
    for _ in range(2):
        took, mine = timed(lambda: ours.encode(parts, "passage"))
        seconds["ours"] += took
        took, other = timed(lambda: theirs.encode(behind, normalize_embeddings=True))
        seconds["theirs"] += took
    speed = {name: 2 * len(parts) / took for name, took in seconds.items()}
    cosine = float((mine * other).sum(1).min())
    print(f"encoding {len(parts)} windows: {speed['ours']:.1f} /s, sentence-transformers {speed['theirs']:.1f} /s, "
          f"ratio {speed['ours'] / speed['theirs']:.2f}; least cosine {cosine:.6f}")  # fmt: skip


def bags(queries: int, draw: np.random.Generator) -> sp.csr_matrix:
    """Random bags of tokens, rows of length 1, tokens as frequent as words are."""
    columns = np.minimum((draw.pareto(0.7, queries * TOKENS) * 40).astype(np.int64), SIZE - 1)
    rows = np.repeat(np.arange(queries), TOKENS)
    made = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(queries, SIZE))
    lengths = np.sqrt(np.asarray(made.multiply(made).sum(1)).ravel())
    return sp.csr_matrix(sp.diags(1 / lengths) @ made)


def main() -> None:
    """Print a line a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=int, default=100_000, help="texts that have vectors")
    parser.add_argument("--new", type=int, default=10_000, help="texts of the day")
    parser.add_argument("--windows", type=int, default=96, help="windows encoded; 0 leaves the encoding out")
    parser.add_argument("--days", type=int, default=30, help="days whose sums are added up")
    options = parser.parse_args()
    if options.windows:
        encoding(options.windows)
    draw = np.random.default_rng(0)
    queries = 6 * options.new
    rows = bags(queries, draw)
    vectors = draw.normal(size=(queries, WIDTH)).astype(np.float32)
    took, day = timed(lambda: Sums.of(rows, vectors))
    print(f"sums of {options.new} texts ({queries} queries): {took:.1f} s; {day.gram.nnz} pairs of tokens")
    with tempfile.TemporaryDirectory() as folder:
        day.write(Path(folder))
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
        took, total = timed(
            lambda: Sums.total(((1.0, Sums.read(Path(folder))) for _ in range(options.days)), SIZE, WIDTH)
        )
    print(f"adding {options.days} days of {size / 2**20:.0f} MiB each: {took:.1f} s")
    prior = 0.05 * draw.normal(size=(SIZE, WIDTH)).astype(np.float32)
    took, (table, rounds) = timed(lambda: solve(total, prior, 1.0))
    print(f"solution from the prior: {took:.1f} s, {rounds} rounds")
    took, (_, rounds) = timed(lambda: solve(total, prior, 1.0, start=table + 0.001 * prior))
    print(f"solution from yesterday's table: {took:.1f} s, {rounds} rounds")
    ridge(rows, vectors, day)
    shown = min(options.kept, 20_000)
    windowed = draw.normal(size=(shown * WINDOWS, WIDTH)).astype(np.float16)
    thresholds = np.full(SIZE, 1.2 * np.linalg.norm(table, axis=1).mean(), np.float32)
    made = QueryTable(table, thresholds, 48.0)
    starts = np.arange(0, len(windowed) + 1, WINDOWS)
    took, _ = timed(lambda: made.terms(windowed, starts, 150))
    print(f"terms of {options.kept} kept texts by a new table: {took * options.kept / shown:.0f} s "
          f"({shown} measured; {options.kept * WINDOWS * WIDTH * 2 / 2**30:.2f} GiB of vectors)")  # fmt: skip
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


def ridge(rows: sp.csr_matrix, vectors: np.ndarray, sums: Sums) -> None:
    """One day's solution beside scikit-learn's."""
    from sklearn.linear_model import Ridge

    zero = np.zeros((SIZE, WIDTH), np.float32)
    ours, (table, _) = timed(lambda: solve(sums, zero, 1.0, tolerance=1e-4))
    centred = vectors - vectors.mean(0)
    model = Ridge(alpha=1.0, fit_intercept=False, solver="sparse_cg", tol=1e-4)
    theirs, fitted = timed(lambda: model.fit(rows, centred))
    difference = np.abs(table - fitted.coef_.T).max()
    print(f"one day's solution: {ours:.1f} s, scikit-learn's Ridge {theirs:.1f} s, ratio {theirs / ours:.1f}; "
          f"largest difference {difference:.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
