"""Trends of real news, and how many there are when the dates are shuffled.

`python benchmarks/temporal_trends.py ../shared/data/news/economy-rss-2026-02.jsonl.gz --days 2026-02-10 2026-02-24`

Shuffling gives every article the date of another one, so that nothing can be trending: what is found is false. Printed
are the true lists (top of each day) and, over the shuffles, the mean number of words found, the share of lists that are
not empty and, without grouping or damping, how that compares with the true dates.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gzip
import json
import random
import statistics
import time
import zlib

from pipeline.asof import day_of
from pipeline.temporal import detect_trending_tokens
from pipeline.temporal.counting import document, word_terms


def main() -> None:
    """Print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("news", help="jsonl.gz with title, text, date")
    parser.add_argument("--days", nargs="+", required=True)
    parser.add_argument("--recent", type=int, default=1, help="days that are recent")
    parser.add_argument("--shuffles", type=int, default=10)
    parser.add_argument("--sample", type=int, default=3, help="one article in so many")
    options = parser.parse_args()
    with gzip.open(options.news, "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if zlib.crc32(row["title"].encode()) % options.sample == 0]
    started = time.perf_counter()
    texts = [document(row["title"], row["text"]) for row in rows]
    documents = [sorted(str(term) for term in had.terms) for had in word_terms(texts)]
    seconds = time.perf_counter() - started
    print(f"{len(documents)} articles analysed in {seconds:.0f} s, {len(documents) / seconds:.0f} a second")
    dates = [day_of(dt.datetime.fromisoformat(row["date"])) for row in rows]
    shuffled = random.Random(7)
    for day in options.days:
        found = detect_trending_tokens(documents, dates, options.recent, as_of=day)
        print(f"{day}: {len(found)} words;", ", ".join(f"{t.token} {t.recent}/{t.past}" for t in found[:15]))
    false = []
    for _ in range(options.shuffles):
        mixed = dates.copy()
        shuffled.shuffle(mixed)
        for day in options.days[:2]:
            false.append(len(detect_trending_tokens(documents, mixed, options.recent, as_of=day)))
    print(
        f"shuffled dates: {statistics.mean(false):.2f} words a list, "
        f"{sum(n > 0 for n in false)} of {len(false)} lists not empty"
    )


if __name__ == "__main__":
    main()
