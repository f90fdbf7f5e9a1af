"""Titles that search their own articles among all others, learned from the days before: what training is worth.

    python benchmarks/economy_titles.py NEWS.jsonl.gz --first 2026-02-22 --last 2026-02-28 --output DIR

`NEWS` has a JSON object a line with `id`, `title`, `text`, `date` and, where it is known, `source`, the outlet. A base
and a model are made from articles of the days (in Seoul) before `--first` and from nothing later. Then the titles of
`--first` to `--last` search the texts of all days up to the last line of the file (with `--until`, up to that day),
without their titles. Systems: BM25 with nori in an OpenSearch node that is started for it (BM25 over Kiwi's morphemes
where `--no-opensearch` says so), the model as served, and their hybrid; the lexical floor and the learned weights by
themselves, and the model asked without the titles' signs or, a bi-encoder, by tokens alone. Like BM25, all take IDF
and lengths from the texts that are searched. Every title has one answer, its own article; a copy of the same text
counts too in the second table. `--judged` names folders in BEIR form that are searched besides. To develop, choose
earlier days:

    python benchmarks/economy_titles.py NEWS.jsonl.gz --first 2026-02-19 --last 2026-02-21 --until 2026-02-21 ...

CPU seconds (all cores) of base, training set and training are printed. `--model DIR` measures a model that is there
already. Everything can be called again: what is in `--output` is not made twice. On an AMD EPYC (Zen 5,
bfloat16) the base took 330 CPU seconds, a training step 2.9 and a projection 520.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import datetime as dt
import gzip
import json
import random
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.asof import day_of, parse_instant
from pipeline.config import Config, load
from pipeline.evaluation.judged import read_judged
from pipeline.evaluation.metrics import Cost
from pipeline.evaluation.results import SetResult
from pipeline.evaluation.runs import Run, hybrid_run, sparse_run
from pipeline.evaluation.significance import interval, p_value
from pipeline.querysets import Corpus, Query, QuerySet

SETTINGS: dict[str, dict[str, Any]] = {
    "base": {"vocabulary_size": 32_000, "signs": True, "layers": 12, "adaptation": {"steps": 120}},
    "dataset": {"max_articles": 40_000, "recent_days": 60, "sentences_per_passage": 0, "passages_per_article": 1,
                "passage_chars": 800, "hard_share": 0.75, "expansion_ratio": 0.3},
    "training": {"validation_queries": 0, "checkpoint_every": 200,
                 "projection_epochs": 3, "styles": 32, "style_weight": 0.75},
}  # fmt: skip
"""What this data wants otherwise than config.yaml; docs/economy-titles.md says why."""
COMPARED = ("model", "model+bm25", "tokens", "no signs", "floor")
"""Systems (where they are measured) whose difference to BM25 with nori is told."""
SHORTEST = 40  # characters of a text that can be searched for: shorter ones are a reporter's name


@dataclass(frozen=True)
class Article:
    """An article as a training set wants it; every article is a story of its own."""

    id: int
    name: str
    title: str
    text: str
    day: dt.date
    outlet: str

    @property
    def story_id(self) -> int:
        return self.id


def read(path: Path) -> list[Article]:
    """The articles of a file, in its order."""
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        rows = [json.loads(line) for line in handle]
    return [
        Article(n, str(r["id"]), r["title"], r["text"].strip(), day_of(parse_instant(r["date"])), r.get("source") or "")
        for n, r in enumerate(rows)
    ]


def cpu() -> float:
    """CPU seconds of this process and the children that it waited for, all cores."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def configured(output: Path, settings: dict[str, dict[str, Any]]) -> Config:
    """The configuration with a benchmark's settings laid over it."""
    file = output / "config.yaml"
    file.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return load(file)


def without_copies(articles: Sequence[Article]) -> list[Article]:
    """The first article of each text, oldest first."""
    first = {article.text: article for article in reversed(articles)}
    return sorted(first.values(), key=lambda article: (article.day, article.id))


def make_model(articles: Sequence[Article], output: Path, config: Config, steps: int) -> Path:
    """The trained model's folder; base, training set and model are made once."""
    from pipeline.dataset import make_training_set
    from pipeline.training import train
    from pipeline.training.base.build import build_base
    from pipeline.training.base.settings import BaseSettings

    say = _Progress()
    began = cpu()
    settings = BaseSettings.model_validate(config.base.model_dump(mode="json"))
    base = build_base([config.encoder.document_text(a.text) for a in articles], output / "base", settings, say)
    print(f"base: {cpu() - began:.0f} CPU s", flush=True)
    began = cpu()
    if not (output / "trainingset" / "report.json").exists():
        last = max(article.day for article in articles)
        make_training_set(without_copies(articles), as_of=last, settings=config.dataset).write(output / "trainingset")
    print(f"training set: {cpu() - began:.0f} CPU s", flush=True)
    began = cpu()
    model = output / "model"
    if not (model / "card.json").exists():
        training = config.training.model_copy(update={"steps": steps})
        train(output / "trainingset", base, model, training, say, encoding=config.encoder)
    print(f"training: {cpu() - began:.0f} CPU s", flush=True)
    return model


class _Progress:
    """A line a tenth."""

    def __init__(self) -> None:
        self.said: tuple[str, int] = ("", -1)

    def __call__(self, what: str, done: int, total: int) -> None:
        now = (what.partition(":")[0], 10 * done // total if total else 0)
        if now != self.said:
            self.said = now
            print(f"  {done}/{total} {what}", flush=True)


def asked(articles: Sequence[Article], first: dt.date, last: dt.date, most: int, copies: bool) -> QuerySet:
    """Titles of these days as queries, ``most`` of them; their own article answers (``copies``: and its copies)."""
    fit = [a for a in articles if first <= a.day <= last and len(a.text) >= SHORTEST]
    chosen = sorted(random.Random(13).sample(fit, min(most, len(fit))), key=lambda a: a.id)
    same: dict[str, list[str]] = {}
    for article in articles:
        same.setdefault(article.text, []).append(article.name)
    relevant = {a.name: same[a.text] if copies else [a.name] for a in chosen}
    queries = [Query(a.name, a.title, dict.fromkeys(relevant[a.name], 1.0)) for a in chosen]
    return QuerySet("same text counted" if copies else "own article only", queries)


def nori(sets: Sequence[tuple[QuerySet, Corpus]], state: Path) -> list[Run]:
    """BM25 with nori of each set, in a node of its own that ends with the call."""
    from pipeline.local import stack
    from pipeline.local.context import Options
    from pipeline.search.baseline import bm25_run
    from pipeline.search.cluster import Cluster

    stack.up(["opensearch"], folder=state, options=Options())
    try:
        url = stack.status(folder=state).opensearch_url
        assert url is not None
        found = []
        for queries, corpus in sets:
            hits = bm25_run(Cluster(url), corpus, queries.queries)
            row_of = {document: row for row, document in enumerate(corpus.ids)}
            found.append(Run.of_hits([hits[query.id] for query in queries.queries], row_of))
        return found
    finally:
        stack.down(folder=state)


def kiwi(sets: Sequence[tuple[QuerySet, Corpus]], config: Config) -> list[Run]:
    """BM25 over morphemes, where there is no OpenSearch."""
    from pipeline.evaluation.bm25 import BM25

    k1, b = config.evaluation.bm25_k1, config.evaluation.bm25_b
    return [BM25(corpus.texts, k1=k1, b=b).run([query.text for query in queries.queries]) for queries, corpus in sets]


def measure(
    model: Path, sets: Sequence[tuple[QuerySet, Corpus]], lexical: Sequence[Run], config: Config
) -> list[dict[str, Any]]:
    """Every set's figures: systems, and differences to BM25 with intervals."""
    from pipeline.evaluation.encodings import Ranker

    ours = Ranker("model", model, config=config.encoder, progress=_Progress())
    weights = (config.serving.hybrid_bm25, 1 - config.serving.hybrid_bm25)
    found = []
    ranker, searched = ours, None
    for (queries, corpus), words in zip(sets, lexical, strict=True):
        result = SetResult.of(queries, corpus)
        if corpus is not searched:
            ranker, searched = ours.over(corpus.texts), corpus
        texts = [query.text for query in queries.queries]
        documents, vectors = ranker.documents(corpus.texts), ranker.queries(texts)
        sparse = sparse_run(vectors, documents)
        fusion = config.serving.hybrid_fusion
        mixed = hybrid_run([words, sparse], weights, depth=config.serving.hybrid_depth, fusion=fusion)
        cost = Cost.of(documents, vectors)
        result.add("bm25", words)
        result.add("model", sparse, cost)
        result.add("model+bm25", mixed, cost)
        # What it is made of: the floor alone, what was learned alone, and queries without their signs.
        floor = ranker.encoder.lexical_floor(corpus.texts)
        learned = documents - floor
        learned.data = learned.data.clip(0.0)
        spoken = vectors.multiply(~ranker.encoder.signs).tocsr()
        result.add("floor", sparse_run(vectors, floor))
        result.add("learned", sparse_run(vectors, learned), Cost.of(learned, vectors))
        if ranker.encoder.query_terms:
            tokens = ranker.encoder.token_queries(texts, ranker.weights)
            result.add("tokens", sparse_run(tokens, documents), Cost.of(documents, tokens))
        result.add("no signs", sparse_run(spoken, documents), Cost.of(documents, spoken))
        rows: dict[str, Any] = {"set": queries.name, "systems": result.summary()}
        for system in (name for name in COMPARED if name in result.values):
            difference = result.differences(system, "bm25")
            low, high = interval(difference)
            errors = (1 - result.mean(system)) / max(1e-9, 1 - result.mean("bm25"))
            rows[system] = {"difference": difference.mean, "interval": [low, high], "p": p_value(difference),
                            "share_of_bm25s_errors_left": errors}  # fmt: skip
        found.append(rows)
    return found


def show(rows: dict[str, Any]) -> None:
    """A set's table."""
    systems = rows["systems"]
    some = next(iter(systems.values()))
    print(f"\n{rows['set']}: {some['queries']} queries, {some['documents']} documents")
    shown = ("ndcg@10", "mrr@10", "recall@10", "recall@100", "active_terms", "sparsity", "flops")
    print(f"{'':12}" + "".join(f"{name:>13}" for name in shown))
    for name, row in systems.items():
        print(f"{name:12}" + "".join(f"{row[m]:13.4f}" if m in row else f"{'':13}" for m in shown))
    for name in (name for name in COMPARED if name in rows):
        one = rows[name]
        low, high = one["interval"]
        left = one["share_of_bm25s_errors_left"]
        gain = f"{one['difference']:+.4f} (95% {low:+.4f} to {high:+.4f}, p {one['p']:.4f})"
        print(f"{name} - bm25: {gain}; {left:.0%} of its errors left")


def main() -> None:
    """Make the model, search, print, and write report.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("news", type=Path)
    parser.add_argument("--first", type=dt.date.fromisoformat, required=True, help="first day whose titles are asked")
    parser.add_argument("--last", type=dt.date.fromisoformat, required=True, help="last such day")
    parser.add_argument("--until", type=dt.date.fromisoformat, default=dt.date.max, help="last day that is searched")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=3000, help="titles asked at most")
    parser.add_argument("--documents", type=int, help="documents searched: the answers and a random part (for a trial)")
    parser.add_argument("--steps", type=int, default=600, help="training steps: about one epoch (more overfit)")
    parser.add_argument("--model", type=Path, help="measure this model; nothing is trained")
    parser.add_argument("--judged", type=Path, action="append", default=[], help="a folder in BEIR form, searched too")
    parser.add_argument("--no-opensearch", action="store_true", help="BM25 over Kiwi's morphemes instead of nori")
    options = parser.parse_args()
    output: Path = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    config = configured(output, SETTINGS)
    articles = [a for a in read(options.news) if a.day <= options.until]
    before = [a for a in articles if a.day < options.first and len(a.text) >= SHORTEST]
    model = options.model or make_model(before, output, config, options.steps)
    sets = []
    if options.documents:
        wanted = {q.id for q in asked(articles, options.first, options.last, options.queries, copies=False).queries}
        others = [a.name for a in articles if a.name not in wanted]
        kept = wanted | set(random.Random(7).sample(others, max(0, min(len(others), options.documents - len(wanted)))))
        articles = [a for a in articles if a.name in kept]
    corpus = Corpus([a.name for a in articles], [config.encoder.document_text(a.text) for a in articles])
    sets += [
        (asked(articles, options.first, options.last, options.queries, copies), corpus) for copies in (False, True)
    ]
    for folder in options.judged:
        queries, documents = read_judged(folder)
        if documents is None:
            raise SystemExit(f"{folder} has no corpus.jsonl")
        sets.append((QuerySet(folder.name, queries.queries), documents))
    lexical = kiwi(sets, config) if options.no_opensearch else nori(sets, output / "opensearch")
    rows = measure(model, sets, lexical, config)
    for one in rows:
        show(one)
    (output / "report.json").write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
