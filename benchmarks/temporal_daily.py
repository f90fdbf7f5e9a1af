"""What day N+1 costs after 10, 100 and 1,000 days of history: `python benchmarks/temporal_daily.py DATABASE_URL`.

The history is written as batches of counts, straight into an empty database: for each day the document frequency of
every word is drawn from Binomial(documents, p), with p from the word distribution of the packaged speeches (or Zipf's
law where they are not installed). Reading, summing, scoring and storing are the product's own. `--documents` is a day.
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from pipeline.asof import AsOf
from pipeline.config import Config
from pipeline.store import counts as store
from pipeline.store.base import writing
from pipeline.store.counts import Counts
from pipeline.store.schema import words
from pipeline.temporal import learn_statistics
from tests.temporal_data import open_context, put_base

LAST = dt.date(2026, 11, 20)


def word_shares(size: int) -> np.ndarray:
    """Share of documents that have each word: Zipf-Mandelbrot, fitted to 16,000 news of February 2026."""
    rank = np.arange(1, size + 1)
    return np.minimum(0.35, 1.6 / (rank + 6.0) ** 1.02)


def write_day(conn, version: int, ids: np.ndarray, day: dt.date, shares: np.ndarray, documents: int, rng) -> None:
    df = rng.binomial(documents, shares)
    had = np.flatnonzero(df)
    bits = rng.integers(1, 2**63, len(had), dtype=np.uint64)
    total = int(df.sum())
    counts = Counts(ids[had], df[had], df[had], bits, documents, documents, total, int(total / 1.8), 2**63 - 1)
    store.add_batch(conn, version, day, writing(conn), counts, [])


def run(url: str, days: int, documents: int, vocabulary: int, dictionary: int) -> dict[str, float]:
    """Seconds for learning day N from nothing kept, and day N+1, by the clock and of this process's CPU."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        ctx = open_context(url, Path(folder), Config())
        for table in ("trends", "statistics", "count_sums", "words", "count_batches", "counting_versions", "models"):
            with ctx.store.begin() as conn:
                conn.execute(sa.text(f"DELETE FROM {table}"))
        key = put_base(ctx, [f"t{n}" for n in range(vocabulary - 6)], Path(folder) / "base")
        with ctx.store.begin() as conn:
            token = store.ensure_version(conn, "token", key, writing(conn)).id
            word = store.ensure_version(conn, "word", "synthetic", writing(conn)).id
            names = [f"w{n}" for n in range(dictionary)]
            found = store.word_ids(conn, word, names, add=True)
            word_ids = np.sort(np.array(list(found.values()), np.int64))
            assert conn.execute(sa.select(sa.func.count()).select_from(words)).scalar_one() == dictionary
            for version in (token, word):
                store.mark_ready(conn, version, writing(conn), 0)
        levels = (
            (token, np.arange(6, vocabulary), word_shares(vocabulary - 6)),
            (word, word_ids, word_shares(dictionary)),
        )
        for back in range(days, 0, -1):
            with ctx.store.begin() as conn:
                for version, ids, shares in levels:
                    write_day(conn, version, ids, LAST - dt.timedelta(days=back), shares, documents, rng)
        started = time.process_time()
        learn_statistics(ctx, AsOf(LAST - dt.timedelta(days=1), ctx.store.settle()))
        whole = time.process_time() - started
        with ctx.store.begin() as conn:
            for version, ids, shares in levels:
                write_day(conn, version, ids, LAST, shares, documents, rng)
        started, cpu = time.perf_counter(), time.process_time()
        learn_statistics(ctx, AsOf(LAST, ctx.store.settle()))
        one, one_cpu = time.perf_counter() - started, time.process_time() - cpu
        with ctx.store.begin() as conn:
            size = conn.execute(sa.text("SELECT avg(length(arrays)) FROM count_batches")).scalar_one()
        ctx.store.close()
    return {
        "days": days,
        "documents": days * documents,
        "whole_cpu_s": whole,
        "day_s": one,
        "day_cpu_s": one_cpu,
        "batch_kb": float(size) / 1e3,
    }


def main() -> None:
    """Print a row for each length of history."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="an empty database that may be filled")
    parser.add_argument("--documents", type=int, default=1000, help="documents a day")
    parser.add_argument("--days", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--dictionary", type=int, default=200_000)
    options = parser.parse_args()
    run(options.url, 2, 10, 100, 100)  # imports and connections are paid once
    for days in options.days:
        row = run(options.url, days, options.documents, options.vocabulary, options.dictionary)
        print(
            "  ".join(
                f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in row.items()
            )
        )


if __name__ == "__main__":
    main()
