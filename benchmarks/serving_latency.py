"""How long a ranked search takes beside BM25 and the single sparse clause, on made-up articles.

    python benchmarks/serving_latency.py --opensearch http://127.0.0.1:9200 --documents 100000

Documents have some 150 rank features out of a Zipf distribution and dates over a year; those of the last three days
also have words of a few hundred trends. Queries have 2 to 6 tokens, every second one a trend's among them. All
rankings answer every query, in random order and one after the other, for ten documents, in `--tries` rounds; the
percentiles are over the queries' fastest answers, so that other work on the machine counts less, and over all answers.
The index is removed at the end, or kept with `--keep` and used again.

(a) is BM25, (b) the clause of the terms alone, (c) a second clause in which every token counts, if only by 1e-9, (d)
the same without its date filter, (e) the second clause as it is served, without the tokens that are no trends, (f) that
clause as a rescorer of the first thousand, which loses recent articles behind them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.encoder.vocabulary import feature_name
from pipeline.search import bodies, bulk, query_models
from pipeline.search.cluster import Cluster

INDEX = "garam-latency"
VOCABULARY = 32_000
FEATURES = 150
TRENDS = 300
STRENGTH, DAYS = 0.7, 3.0
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{n}" for n in range(VOCABULARY))]
SHARES = 1 / (np.arange(VOCABULARY) + 20.0)
SHARES /= SHARES.sum()


def documents(count: int, trends: np.ndarray, draw: np.random.Generator) -> Iterator[bulk.Action]:
    """Articles with text, features and a date of the last year."""
    now = dt.datetime.now(dt.UTC)
    for number in range(count):
        days = draw.uniform(0, 365)
        tokens = draw.choice(VOCABULARY, FEATURES, p=SHARES)
        if days < DAYS:
            tokens[:5] = draw.choice(trends, 5)
        source = {
            "published_at": (now - dt.timedelta(days=days)).isoformat(),
            "text": " ".join(WORDS[4 + token] for token in tokens),
            "emb": {
                feature_name(WORDS[4 + token]): round(weight, 3)
                for token, weight in zip(tokens.tolist(), draw.uniform(0.1, 2, FEATURES).tolist(), strict=True)
            },
        }
        yield bulk.Action(str(number), source)


def queries(count: int, trends: np.ndarray, draw: np.random.Generator) -> list[list[int]]:
    """Token ids of made-up queries: no stop words, every second query with a trend's token."""
    shares = np.where(np.arange(VOCABULARY) < 50, 0, SHARES)
    made = [draw.choice(VOCABULARY, draw.integers(2, 7), p=shares / shares.sum()) for _ in range(count)]
    for tokens in made[::2]:
        tokens[0] = draw.choice(trends)
    return [tokens.tolist() for tokens in made]


def query_model(cluster: Cluster, weights: np.ndarray) -> str:
    """The id of a query model with these weights (V,) on a tokenizer of the made-up words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import BertPreTokenizer

    tokenizer = Tokenizer(WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens(WORDS[:4])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "idf.json").write_text(json.dumps(dict.fromkeys(WORDS, 1.0)))
        content = query_models.package(folder, np.concatenate([np.zeros(4), weights]).astype(np.float32))
    return query_models.ensure(cluster, INDEX, content)


def main() -> None:
    """Load, ask, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opensearch", required=True, help="address of the cluster")
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="keep the index for the next run")
    arguments = parser.parse_args()
    draw = np.random.default_rng(1)
    trends = draw.choice(np.arange(200, 10_000), TRENDS, replace=False)
    cluster = Cluster(arguments.opensearch)
    if not cluster.exists(INDEX):
        load(cluster, arguments.documents, trends, draw)
    idf = np.log(1 / (SHARES * FEATURES).clip(0, 0.9)).clip(0.1, 64)
    gated = np.zeros(VOCABULARY)
    gated[trends] = idf[trends] * draw.uniform(0.1, 1, TRENDS)
    whole, recent, pruned = (
        query_model(cluster, weights) for weights in (idf, gated.clip(query_models.NO_WEIGHT), gated)
    )
    asked = queries(arguments.queries, trends, np.random.default_rng(2))
    names = [feature_name(word) for word in WORDS[4:]]

    def text(tokens: list[int]) -> str:
        return " ".join(WORDS[4 + token] for token in tokens)

    def two(first: dict[str, Any], second: dict[str, Any] | None, *, window: bool = True) -> dict[str, Any]:
        body = bodies.ranked(first, second, strength=STRENGTH, days=DAYS)
        if not window and second:
            clause = body["bool"]["should"][1]["function_score"]
            clause["query"] = second
        return {"query": body}

    def counted(tokens: list[int], weights: np.ndarray, least: float) -> dict[str, float]:
        return {
            names[token]: max(float(weights[token]), query_models.NO_WEIGHT)
            for token in tokens
            if weights[token] >= least
        }

    rankings: dict[str, Callable[[list[int]], dict[str, Any]]] = {
        "a BM25": lambda q: {"query": bodies.bm25_text(text(q))},
        "b one clause": lambda q: {"query": bodies.sparse(text(q), whole)},
        "c unpruned": lambda q: two(bodies.sparse(text(q), whole), bodies.sparse(text(q), recent)),
        "d no window": lambda q: two(bodies.sparse(text(q), whole), bodies.sparse(text(q), recent), window=False),
        "e as served": lambda q: two(bodies.sparse(text(q), whole), bodies.sparse(text(q), pruned)),
        "f rescore": lambda q: {
            "query": bodies.sparse(text(q), whole),
            "rescore": {
                "window_size": 1000,
                "query": {"rescore_query": bodies.recent(bodies.sparse(text(q), pruned), strength=STRENGTH, days=DAYS)},
            },
        },
        "b tokens": lambda q: {"query": bodies.sparse_tokens(counted(q, idf, 0))},
        "c tokens": lambda q: two(bodies.sparse_tokens(counted(q, idf, 0)), bodies.sparse_tokens(counted(q, gated, 0))),
        "e tokens": lambda q: two(
            bodies.sparse_tokens(counted(q, idf, 0)),
            bodies.sparse_tokens(t) if (t := counted(q, gated, 1e-6)) else None,
        ),
    }
    taken = {name: np.zeros((arguments.tries + 1, len(asked))) for name in rankings}
    order = list(rankings)
    for attempt in range(arguments.tries + 1):  # the first warms up
        for number, tokens in enumerate(asked):
            draw.shuffle(order)
            for name in order:
                body = {"size": 10, "_source": False, "track_total_hits": False, **rankings[name](tokens)}
                started = time.perf_counter()
                cluster.call("POST", f"/{INDEX}/_search", body)
                taken[name][attempt, number] = (time.perf_counter() - started) * 1000
    print(f"{cluster.count(INDEX)} documents, {len(asked)} queries, {cluster.size_bytes(INDEX) / 1e6:.0f} MB")
    print(f"{'':16} fastest of {arguments.tries}: p50, p99 ms (of b)    all: p50, p99 ms (of b)")
    for name, times in taken.items():
        base = taken["b tokens" if name.endswith("tokens") else "b one clause"]
        print(f"{name:16}", _figures(times[1:].min(0), base[1:].min(0)), "  ", _figures(times[1:], base[1:]))
    for model in query_models.models(cluster, INDEX):
        query_models.remove(cluster, model.id)
    if not arguments.keep:
        cluster.delete_index(INDEX)


def _figures(times: np.ndarray, base: np.ndarray) -> str:
    """p50 and p99 of milliseconds, and their ratios to those of ``base``."""
    p50, p99 = np.percentile(times, [50, 99])
    b50, b99 = np.percentile(base, [50, 99])
    return f"{p50:6.2f} {p99:6.2f} ({p50 / b50:.2f} {p99 / b99:.2f})"


def load(cluster: Cluster, count: int, trends: np.ndarray, draw: np.random.Generator) -> None:
    """The index with its documents, in the segments that loading left."""
    body = bodies.vector_index()
    body["mappings"]["properties"] = {
        "emb": {"type": "rank_features"},
        "published_at": {"type": "date"},
        "text": {"type": "text", "analyzer": "standard"},
    }
    cluster.create_index(INDEX, body)
    started = time.monotonic()
    bulk.load(cluster, INDEX, documents(count, trends, draw))
    cluster.refresh(INDEX)
    print(f"loaded in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
