"""What ten rounds of training forget, and what holds against it: `python benchmarks/forgetting.py [--steps N]`.

Packaged speeches in order of time. A first training sees the past; ten rounds follow, each on the next years' articles
and starting from the model before it, without a gate between them. After every round: nDCG@10 of held-out titles of the
past over the past's articles (what is forgotten shows here) and of the round's own held-out titles over its articles
(what is learned). Arms: replay of older windows (`dataset.replay_share`), distillation from the model before
(`training.champion_weight`), weights between old and new chosen by the watched queries (`training.soup_choices`).
The model alone is measured, without the lexical floor. A base of two layers and a high learning rate make it quick and
hard: read the differences between the arms, not the values.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import datetime as dt
import random
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks import material
from benchmarks.material import Article
from pipeline.config import Config
from pipeline.dataset import Guard, make_training_set
from pipeline.dataset.holdout import corpus_of, fits, hold_all, title_queries
from pipeline.encoder import Encoder
from pipeline.evaluation.metrics import Judgments, measure
from pipeline.evaluation.runs import sparse_run
from pipeline.training import train

ROUNDS = 10
PAST, NOW, END = dt.date(1993, 1, 1), dt.date(1998, 1, 1), dt.date(2019, 12, 31)
ARMS: dict[str, dict[str, float]] = {
    "nothing": {},
    "replay": {"replay": 0.5},
    "champion": {"champion": 1.0},
    "interpolation": {"soup": 4},
    "replay, champion": {"replay": 0.5, "champion": 1.0},
    "all three": {"replay": 0.5, "champion": 1.0, "soup": 4},
}


class Judged:
    """Held-out titles over articles of their time."""

    def __init__(self, articles: list[Article], queries: int, documents: int, config: Config) -> None:
        text_of = config.encoder.document_text
        chosen = random.Random(13).sample(articles, min(documents, len(articles)))
        self.asked = [a for a in chosen if fits(a, text_of(a.text), config.dataset.min_query_chars)][:queries]
        corpus = corpus_of(chosen, text_of)
        held = title_queries(self.asked, chosen, text_of, config.dataset.near_duplicate)
        self._texts, self._queries = corpus.texts, [query.text for query in held]
        self._judgments = Judgments.of(held, corpus.ids)

    def ndcg(self, model: Path, length: int) -> float:
        encoder = Encoder.load(model, max_length=length)
        run = sparse_run(encoder.encode_queries(self._queries), encoder.encode_documents(self._texts))
        return float(measure(run, self._judgments)["ndcg@10"].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=16, help="optimizer steps of a round")
    parser.add_argument("--articles", type=int, default=300, help="articles of a round's training set")
    parser.add_argument("--rate", type=float, default=2e-4, help="learning rate")
    parser.add_argument("--length", type=int, default=64, help="tokens of a text, in training and measuring")
    options = parser.parse_args()
    config = Config()
    every = material.articles(PAST, END)
    past = [a for a in every if a.day < NOW]
    edges = [NOW + (END - NOW) * k / ROUNDS for k in range(ROUNDS + 1)]
    rounds = [[a for a in every if low <= a.day < high] for low, high in pairwise(edges)]
    base = material.base([a.text for a in past], layers=2)
    old = Judged(past, 150, 400, config)
    fresh = [Judged(articles, 40, 150, config) for articles in rounds]
    guard = Guard(config.dataset.near_duplicate)
    for judged in (old, *fresh):
        hold_all(guard, judged.asked)

    def learn(place: Path, articles: list[Article], start: Path, arm: dict[str, float], days: int) -> Path:
        settings = config.dataset.model_copy(
            update={"window_days": 20_000, "max_articles": options.articles, "recent_days": days,
                    "replay_share": arm.get("replay", 0.0), "half_life_days": 3650.0, "expansion_ratio": 0.0}
        )  # fmt: skip
        made = make_training_set(articles, as_of=articles[-1].day, settings=settings, exclude=guard)
        made.write(place / "set")
        training = config.training.model_copy(
            update={"steps": options.steps, "batch_passages": 24, "max_length": options.length, "freeze_layers": 0,
                    "learning_rate": options.rate, "columns": 1024, "validation_queries": 60, "patience": 99,
                    "validate_every": 10**6, "checkpoint_every": 10**6,
                    "champion_weight": arm.get("champion", 0.0), "soup_choices": int(arm.get("soup", 0))}
        )  # fmt: skip
        model = place / "model"
        return train(place / "set", start, model, training, champion=start).folder

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        first = learn(root / "first", past, base, {}, 20_000)
        began = old.ndcg(first, options.length)
        print(
            f"{len(past)} articles of the past, {[len(r) for r in rounds]} of the rounds; base {old.ndcg(base, 64):.3f}"
        )
        print(f"after the first training the past has nDCG@10 {began:.3f}", flush=True)
        print("| arm | past, after round 1 | 5 | 10 | change | own titles, mean of 10 rounds | s |")
        print("|---|---|---|---|---|---|---|")
        for name, arm in ARMS.items():
            clock, model, known = time.monotonic(), first, list(past)
            kept, learned = [], []
            for number, articles in enumerate(rounds):
                known += articles
                days = (articles[-1].day - articles[0].day).days + 1
                model = learn(root / name / str(number), known, model, arm, days)
                kept.append(old.ndcg(model, options.length))
                learned.append(fresh[number].ndcg(model, options.length))
            print(
                f"| {name} | {kept[0]:.3f} | {kept[4]:.3f} | {kept[-1]:.3f} | {kept[-1] - began:+.3f} "
                f"| {np.mean(learned):.3f} | {time.monotonic() - clock:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
