"""A full recount of real news beside the plan's way, which recomputes everything from the documents.

`python benchmarks/temporal_recount.py DATABASE_URL NEWS.jsonl.gz TOKENIZER.json`, with an empty database.

Ours: an older counting version is there; a new vocabulary (or analyser) is recounted through Postgres, in batches with
their old times, and a day is learned of it. The peer, in this process: read the texts, cut them, and compute decayed
IDF, windowed IDF for 30, 90 and 365 days, and recent against past frequencies, with dictionaries, for one day. Both cut
with the same tokenizer and the same word analyser. Printed: documents a second and the ratio.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gzip
import json
import math
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer

from pipeline.asof import AsOf, day_of
from pipeline.config import Config
from pipeline.progress import silent
from pipeline.temporal import counting, learn_statistics
from pipeline.text import words
from tests.temporal_data import Given, open_context, put_articles, put_base_folder


def plain(documents: Iterable[Iterable[str]], days: list[dt.date]) -> int:
    """Decayed and windowed IDF and trends of the newest day, recomputed from all documents; how many terms."""
    last = max(days)
    decayed: Counter[str] = Counter()
    windows = {length: Counter() for length in (30, 90, 365)}
    recent: Counter[str] = Counter()
    past: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for document, day in zip(documents, days, strict=True):
        age = (last - day).days
        weight = 0.95**age
        terms = set(document)
        totals["decayed"] += weight
        for term in terms:
            decayed[term] += weight
        for length, window in windows.items():
            if age < length:
                totals[str(length)] += 1
                window.update(terms)
        (recent if age < 1 else past).update(terms)
    idf = {t: math.log(1 + (totals["decayed"] - df + 0.5) / (df + 0.5)) for t, df in decayed.items()}
    for length, window in windows.items():
        idf |= {
            f"{length} {t}": math.log(1 + (totals[str(length)] - df + 0.5) / (df + 0.5)) for t, df in window.items()
        }
    lift = {t: n / (past[t] + 1) for t, n in recent.items()}
    return len(idf) + len(lift)


def main() -> None:
    """Print both levels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("news")
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--words", type=int, default=5000, help="documents recounted as words, the slow level")
    options = parser.parse_args()
    with gzip.open(options.news, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    days = [day_of(dt.datetime.fromisoformat(row["date"])) for row in rows]
    given = [Given(day, r["text"], r["title"], r["source"]) for day, r in zip(days, rows, strict=True)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ctx = open_context(options.url, folder, Config())
        old, new = folder / "old", folder / "new"
        spec = json.loads(options.tokenizer.read_text(encoding="utf-8"))
        old.mkdir(), new.mkdir()
        (old / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
        spec["model"]["vocab"] |= {"##가람새말": max(spec["model"]["vocab"].values()) + 1}
        (new / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
        put_base_folder(ctx, old)
        put_articles(ctx, given[: options.words])
        counting.count_articles(ctx)

        words.RULES += 1
        started = time.perf_counter()
        done, _ = counting._count_level(ctx, "word", counting.word_key(), counting.by_words, silent)
        ours = done / (time.perf_counter() - started)
        started = time.perf_counter()
        texts = [counting.document(g.title, g.text) for g in given[: options.words]]
        plain((map(str, had.terms) for had in counting.word_terms(texts)), days[: options.words])
        theirs = options.words / (time.perf_counter() - started)
        print(
            f"words, {done} documents: {ours:,.0f} a second; recomputed {theirs:,.0f} a second ({ours / theirs:.2f}x)"
        )

        put_articles(ctx, given[options.words :])
        key = next(iter(counting.vocabularies(ctx)))
        text = (old / "tokenizer.json").read_text(encoding="utf-8")
        counting._count_level(ctx, "token", key, counting.by_tokens(text), silent)
        key = put_base_folder(ctx, new)
        text = (new / "tokenizer.json").read_text(encoding="utf-8")
        started = time.perf_counter()
        done, _ = counting._count_level(ctx, "token", key, counting.by_tokens(text), silent)
        ours = done / (time.perf_counter() - started)
        started = time.perf_counter()
        learn_statistics(ctx, AsOf(max(days), ctx.store.settle()))
        learned = time.perf_counter() - started
        tokenizer = Tokenizer.from_str(text)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        started = time.perf_counter()
        texts = [counting.document(row["title"], row["text"]) for row in rows]
        batches = (
            tokenizer.encode_batch(texts[n : n + 2000], add_special_tokens=False) for n in range(0, len(texts), 2000)
        )
        plain((encoded.tokens for batch in batches for encoded in batch), days)
        whole = time.perf_counter() - started
        theirs = len(rows) / whole
        print(
            f"tokens, {done} documents: {ours:,.0f} a second; recomputed {theirs:,.0f} a second ({ours / theirs:.2f}x)"
        )
        print(f"learning a day of them: {learned:.1f} s; recomputing a day: {whole:.1f} s ({whole / learned:.1f}x)")
        ctx.store.close()


if __name__ == "__main__":
    main()
