"""Hard negatives against rank-bm25: `python benchmarks/mining.py [--documents N] [--queries N]`.

Titles of the packaged speeches (cut into articles, repeated with shuffled sentences until there are enough) search all
articles. rank-bm25's `BM25Okapi` ranks the same words; it is timed on `--sample` queries and counted for all, since all
of them would take an hour. Ours is the whole of `add_hard_negatives_bm25`: words, index, ranking, refusals and random
negatives. Checked: the first 100 ranks of the sample are the same documents in the same order where scores differ.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import time

import numpy as np

from benchmarks import material
from pipeline.dataset import add_hard_negatives_bm25
from pipeline.dataset.bm25 import BM25, bigrams
from pipeline.news.speeches import sentences


def documents(wanted: int) -> list[tuple[str, str]]:
    """(title, text) of as many articles; beyond what there is, texts are mixed of two articles' sentences."""
    found = [(a.title, a.text) for a in material.articles(dt.date(1998, 1, 1), dt.date(2022, 12, 31))]
    draw = random.Random(13)
    parts = [sentences(text) for _, text in found] if wanted > len(found) else []
    while len(found) < wanted:
        a, b = draw.randrange(len(parts)), draw.randrange(len(parts))
        mixed = parts[a][::2] + parts[b][1::2]
        draw.shuffle(mixed)
        found.append((found[a][0], " ".join(mixed)))
    return found[:wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--sample", type=int, default=30, help="queries that rank-bm25 is timed on")
    parser.add_argument("--top-k", type=int, default=100)
    options = parser.parse_args()
    try:
        from rank_bm25 import BM25Okapi
    except ImportError:
        raise SystemExit("rank-bm25 is not installed: pip install rank-bm25") from None

    pairs = documents(options.documents)
    texts = [text for _, text in pairs]
    asked = random.Random(1).sample(pairs, options.queries)
    began = time.perf_counter()
    found = add_hard_negatives_bm25(asked, texts, options.top_k)
    ours = time.perf_counter() - began
    print(f"garam: {ours:.1f} s for {len(found)} queries over {len(texts)} documents, all included")

    began = time.perf_counter()
    model = BM25(texts)
    indexed = time.perf_counter() - began
    began = time.perf_counter()
    ranked = list(model.top([query for query, _ in asked], options.top_k))
    ranking = time.perf_counter() - began
    print(f"       of which index {indexed:.1f} s, ranking {ranking:.1f} s")

    began = time.perf_counter()
    peer = BM25Okapi([bigrams(text) for text in texts])
    built = time.perf_counter() - began
    began = time.perf_counter()
    scores = []
    for query, _ in asked[: options.sample]:
        values = peer.get_scores(bigrams(query))
        scores.append((values, np.argsort(-values, kind="stable")[: options.top_k]))
    each = (time.perf_counter() - began) / options.sample
    theirs = built + each * len(asked)
    print(f"rank-bm25: index {built:.1f} s, {each * 1000:.0f} ms a query (of {options.sample}): {theirs:.0f} s for all")

    same = 0
    for (mine, score), (values, order) in zip(ranked, scores, strict=False):
        kept = order[values[order] > 0]
        np.testing.assert_allclose(score, values[kept], rtol=1e-9)
        # Documents of (but for rounding) equal scores may change places.
        np.testing.assert_allclose(values[mine], values[kept], rtol=1e-9)
        same += bool((mine == kept).all())
    print(f"the same ranking: scores of all {len(scores)} queries agree to 1e-9; {same} agree in every rank")
    print(f"ratio: {theirs / ours:.0f} times (ranking alone: {each * len(asked) / ranking:.0f} times)")


if __name__ == "__main__":
    main()
