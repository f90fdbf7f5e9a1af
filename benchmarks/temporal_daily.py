"""What day N+1 costs after 10, 100 and 1,000 days of history.

`python benchmarks/temporal_daily.py DATABASE_URL NEWS.jsonl.gz TOKENIZER.json [--documents N]`, an empty database.

The history is written as batches of counts: for each day the document frequency of every word and token is drawn from
Binomial(documents, p), with p measured on --sample articles of NEWS. The history's articles have rows only with --rows
(a million take a minute). Day N+1 is 1,000 other articles of NEWS, and everything of it is the product's own: counting
them as tokens and words, learning the day, its query weights. Seconds by the clock, and this process's own of a busy
machine's processor; and what Postgres read for it: rows for counting, rows and batches of counts for learning.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gzip
import itertools
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from tokenizers import Tokenizer

from pipeline.asof import AsOf
from pipeline.config import Config
from pipeline.store import counts as store
from pipeline.store.base import writing
from pipeline.store.counts import Counts
from pipeline.temporal import counting, learn_statistics, make_query_weights
from tests.temporal_data import Given, open_context, put_articles, put_base_folder

LAST = dt.date(2026, 11, 20)
TABLES = (
    "trends, statistics, count_sums, words, counted_articles, count_batches, counting_versions, article_versions, "
    "articles, models, query_weights"
)
OLD_ARTICLES = """
    INSERT INTO articles (url, outlet, published_at, day, first_seen_at)
    SELECT 'https://old.example/' || n, 'o', now(), CAST(:last AS date) - 1 - CAST(n % :days AS int), now()
    FROM generate_series(1, :n) n
"""
OLD_COUNTED = """
    INSERT INTO counted_articles (version_id, article_id, batch_id)
    SELECT :v, id, (SELECT min(id) FROM count_batches WHERE version_id = :v) FROM articles
"""


def measured(news: str, tokenizer: Path, sample: int):
    """(token ids, shares), (words, shares) of a sample, and 1,000 other articles as day N+1's."""
    with gzip.open(news, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in itertools.islice(lines, 20_000, 20_000 + sample + 1000)]
    texts = [counting.document(row["title"], row["text"]) for row in rows[:sample]]
    cutter = Tokenizer.from_file(str(tokenizer))
    cutter.no_truncation()
    cutter.no_padding()
    tokens = Counter(id_ for e in cutter.encode_batch(texts, add_special_tokens=False) for id_ in set(e.ids))
    words = Counter(str(term) for had in counting.word_terms(texts) for term in had.terms)
    ids = np.array(sorted(tokens), np.int64)
    names = sorted(words)
    given = [Given(LAST, r["text"], r["title"], r["source"]) for r in rows[sample:]]
    shares = np.array([words[name] for name in names]) / sample
    return (ids, np.array([tokens[i] for i in ids]) / sample), (names, shares), given


def write_day(conn, version: int, ids: np.ndarray, day: dt.date, shares: np.ndarray, documents: int, rng) -> None:
    df = rng.binomial(documents, shares)
    had = np.flatnonzero(df)
    bits = rng.integers(1, 2**63, len(had), dtype=np.uint64)
    total = int(df.sum())
    counts = Counts(ids[had], df[had], df[had], bits, documents, documents, total, int(total / 1.8), 2**63 - 1)
    store.add_batch(conn, version, day, writing(conn), counts, [])


READ = """
    SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)),
           sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FILTER (WHERE relname = 'count_batches')
    FROM pg_stat_user_tables
"""


def read_so_far(ctx) -> np.ndarray:
    """Rows of all tables, and of batches, that Postgres has read in this database."""
    ctx.store.engine.dispose()  # a session tells what it read at the latest when it ends
    time.sleep(0.5)
    with ctx.store.begin() as conn:
        return np.array(conn.execute(sa.text(READ)).one(), np.int64)


def run(options: argparse.Namespace, days: int, documents: int, tokens, words, given) -> dict[str, float]:
    """Seconds of day N+1 by what is done, and the size of the history."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ctx = open_context(options.url, folder, Config())
        with ctx.store.begin() as conn:
            conn.execute(sa.text(f"TRUNCATE {TABLES} CASCADE"))
        (folder / "base").mkdir()
        (folder / "base" / "tokenizer.json").write_bytes(options.tokenizer.read_bytes())
        key = put_base_folder(ctx, folder / "base")
        with ctx.store.begin() as conn:
            token = store.ensure_version(conn, "token", key, writing(conn)).id
            word = store.ensure_version(conn, "word", counting.word_key(), writing(conn)).id
            found = store.word_ids(conn, word, words[0], add=True)
        ids = np.array([found[name] for name in words[0]], np.int64)
        order = np.argsort(ids)
        levels = ((token, *tokens), (word, ids[order], words[1][order]))
        for back in range(days, 0, -1):
            with ctx.store.begin() as conn:
                for version, at, shares in levels:
                    write_day(conn, version, at, LAST - dt.timedelta(days=back), shares, documents, rng)
        if options.rows:
            with ctx.store.begin() as conn:
                many = {"last": LAST, "days": days, "n": days * documents}
                conn.execute(sa.text(OLD_ARTICLES), many)
                for version in (token, word):
                    conn.execute(sa.text(OLD_COUNTED), {"v": version})
                conn.execute(sa.text("ANALYZE articles"))
        with ctx.store.begin() as conn:
            for version in (token, word):
                store.mark_ready(conn, version, writing(conn), store.newest_article(conn))
        learn_statistics(ctx, AsOf(LAST - dt.timedelta(days=1), ctx.store.settle()))
        put_articles(ctx, given)
        with ctx.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(sa.text("VACUUM ANALYZE count_batches"))  # as autovacuum does of its own, sooner or later
        read = [read_so_far(ctx)]
        marks, cpu = [time.perf_counter()], [time.process_time()]
        counting.count_articles(ctx)
        marks.append(time.perf_counter())
        cpu.append(time.process_time())
        between = time.perf_counter()
        read.append(read_so_far(ctx))
        between = time.perf_counter() - between
        number = learn_statistics(ctx, AsOf(LAST, ctx.store.settle()))
        marks.append(time.perf_counter())
        cpu.append(time.process_time())
        make_query_weights(ctx, number)
        marks.append(time.perf_counter())
        cpu.append(time.process_time())
        read.append(read_so_far(ctx))
        with ctx.store.begin() as conn:
            size = conn.execute(sa.text("SELECT avg(length(arrays)) FROM count_batches")).scalar_one()
        ctx.store.close()
    count, learn, weights = np.diff(marks)
    learn -= between
    counted, learned = np.diff(read, axis=0).tolist()
    return {
        "days": days,
        "documents": days * documents,
        "count_s": count,
        "learn_s": learn,
        "weights_s": weights,
        "day_s": count + learn + weights,
        "count_cpu_s": cpu[1] - cpu[0],
        "learn_cpu_s": cpu[2] - cpu[1],
        "count_rows": counted[0],
        "learn_rows": learned[0],
        "learn_batches": learned[1],
        "batch_kb": float(size) / 1e3,
    }


def main() -> None:
    """Print a row for each length of history."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="an empty database that may be filled")
    parser.add_argument("news")
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--documents", type=int, default=1000, help="documents a day of the history")
    parser.add_argument("--days", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--sample", type=int, default=3000)
    parser.add_argument("--rows", action="store_true")
    options = parser.parse_args()
    tokens, words, given = measured(options.news, options.tokenizer, options.sample)
    run(options, 2, 10, tokens, words, given)  # imports and connections are paid once
    for days in options.days:
        row = run(options, days, options.documents, tokens, words, given)
        said = (f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in row.items())
        print("  ".join(said), flush=True)


if __name__ == "__main__":
    main()
