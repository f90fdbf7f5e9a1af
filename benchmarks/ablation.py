"""What each part of the training is worth, at one setting: `python benchmarks/ablation.py NEWS --output DIR`.

NEWS as `benchmarks/economy_titles.py` takes it. A small base (2 layers, 8,000 tokens, signs) learns from the days
before ``--first``; titles of ``--first`` to ``--last`` search a pool of texts of all days up to then (the ones that
BM25 over the same tokens ranks best, and the answers). Every arm is trained from the same base, with the same seed and
steps, and differs from the first in what its name says; differences to the first have 95% intervals over titles. The
first is trained with another seed, too: what differs by less than those two do is not told apart here. Its queries are
weighed by the IDF of the texts that are searched, and then by what was known the day before. Small and short on
purpose: differences mean something, values do not (what a model confuses and BM25 does not is missing from the pool).
``--teacher`` is a dense encoder's folder for the arms that distil one, ``--synonyms`` a gzipped table (part of speech,
word, word; tab-separated) whose nouns are taken for groups.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import csv
import datetime as dt
import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.economy_titles import SHORTEST, Article, configured, cpu, read, without_copies
from benchmarks.temporal_weights import News, boosts, idfs
from pipeline.artifacts import content_hash
from pipeline.config import Config
from pipeline.dataset import SynonymGroup, make_training_set
from pipeline.encoder import Encoder
from pipeline.encoder.statistics import corpus_statistics
from pipeline.encoder.vocabulary import SIGN_WEIGHT
from pipeline.evaluation.metrics import Judgments, measure
from pipeline.evaluation.runs import sparse_run
from pipeline.evaluation.significance import Differences, interval
from pipeline.querysets import Query
from pipeline.training import train
from pipeline.training.base.build import build_base
from pipeline.training.base.settings import BaseSettings

SETTINGS: dict[str, dict[str, Any]] = {
    "base": {"vocabulary_size": 8_000, "layers": 2, "signs": True, "adaptation": {"steps": 80}},
    "dataset": {"max_articles": 8_000, "recent_days": 60, "sentences_per_passage": 0, "passages_per_article": 1},
    "training": {"max_length": 64, "learning_rate": 3e-4, "head_learning_rate": 3e-4, "floor_share": 1.0,
                 "validation_queries": 0, "checkpoint_every": 10**6},
    "encoder": {"lexical_floor": 1.0, "max_length": 64},
}  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """A training that differs from the first arm by these settings."""

    name: str
    training: dict[str, Any] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)
    synonyms: bool = False


ARMS = [
    Arm("in-batch softmax, FLOPS, 8 negatives, half of them hard"),
    Arm("the same, another seed", {"seed": 14}),
    Arm("losses: softmax over a query's own negatives instead", {"in_batch_weight": 0.0, "hard_weight": 1.0}),
    Arm("losses: that beside it", {"hard_weight": 0.5}),
    Arm("losses: triplet margin beside it", {"hard_weight": 0.5, "triplet_margin": 2.0}),
    Arm("losses: margin ranking beside it", {"margin_weight": 0.5, "margin": 2.0}),
    Arm("sparsity: none", {"flops_weight": 0.0}),
    Arm("sparsity: DF-FLOPS", {"flops_kind": "df_flops"}),
    Arm("negatives: 2", {"hard_per_positive": 1}, {"negatives": 2}),
    Arm("negatives: none of them hard", {"hard_per_positive": 0}, {"hard_share": 0.0}),
    Arm("negatives: all of them hard", {"hard_per_positive": 7}, {"hard_share": 1.0}),
    Arm("rewrites: none", {}, {"expansion_ratio": 0.0}),
    Arm("rewrites: synonyms, too", {}, {}, synonyms=True),
    Arm("teacher: BM25, KL", {"teacher": "bm25", "distil_weight": 0.5}),
    Arm("teacher: BM25, MarginMSE", {"teacher": "bm25", "margin_mse_weight": 0.01}),
    Arm("teacher: dense, KL", {"teacher": "dense", "distil_weight": 0.5}),
    Arm("queries: bi-encoder, 32 terms", {"query_terms": 32}),
]


class Pool:
    """Titles, and the texts that they search."""

    def __init__(self, articles: list[Article], asked: list[Article], base: Encoder, config: Config) -> None:
        texts = [config.encoder.document_text(a.text) for a in articles]
        self.statistics = corpus_statistics(base, texts)
        titles = base.encode_queries([a.title for a in asked], self.statistics.query_weights)
        scores = np.asarray((titles @ base.lexical_floor(texts).T).todense())
        place = {a.id: row for row, a in enumerate(articles)}
        best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
        kept = sorted({*best.ravel().tolist(), *(place[a.id] for a in asked)})
        self.titles = [a.title for a in asked]
        self.texts = [texts[row] for row in kept]
        queries = [Query(a.name, a.title, {a.name: 1.0}) for a in asked]
        self._judgments = Judgments.of(queries, [articles[row].name for row in kept])
        self.words = self._values(titles, base.lexical_floor(self.texts))

    def _values(self, queries: Any, documents: Any) -> Any:
        return measure(sparse_run(queries, documents), self._judgments)["ndcg@10"]

    def ndcg(self, model: Path, config: Config, others: dict[str, Any] | None = None) -> tuple[dict[str, Any], float]:
        """nDCG@10 of each title under the pool's own query weights ("") and ``others``, by name; and the mean of a
        text's active terms."""
        encoder = Encoder.load(model, max_length=config.encoder.max_length, lexical=config.encoder.lexical)
        documents = encoder.encode_documents(self.texts, max_added=config.encoder.max_added)
        found = {
            name: self._values(encoder.encode_queries(self.titles, weights), documents)
            for name, weights in {"": self.statistics.query_weights, **(others or {})}.items()
        }
        return found, documents.nnz / len(self.texts)

    def difference(self, ours: Any, theirs: Any) -> str:
        """Mean difference and its interval."""
        found = Differences.of(ours, theirs, self._judgments.groups())
        low, high = interval(found)
        return f"{found.mean:+.4f} ({low:+.4f} to {high:+.4f})"


def weightings(news: Path, before: dt.date, encoder: Encoder, config: Config) -> dict[str, Any]:
    """Query weights as known on the day ``before``: one IDF of all days, temporal ones, and those with trends."""
    tokenizer, size = encoder.tokenizer.backend_tokenizer, len(encoder.vocabulary)
    tokenizer.no_truncation()
    held = News(str(news), tokenizer, dt.date(2000, 1, 1), before, boosts=True)
    idf = idfs(held, before, size)
    temporal = idf["ensemble, year 9/10 + decay"]
    trends = boosts(held, before, tokenizer, size, config.temporal.boost_max)
    found = {
        "query weights: static": idf["static"],
        "query weights: temporal, as configured": temporal,
        "query weights: temporal, decay alone": idf["decay 0.95"],
        "query weights: temporal, with trends": temporal * trends,
    }
    words = ~(encoder.blocked | encoder.signs)
    for name, weights in found.items():
        scaled = (weights / weights[words].mean()).astype(np.float32)
        scaled[encoder.signs] = SIGN_WEIGHT
        found[name] = scaled
    return found


def groups_of(path: Path | None) -> Iterator[SynonymGroup]:
    """The table's nouns, each pair a group."""
    if path is not None:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as handle:
            for row in csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE):
                if row[:1] == ["n"]:
                    yield SynonymGroup((row[1], row[2]), 1.0)


def main() -> None:
    """Train and measure every arm; print a table and write report.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("news", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="what is there is not made again")
    parser.add_argument("--first", type=dt.date.fromisoformat, default=dt.date(2026, 2, 19))
    parser.add_argument("--last", type=dt.date.fromisoformat, default=dt.date(2026, 2, 21))
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--synonyms", type=Path)
    parser.add_argument("--only", default="", help="arms whose name holds this, and the first")
    options = parser.parse_args()
    output: Path = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    config = configured(output, SETTINGS)
    articles = [a for a in read(options.news) if a.day <= options.last]
    before = [a for a in articles if a.day < options.first and len(a.text) >= SHORTEST]
    different = without_copies(before)
    texts = [config.encoder.document_text(a.text) for a in different]
    base = build_base(texts, output / "base", BaseSettings.model_validate(config.base.model_dump(mode="json")))
    fit = [a for a in articles if a.day >= options.first and len(a.text) >= SHORTEST]
    asked = random.Random(13).sample(fit, min(options.queries, len(fit)))
    start = Encoder.load(base, max_length=config.encoder.max_length, lexical=config.encoder.lexical)
    pool = Pool(articles, asked, start, config)
    print(f"{len(asked)} titles, {len(pool.texts)} texts; BM25 over the same tokens {pool.words.mean():.4f}")
    untrained, active = pool.ndcg(base, config)
    print(f"untrained {untrained[''].mean():.4f}, {active:.0f} terms", flush=True)
    asked_by = weightings(options.news, options.first - dt.timedelta(days=1), start, config)
    print("\n| arm | nDCG@10 | against the first (95%) | active terms | CPU s |\n|---|---|---|---|---|", flush=True)
    first, rows = None, []
    for arm in ARMS:
        needs = arm.training.get("teacher") == "dense"
        if (needs and not options.teacher) or (arm.synonyms and not options.synonyms):
            print(f"| {arm.name} | not run: what it needs was not named | | | |")
            continue
        if first is not None and options.only not in arm.name:
            continue
        began = cpu()
        dataset = config.dataset.model_copy(update=arm.dataset)
        groups = list(groups_of(options.synonyms)) if arm.synonyms else []
        place = output / f"set-{content_hash([arm.dataset, len(groups)])[:12]}"
        if not (place / "report.json").exists():
            last = max(a.day for a in different)
            make_training_set(different, as_of=last, settings=dataset, synonym_groups=groups).write(place)
        training = config.training.model_copy(update={"steps": options.steps, **arm.training})
        model = output / f"model-{ARMS.index(arm)}"
        if not (model / "card.json").exists():
            train(place, base, model, training, teacher=options.teacher, encoding=config.encoder)
        every, active = pool.ndcg(model, config, asked_by if first is None else None)
        first = every[""] if first is None else first
        for name, values in every.items():
            compared = "" if first is values else pool.difference(values, first)
            cost = f"{cpu() - began:.0f}" if not name else ""
            print(f"| {name or arm.name} | {values.mean():.4f} | {compared} | {active:.0f} | {cost} |", flush=True)
            rows.append({"arm": name or arm.name, "ndcg@10": float(values.mean()), "against": compared})
    (output / "report.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
