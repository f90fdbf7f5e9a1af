"""Trends of real news: the lists, whether another crawl's headlines agree, and how many are found where none can be.

`python benchmarks/temporal_trends.py NEWS.jsonl.gz --days 2026-02-19 2026-02-24 --headlines HEADLINES.jsonl.gz`

- lists: the product's scores and grouping over all articles of NEWS (each its own story), the top of each day.
- headlines: of the --top words of a day, how many are in at least two headlines of that day or the next, and of those
  how many are at least four times as frequent there as in all other days of HEADLINES (lines with title and date).
- shuffled: every article gets the date of another one, so nothing can trend; lists that are not empty are wrong, and
  Benjamini-Hochberg promises at most 5% of them.
- twins: every word gets a twin that occurs in as many articles, shuffled, and is tested with the real ones: the share
  of twins among what is found is the false-discovery rate where there are true trends too.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gzip
import json
import time

import numpy as np
import scipy.sparse as sp

from pipeline.asof import day_of
from pipeline.config.temporal import TemporalConfig
from pipeline.store.counts import Counts
from pipeline.temporal import calendar
from pipeline.temporal.counting import document, word_terms
from pipeline.temporal.grouping import group
from pipeline.temporal.trending import compare, score

CONFIG = TemporalConfig()


def occurrences(texts: list[str]) -> tuple[sp.csr_matrix, list[str]]:
    """(texts, words) of 0 and 1, and the words."""
    number: dict[str, int] = {}
    held = [[number.setdefault(str(term), len(number)) for term in had.terms] for had in word_terms(texts)]
    columns = np.concatenate([np.array(ids, np.int64) for ids in held])
    indptr = np.cumsum([0, *map(len, held)])
    ones = np.ones(len(columns), np.int32)
    return sp.csr_matrix((ones, columns, indptr), shape=(len(texts), len(number))), list(number)


def by_day(words: sp.csr_matrix, days: np.ndarray, outlets: np.ndarray) -> dict[dt.date, Counts]:
    """Each day's counts; a term's id is its column, an outlet's number its bit."""
    ordinals, rows = np.unique(days, return_inverse=True)

    def summed(kept: np.ndarray) -> sp.csr_matrix:
        chosen = np.flatnonzero(kept)
        shape = (len(ordinals), len(days))
        made = sp.csr_matrix((np.ones(len(chosen), np.int32), (rows[chosen], chosen)), shape=shape) @ words
        made.sort_indices()
        return made

    sums = summed(np.ones(len(days), np.bool_))
    by_outlet = [summed(outlets == number) for number in range(outlets.max() + 1)]
    found = {}
    for row, ordinal in enumerate(ordinals):
        ids = sums.indices[sums.indptr[row] : sums.indptr[row + 1]].astype(np.int64)
        had = sums.data[sums.indptr[row] : sums.indptr[row + 1]].astype(np.int64)
        stories, total = int((rows == row).sum()), int(had.sum())
        bits = np.zeros(len(ids), np.uint64)
        for number, part in enumerate(by_outlet):
            said = part.indices[part.indptr[row] : part.indptr[row + 1]]
            bits[np.searchsorted(ids, said)] |= np.uint64(1 << number)
        found[dt.date.fromordinal(int(ordinal))] = Counts(
            ids, had, had, bits, stories, stories, total, total, (1 << len(by_outlet)) - 1
        )
    return found


def discovered(counts: dict[dt.date, Counts], day: dt.date) -> np.ndarray:
    """Ids of the words that pass as trends of a day."""
    scores = score(compare(counts, day, CONFIG), CONFIG)
    return scores.ids[scores.passed]


def shown(counts: dict[dt.date, Counts], day: dt.date, names: list[str], top: int) -> list[tuple[str, int, int]]:
    """(word, recent stories, past ones) as a person sees them, strongest first."""
    comparison = compare(counts, day, CONFIG)
    scores = score(comparison, CONFIG)
    passed = np.flatnonzero(scores.passed)
    passed = passed[np.argsort(-scores.surprise[passed], kind="stable")][:500]
    at = {names[int(scores.ids[i])]: int(i) for i in passed}
    scale = comparison.recent.n_stories / max(comparison.past.n_stories, 1)
    entries = group(
        list(at),
        {word: int(scores.recent[i]) for word, i in at.items()},
        {word: float(scores.surprise[i]) for word, i in at.items()},
        CONFIG.absorb_share,
        {word: CONFIG.min_lift * float(scores.past[i]) * scale for word, i in at.items()},
    )
    return [(e.word, int(scores.recent[at[e.word]]), int(scores.past[at[e.word]])) for e in entries[:top]]


def read(path: str) -> list[dict[str, str]]:
    """The lines of a gzipped JSONL."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def agree(words: list[str], day: dt.date, headlines: list[tuple[str, dt.date]]) -> tuple[int, int]:
    """(words in two headlines of the day or the next, those of them four times as frequent there as elsewhere)."""
    near = [title for title, when in headlines if 0 <= (when - day).days <= 1]
    far = [title for title, when in headlines if not -3 <= (when - day).days <= 3]
    known = agreed = 0
    for word in words:
        plain = word.replace(" ", "").replace("-", "")
        here, elsewhere = sum(plain in title for title in near), sum(plain in title for title in far)
        if here >= 2:
            known += 1
            agreed += here / len(near) >= 4 * (elsewhere + 0.5) / len(far)
    return known, agreed


def main() -> None:
    """Print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("news", help="jsonl.gz with title, text, date, source")
    parser.add_argument("--days", nargs="+", type=dt.date.fromisoformat, required=True)
    parser.add_argument("--headlines", help="jsonl.gz with title, date")
    parser.add_argument("--top", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    rows = read(options.news)
    started = time.perf_counter()
    words, names = occurrences([document(row["title"], row["text"]) for row in rows])
    print(f"{len(rows)} articles analysed, {len(rows) / (time.perf_counter() - started):.0f} a second")
    days = np.array([day_of(dt.datetime.fromisoformat(row["date"])).toordinal() for row in rows])
    outlets = np.unique([row["source"] for row in rows], return_inverse=True)[1]
    real = by_day(words, days, outlets)
    lists = {day: shown(real, day, names, options.top) for day in options.days}
    for day, found in lists.items():
        said = (f"{w} {a}/{b}{' (calendar)' if calendar.named(w) else ''}" for w, a, b in found)
        print(f"\n{day}: {len(discovered(real, day))} words found; shown first: {', '.join(said)}")
    if options.headlines:
        told = [(row["title"].upper().replace(" ", "").replace("-", ""), dt.date.fromisoformat(row["date"][:10]))
                for row in read(options.headlines)]  # fmt: skip
        judged = [agree([word for word, *_ in found], day, told) for day, found in lists.items()]
        known, agreed = sum(k for k, _ in judged), sum(a for _, a in judged)
        print(f"\nheadlines: {known} of {sum(map(len, lists.values()))} words are in two or more; {agreed} of {known}"
              " are at least four times as frequent there as in other days")  # fmt: skip
    wrong = found_in_all = 0
    twins = everything = 0
    for seed in range(options.seeds):
        rng = np.random.default_rng(seed)
        mixed = by_day(words, rng.permutation(days), outlets)
        both = by_day(sp.hstack([words, words[rng.permutation(len(days))]], format="csr"), days, outlets)
        for day in options.days:
            here = len(discovered(mixed, day))
            wrong, found_in_all = wrong + bool(here), found_in_all + here
            ids = discovered(both, day)
            twins, everything = twins + int((ids >= len(names)).sum()), everything + len(ids)
    lists_made = options.seeds * len(options.days)
    print(f"shuffled dates: {wrong} of {lists_made} lists are not empty, {found_in_all} words in all")
    print(f"twins: {twins} of {everything} discoveries are twins ({100 * twins / max(everything, 1):.2f}%)")


if __name__ == "__main__":
    main()
