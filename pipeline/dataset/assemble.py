"""A training set and its query sets from the store's articles: artifacts first, rows last."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from sqlalchemy.engine import Connection

from pipeline.artifacts import Artifacts
from pipeline.artifacts.query_sets import Corpus, QuerySet
from pipeline.asof import AsOf
from pipeline.context import Context
from pipeline.dataset import holdout
from pipeline.dataset.holdout import JudgedArticle
from pipeline.dataset.leakage import Guard
from pipeline.dataset.rewrites import SynonymGroup
from pipeline.dataset.sampling import Dated
from pipeline.dataset.training_set import FORMAT, make_training_set, select
from pipeline.encoder.encoding import Encoding
from pipeline.errors import BadInputError
from pipeline.hashing import content_hash
from pipeline.judged import judged_folders, read_judged
from pipeline.kept import base_encoding
from pipeline.progress import Progress, silent
from pipeline.store import articles as article_rows
from pipeline.store import datasets, evaluations
from pipeline.store.articles import Article, Heading
from pipeline.store.datasets import QuerySetRow, TrainingSetRow, TrendingWords

_AT_ONCE = 10_000  # articles of one query by id: Postgres takes 65,535 parameters


@dataclass(frozen=True)
class _Judged:
    """What the user's judged query sets keep out of training."""

    queries: list[str]
    documents: list[tuple[str, str]]  # (title, text) of the relevant documents of sets that have a corpus
    articles: frozenset[int]  # ids of our articles that are relevant


@dataclass(frozen=True)
class _Input:
    """What is read of the store under the as-of; texts are read of the articles that are chosen only."""

    ctx: Context
    as_of: AsOf
    articles: list[Heading]
    trends: TrendingWords
    groups: list[SynonymGroup]
    anchor: QuerySetRow | None
    encoding: Encoding  # of the base, which says what part of a text is searched
    judged: _Judged

    def read(self, chosen: Sequence[Dated]) -> list[Article]:
        """These articles with their texts, by (day, id)."""
        ids, found = [article.id for article in chosen], list[Article]()
        with self.ctx.store.begin() as conn:
            for start in range(0, len(ids), _AT_ONCE):
                found += article_rows.read(conn, self.as_of, ids=ids[start : start + _AT_ONCE])
        return sorted(found, key=lambda article: (article.day, article.id))

    def usable(self, article: JudgedArticle) -> bool:
        """Whether an article's title can be a query."""
        return holdout.fits(article, self.encoding.document_text(article.text), self.ctx.config.dataset.min_query_chars)

    def held_out(self) -> list[Heading]:
        """Articles that are never trained on: those that the anchor set and judged sets name, and their stories."""
        assert self.anchor is not None
        named = self.judged.articles | set(self.anchor.report["held_out"])
        # A story's id is that of its first telling, which may be older than the window.
        stories = named | {article.story_id for article in self.articles if article.id in named}
        return [article for article in self.articles if article.id in named or article.story_id in stories]


def build(ctx: Context, as_of: AsOf, *, progress: Progress = silent) -> int:
    """The id of the as-of's training set, new or already there: the same as-of and configuration make one set.

    Makes the training set, a corpus and the query sets that judge what is trained on it (``fresh``: titles of the
    newest, held-out days; ``anchor``: frozen with the first set) as artifacts, then registers them. The queries and
    the relevant documents of ``evaluation.judged`` are held out, too. Two at once make one; a killed one leaves
    artifacts that the next uses. Raises BadInputError when there is too little to learn from, UsageError for a judged
    folder that is missing.
    """
    # One at a time: the first ever freezes the anchor set, and two must not freeze two.
    with ctx.store.lock("garam.dataset"):
        progress("articles", 0, 0)
        inputs = _read(ctx, as_of)
        if inputs.anchor is None:
            inputs = _freeze_anchor(inputs)
        recipe = _recipe(inputs)
        recipe_hash = content_hash(recipe)
        with ctx.store.begin() as conn:
            row = datasets.find(conn, as_of, recipe_hash)
            if row is not None and _complete(ctx, row):
                return row.id
        return _make(inputs, recipe, recipe_hash, progress)


def _read(ctx: Context, as_of: AsOf) -> _Input:
    encoding = base_encoding(ctx)
    with ctx.store.begin() as conn:
        since = as_of.day - dt.timedelta(days=ctx.config.dataset.window_days - 1)
        articles = article_rows.headings(conn, as_of, since=since)
        trends = datasets.trending_words(conn, as_of)
        groups = [SynonymGroup(tuple(words), confidence) for words, confidence in datasets.synonyms(conn, as_of)]
        return _Input(ctx, as_of, articles, trends, groups, datasets.anchor(conn), encoding, _judged(ctx, conn))


def _judged(ctx: Context, conn: Connection) -> _Judged:
    """Read the judged sets. They name our articles by URL and, where a set has no corpus, by id."""
    texts, relevant_texts, ids = list[str](), list[tuple[str, str]](), set[int]()
    for folder in judged_folders(ctx.config):
        queries, corpus = read_judged(folder)
        documents = sorted({document for query in queries.queries for document in query.relevant})
        for start in range(0, len(documents), _AT_ONCE):
            ids.update(map(int, evaluations.article_ids(conn, documents[start : start + _AT_ONCE]).values()))
        texts += [query.text for query in queries.queries]
        if corpus is None:
            ids.update(int(document) for document in documents if document.isdecimal())
        else:
            relevant = set(documents)
            rows = zip(corpus.ids, corpus.titles, corpus.texts, strict=True)
            relevant_texts += [(title, text) for document, title, text in rows if document in relevant]
    return _Judged(texts, relevant_texts, frozenset(ids))


def _first_held_out(inputs: _Input) -> dt.date:
    settings = inputs.ctx.config.dataset
    return holdout.holdout_from(
        inputs.articles,
        days=settings.holdout_days,
        queries_min=settings.holdout_queries_min,
        share_max=settings.holdout_share_max,
        usable=lambda of_day: sum(map(inputs.usable, inputs.read(of_day))),
    )


def _freeze_anchor(inputs: _Input) -> _Input:
    """Make and register the anchor set of the first training set."""
    ctx, settings = inputs.ctx, inputs.ctx.config.dataset
    text_of = inputs.encoding.document_text
    first = _first_held_out(inputs)
    titled, searched = holdout.choose_anchor(
        [a for a in inputs.articles if a.day < first],
        inputs.read,
        queries=settings.anchor_queries,
        documents=settings.anchor_corpus,
        share_max=settings.anchor_share_max,
        usable=inputs.usable,
        seed=settings.seed,
    )
    if not titled:
        raise BadInputError("no title can be a query of the anchor set: every title is in its own text, or too short")
    queries = holdout.title_queries(titled, searched, text_of, settings.near_duplicate)
    corpus = _put_corpus(ctx.artifacts, holdout.corpus_of(searched, text_of))
    name = _put_queries(ctx.artifacts, QuerySet("anchor", queries, corpus))
    report = {"queries": len(queries), "documents": len(searched), "held_out": sorted(a.id for a in titled)}
    with ctx.store.begin() as conn:
        datasets.register_query_set(conn, inputs.as_of, name="anchor", artifact=name, report=report, frozen=True)
        return replace(inputs, anchor=datasets.anchor(conn))


def _recipe(inputs: _Input) -> dict[str, Any]:
    """Everything that the training set and its query sets depend on."""
    config = inputs.ctx.config
    assert inputs.anchor is not None
    return {
        "format": FORMAT,
        "settings": config.dataset.model_dump(mode="json"),
        "max_chars": inputs.encoding.max_chars,
        "statistics": inputs.trends.content_hash,
        "synonyms": content_hash([[list(g.words), g.confidence] for g in inputs.groups]),
        "articles": content_hash(
            [
                content_hash([[a.id, a.version, a.story_id, a.outlet] for a in of_day])
                for _, of_day in groupby(inputs.articles, key=lambda a: a.day)
            ]
        ),
        "anchor": inputs.anchor.artifact,
        "judged": content_hash([inputs.judged.queries, inputs.judged.documents]),
        "held_out_articles": [a.id for a in inputs.held_out()],
    }


def _complete(ctx: Context, row: TrainingSetRow) -> bool:
    """Whether a registered set's artifacts are still there (prune may have taken them)."""
    if not ctx.artifacts.has(row.artifact):
        return False
    with ctx.store.begin() as conn:
        return all(ctx.artifacts.has(held.artifact) for held in datasets.query_sets_by_id(conn, row.query_set_ids))


def _make(inputs: _Input, recipe: dict[str, Any], recipe_hash: str, progress: Progress) -> int:
    ctx, settings, as_of = inputs.ctx, inputs.ctx.config.dataset, inputs.as_of
    text_of = inputs.encoding.document_text
    assert inputs.anchor is not None
    anchor_corpus = Corpus.read(ctx.artifacts.get(_corpus_name(ctx.artifacts, inputs.anchor.artifact)))
    first = _first_held_out(inputs)
    newest = inputs.read([a for a in inputs.articles if a.day >= first])

    progress("query sets", 0, 0)
    searched = inputs.read(
        _searched(inputs.articles, set(map(int, anchor_corpus.ids)), len(newest), settings.corpus_size)
    )
    titled = [a for a in newest if inputs.usable(a)][-settings.holdout_queries_max :]
    queries = holdout.title_queries(
        titled, searched, text_of, settings.near_duplicate, trending=inputs.trends.trending, new_words=inputs.trends.new
    )
    if not queries:
        raise BadInputError(f"none of the {len(newest)} newest articles has a title that can be a query: crawl more")
    corpus = _put_corpus(ctx.artifacts, holdout.corpus_of(searched, text_of))
    fresh = _put_queries(ctx.artifacts, QuerySet("fresh", queries, corpus))

    guard = Guard(settings.near_duplicate)
    holdout.hold_all(guard, newest)
    # Articles that the anchor or a judged set names and an as-of does not know (a backfill) cannot be trained on.
    holdout.hold_all(guard, inputs.read(inputs.held_out()))
    for query in QuerySet.read(ctx.artifacts.get(inputs.anchor.artifact)).queries:
        guard.hold_out_query(query.text)
    for query_text in inputs.judged.queries:
        guard.hold_out_query(query_text)
    for title, text in inputs.judged.documents:
        guard.hold_out_text(title, text)
    refused: Counter[str] = Counter()
    made = make_training_set(
        inputs.read(select(inputs.articles, as_of=as_of.day, settings=settings, guard=guard, refused=refused)),
        as_of=as_of.day,
        settings=settings,
        synonym_groups=inputs.groups,
        exclude=guard,
        recipe=recipe,
        progress=progress,
    )
    made.report |= {
        "articles": len(inputs.articles),
        "refused": dict(sorted((refused + Counter(made.report["refused"])).items())),
        "first_held_out_day": first.isoformat(),
        "held_out": len(newest),
        "queries": len(queries),
        "corpus": len(searched),
        "corpus_artifact": corpus,
    }
    with ctx.artifacts.scratch() as folder:
        made.write(folder / "set")
        artifact = ctx.artifacts.put(folder / "set", "trainingset")
    counts = {name: sum(name in q.slices for q in queries) for name in sorted({s for q in queries for s in q.slices})}
    report = {"queries": len(queries), "documents": len(searched), "slices": counts, "first_day": first.isoformat()}
    with ctx.store.begin() as conn:
        fresh_id = datasets.register_query_set(conn, as_of, name="fresh", artifact=fresh, report=report)
        return datasets.register(
            conn,
            as_of,
            recipe_hash=recipe_hash,
            recipe=recipe,
            artifact=artifact,
            report=made.report,
            query_set_ids=[fresh_id, inputs.anchor.id],
        )


def _searched(articles: list[Heading], anchored: set[int], newest: int, size: int) -> list[Heading]:
    """The corpus: the ``newest`` articles and the anchor's documents, then the newest others, up to ``size``."""
    kept = {a.id for a in articles[-newest:]} | {a.id for a in articles if a.id in anchored}
    for article in reversed(articles):
        if len(kept) >= size:
            break
        kept.add(article.id)
    return [a for a in articles if a.id in kept]


def _put_corpus(artifacts: Artifacts, corpus: Corpus) -> str:
    with artifacts.scratch() as folder:
        corpus.write(folder / "corpus")
        return artifacts.put(folder / "corpus", "corpus")


def _put_queries(artifacts: Artifacts, queries: QuerySet) -> str:
    with artifacts.scratch() as folder:
        queries.write(folder / "queries")
        return artifacts.put(folder / "queries", "queryset")


def _corpus_name(artifacts: Artifacts, queryset: str) -> str:
    """The corpus artifact that a query set is searched in."""
    return QuerySet.read(artifacts.get(queryset)).corpus or queryset
