"""What learning is worth: headlines, short queries and people's questions, by every system that Garam could serve.

    python benchmarks/quality.py NEWS.jsonl.gz --first 2026-02-22 --last 2026-02-28 --judged BEIR_DIR --output DIR

`NEWS` has a JSON object a line with `id`, `title`, `text` and `date`. A base and a model are made from articles of the
days (in Seoul) before `--first` and from nothing later. Sets: titles of `--first` to `--last` and the first two and
three words of them, over `--documents` texts of these days without their titles, own article; and each `--judged`
folder in BEIR form, with `--among` news texts among its documents. A folder whose name ends in `:0` or `:1` is halved
by the SHA-256 of its documents' titles: choose on one half, report the other.

Systems: BM25 over kiwipiepy's morphemes (over title and text on judged folders), the lexical floor, the dense encoder
and their min-max mixtures; token rows (nothing learned), the model, the model with the sums of the searched corpus
added, and the model with BM25. All take IDF and lengths from the texts that are searched. `--seeds` repeats drawing and
learning. Everything can be called again: vectors, sums and models in `--output` are not made twice. On two cores
without bfloat16 some 6 texts of 300 characters are encoded a second, with it 54.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import datetime as dt
import gzip
import hashlib
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.query_sets import Corpus, Query, QuerySet
from pipeline.artifacts.vectors import DenseVectors, KeptVectors
from pipeline.asof import day_of, parse_instant
from pipeline.config import Config, load
from pipeline.encoder import Encoder, Encoding, QueryTable
from pipeline.encoder.statistics import corpus_statistics
from pipeline.evaluation.results import SetResult
from pipeline.judged import read_judged
from pipeline.progress import LogProgress
from pipeline.ranking.bm25 import BM25, morphemes
from pipeline.ranking.metrics import Cost
from pipeline.ranking.runs import DEPTH, Run, hybrid_run, sparse_run
from pipeline.ranking.significance import interval
from pipeline.text.words import analyse
from pipeline.training.base import build_base
from pipeline.training.files import learn_from_articles
from pipeline.training.learning import sums_of
from pipeline.training.pseudo_queries import leading_words
from pipeline.training.sums import Sums, solve
from pipeline.training.worker import encode_in_parts, total_of

SHORTEST = 80  # characters of a text that can be searched for: shorter ones are a reporter's name


@dataclass(frozen=True)
class Article:
    """An article of the file."""

    name: str
    title: str
    text: str
    day: dt.date


@dataclass(frozen=True)
class Set:
    """A query set with its corpus; ``titled``: BM25 searches titles, too."""

    queries: QuerySet
    corpus: Corpus
    titled: bool


def read(path: Path) -> list[Article]:
    """The articles of a file with a text of some length, the first of each text, oldest first."""
    with gzip.open(path, "rt", encoding="utf-8") as handle:
        rows = [json.loads(line) for line in handle]
    found: dict[str, Article] = {}
    for row in sorted(rows, key=lambda row: row["date"]):
        text = " ".join(row["text"].split())
        if len(text) >= SHORTEST:
            found.setdefault(text, Article(str(row["id"]), row["title"], text, day_of(parse_instant(row["date"]))))
    return list(found.values())


def news_sets(articles: Sequence[Article], options: argparse.Namespace, config: Config) -> Iterator[Set]:
    """Titles of the days that are asked, and their first two and three words."""
    days = [a for a in articles if options.first <= a.day <= options.last]
    searched = random.Random(7).sample(days, min(options.documents, len(days)))
    corpus = Corpus([a.name for a in searched], [Encoding.of(config.encoder).document_text(a.text) for a in searched])
    asked = searched[: options.queries]
    words = [analysis.words for analysis in analyse([a.title for a in asked])]
    queries = {"titles": [(a.name, a.title) for a in asked]}
    for count in (2, 3):
        short = [(a.name, leading_words(own, count)) for a, own in zip(asked, words, strict=True)]
        queries[f"first {count} words"] = [(name, text) for name, text in short if text]
    for name, rows in queries.items():
        yield Set(QuerySet(name, [Query(n, text, {n: 1.0}) for n, text in rows]), corpus, titled=False)


def judged_set(name: str, articles: Sequence[Article], options: argparse.Namespace, config: Config) -> Set:
    """A folder in BEIR form, or a half of it, with news among its documents."""
    folder, _, half = name.partition(":")
    queries, corpus = read_judged(Path(folder))
    if corpus is None:
        raise SystemExit(f"{folder} has no corpus.jsonl")
    titles = corpus.titles or [""] * len(corpus)
    title_of = dict(zip(corpus.ids, titles, strict=True))
    if half:
        kept = {d for d, t in title_of.items() if int(hashlib.sha256(t.encode()).hexdigest()[5], 16) % 2 == int(half)}
        queries = QuerySet(queries.name, [q for q in queries.queries if kept.issuperset(q.relevant)])
    if not queries.queries:
        raise SystemExit(f"{name} has no queries")
    others = random.Random(8).sample(list(articles), min(options.among, len(articles)))
    ids = [*corpus.ids, *(a.name for a in others)]
    texts = [Encoding.of(config.encoder).document_text(text) for text in [*corpus.texts, *(a.text for a in others)]]
    chosen = random.Random(9).sample(queries.queries, min(options.judged_queries, len(queries.queries)))
    whole = Corpus(ids, texts, [*titles, *(a.title for a in others)])
    return Set(QuerySet(f"{Path(folder).name}{':' * bool(half)}{half}", chosen), whole, titled=True)


def dense_run(scores: np.ndarray) -> Run:
    """A run of dense scores (queries, documents)."""
    depth = min(DEPTH, scores.shape[1])
    rows = []
    for row in scores:
        best = np.argpartition(-row, depth - 1)[:depth]
        rows.append((best.astype(np.int32), row[best].astype(np.float32)))
    return Run.of(rows)


class Vectors:
    """Dense vectors of texts and queries, kept in a folder."""

    def __init__(self, encoder: Encoder, folder: Path, tell: Any) -> None:
        self.encoder, self.folder, self.tell = encoder, folder, tell
        folder.mkdir(parents=True, exist_ok=True)
        self.kept = KeptVectors(encoder.dense_identity, map(DenseVectors.read, sorted(folder.glob("dense-*"))))
        self.asked: dict[str, np.ndarray] = {}

    def documents(self, texts: Sequence[str]) -> DenseVectors:
        """Vectors of texts, made where they are missing."""
        with tempfile.TemporaryDirectory() as work:
            made = encode_in_parts(self.encoder, self.kept, texts, Path(work), self.tell)
        if made:
            DenseVectors.join(made).write(self.folder / f"dense-{len(self.kept):07}")
        vectors = self.kept.only(texts)
        assert vectors is not None
        return vectors

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (n, H) of queries."""
        missing = [text for text in dict.fromkeys(texts) if text not in self.asked]
        made = self.encoder.dense.encode(missing, "query", lambda d, n: self.tell("dense queries", d, n))
        self.asked |= dict(zip(missing, made, strict=True))
        return np.stack([self.asked[text] for text in texts])


def measure(one: Set, base: Encoder, models: dict[str, QueryTable], own: Sums | None, vectors: Vectors,
            total: Sums, config: Config) -> dict[str, Any]:  # fmt: skip
    """A set's figures: nDCG@10 of every system, terms of a text, and the model's difference to its floor."""
    corpus, texts = one.corpus, [query.text for query in one.queries.queries]
    result = SetResult.of(one.queries, corpus)
    statistics = corpus_statistics(base, corpus.texts)
    asked = base.encode_queries(texts, statistics.query_weights)
    base.encoding = replace(base.encoding, average_length=statistics.average_length)
    floor = base.lexical_floor(corpus.texts)
    titles = corpus.titles if one.titled else [""] * len(corpus)
    k1, b = config.evaluation.bm25_k1, config.evaluation.bm25_b
    words = BM25([f"{t}\n{x}".strip() for t, x in zip(titles, corpus.texts, strict=True)], morphemes, k1=k1, b=b).run(
        texts
    )
    windows, starts = vectors.documents(corpus.texts).rows(corpus.texts)
    scores = vectors.queries(texts) @ windows.T
    dense = dense_run(np.maximum.reduceat(scores, starts[:-1], axis=1))
    lexical = sparse_run(asked, floor)

    def mixed(*runs: Run) -> Run:
        return hybrid_run(runs, [1.0] * len(runs), depth=100)

    for name, run in (("bm25", words), ("floor", lexical), ("dense", dense), ("floor+bm25", mixed(lexical, words)),
                      ("floor+dense", mixed(lexical, dense))):  # fmt: skip
        result.add(name, run)
    for name, table in models.items():
        documents = floor + table.terms(windows, starts, base.encoding.max_terms)
        run = sparse_run(asked, documents.tocsr())
        result.add(name, run, Cost.of(documents.tocsr(), asked))
        if name == "model":
            result.add("model+bm25", mixed(run, words))
    if own is not None:
        assert base.table is not None
        settings, model = config.training, models["model"]
        rows, _ = solve(
            Sums.total([(1.0, total), (1.0, own)], *model.rows.shape), settings.prior_share * base.table.rows,
            settings.ridge, start=model.rows,
        )  # fmt: skip
        rows[base.blocked] = 0.0
        table = replace(model, rows=rows)
        documents = floor + table.terms(windows, starts, base.encoding.max_terms)
        result.add("model, own texts", sparse_run(asked, documents.tocsr()))
    difference = result.differences("model", "floor")
    low, high = interval(difference)
    means = {name: result.mean(name) for name in result.values}
    gap = max(means["dense"], means["floor+dense"]) - means["floor"]
    return {
        "set": one.queries.name, "queries": len(texts), "documents": len(corpus), "ndcg@10": means,
        "model - floor": [difference.mean, low, high],
        "gap won back": (means["model"] - means["floor"]) / gap if gap > 0 else 0.0,
        "terms": result.costs["model"].active_terms,
    }  # fmt: skip


def table_of(
    rows: QueryTable, name: str, learned: dict[str, Any], base: Encoder, recent: tuple[Any, Any]
) -> QueryTable:
    """The rung ``name`` of a model's ladder as a table, whether it was taken or not."""
    step = next((s for s in learned["ladder"] if s["rung"] == name), None)
    if step is None:
        return replace(rows, gain=0.0)
    plain = replace(rows, gain=1.0, thresholds=np.zeros(len(rows.rows), np.float32))
    thresholds = np.quantile(plain.scores(*recent), 1 - step["active_share"], axis=0).astype(np.float32)
    thresholds[base.blocked] = np.inf
    return replace(rows, thresholds=thresholds, gain=step["gain"])


def main() -> None:
    """Make the models, search, print, and write report.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("news", type=Path)
    parser.add_argument("--first", type=dt.date.fromisoformat, required=True, help="first day whose titles are asked")
    parser.add_argument("--last", type=dt.date.fromisoformat, required=True, help="last such day")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--judged", action="append", default=[], help="a folder in BEIR form, or :0 or :1 of it")
    parser.add_argument("--judged-queries", type=int, default=10**9, help="queries of a judged folder at most")
    parser.add_argument("--among", type=int, default=0, help="news texts among a judged folder's documents")
    parser.add_argument("--learn", type=int, default=18_000, help="articles that are learned from")
    parser.add_argument("--documents", type=int, default=6000, help="texts that titles and short queries search")
    parser.add_argument("--queries", type=int, default=1200, help="titles that are asked")
    parser.add_argument("--own", action="store_true", help="also with the sums of the searched texts")
    parser.add_argument("--seeds", type=int, nargs="+", default=[13])
    parser.add_argument("--config", type=Path, help="config.yaml (by default the one here)")
    options = parser.parse_args()
    output: Path = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    config = load(options.config)
    articles = read(options.news)
    before = [a for a in articles if a.day < options.first]
    tell = LogProgress(print)
    folder = build_base(
        [Encoding.of(config.encoder).document_text(a.text) for a in before], output / "base", config.encoder, tell
    )
    vectors = Vectors(Encoder.load(folder), output / "vectors", tell)
    chosen = sorted(random.Random(3).sample(before, min(options.learn, len(before))), key=lambda a: (a.day, a.name))
    sets = [*news_sets(articles, options, config), *(judged_set(n, before, options, config) for n in options.judged)]
    report = []
    for seed in options.seeds:
        settings = config.training.model_copy(update={"seed": seed})
        seeded = config.model_copy(update={"training": settings})
        work, model = output / f"work-{seed}", output / f"model-{seed}"
        if not (model / "card.json").exists():
            learn_from_articles(chosen, model, work, seeded, base=folder, progress=tell)
        learned = json.loads((model / "card.json").read_text())
        base, made = Encoder.load(folder), Encoder.load(model).table
        assert base.table is not None
        assert made is not None
        places = [(place.name, place) for place in sorted((work / "sums").iterdir())]
        total = total_of(base, places, chosen[-1].day, settings)
        newest = [Encoding.of(config.encoder).document_text(a.text) for a in chosen[-settings.validation_texts :]]
        recent = vectors.documents(newest).rows(newest)
        rows, _ = solve(total, settings.prior_share * base.table.rows, settings.ridge, start=made.rows)
        rows[base.blocked] = 0.0
        models = {
            "token rows": table_of(replace(made, rows=base.table.rows), "token rows", learned, base, recent),
            "learned rows": table_of(replace(made, rows=rows), "learned rows", learned, base, recent),
            "model": made,
        }
        for one in sets:
            own = sums_of(base, [list(dict.fromkeys(one.corpus.texts))], settings, tell)[0] if options.own else None
            row = {"seed": seed, "rung": learned["rung"], **measure(one, base, models, own, vectors, total, seeded)}
            report.append(row)
            print(f"\n{row['set']} (seed {seed}): {row['queries']} queries, {row['documents']} documents, "
                  f"{row['terms']:.0f} terms a text; taken: {row['rung']}")  # fmt: skip
            print("  " + "  ".join(f"{name} {value:.4f}" for name, value in row["ndcg@10"].items()))
            gain, low, high = row["model - floor"]
            print(f"  model - floor {gain:+.4f} ({low:+.4f} to {high:+.4f}); {row['gap won back']:.0%} of the gap")
    (output / "report.json").write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
