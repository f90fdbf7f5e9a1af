"""A training set and its query sets from the store's articles: artifacts first, rows last."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.artifacts import Artifacts, content_hash
from pipeline.asof import AsOf
from pipeline.config import Config
from pipeline.config.dataset import DatasetConfig
from pipeline.context import Context
from pipeline.dataset import holdout
from pipeline.dataset.leakage import Guard
from pipeline.dataset.rewrites import SynonymGroup
from pipeline.dataset.training_set import FORMAT, make_training_set
from pipeline.encoder.encoding import Encoding
from pipeline.errors import BadInputError
from pipeline.judged import hash_of_judged, read_judged
from pipeline.kept import base_encoding
from pipeline.progress import Progress, silent
from pipeline.querysets import Corpus, QuerySet
from pipeline.store import articles as article_rows
from pipeline.store import datasets, evaluations
from pipeline.store.articles import Article
from pipeline.store.datasets import QuerySetRow, TrainingSetRow, TrendingWords


@dataclass(frozen=True)
class _Known:
    """What was read of the store under the as-of."""

    as_of: AsOf
    articles: list[Article]
    words: TrendingWords
    groups: list[SynonymGroup]
    anchor: QuerySetRow | None
    encoding: Encoding  # of the base, which says what part of a text is searched
    judged: _Judged


@dataclass(frozen=True)
class _Judged:
    """The users' own judged queries (``evaluation.judged``), and the texts and our articles that they judge."""

    content_hash: str
    queries: list[str]
    texts: list[str]  # relevant documents of folders with a corpus of their own
    documents: set[str]  # relevant documents of the others: urls or ids of our articles

    @classmethod
    def read(cls, config: Config) -> _Judged:
        folders = [Path(folder) for folder in config.evaluation.judged]
        made = cls(hash_of_judged(folders), [], [], set())
        for folder in folders:
            queries, corpus = read_judged(folder)
            relevant = {document for query in queries.queries for document in query.relevant}
            made.queries.extend(query.text for query in queries.queries)
            if corpus is None:
                made.documents.update(relevant)
            else:
                made.texts.extend(t for id_, t in zip(corpus.ids, corpus.texts, strict=True) if id_ in relevant)
        return made


def build(ctx: Context, as_of: AsOf, *, progress: Progress = silent) -> int:
    """The id of the as-of's training set, made now or found: the same as-of and configuration make one set.

    Makes the training set, a corpus and the query sets that judge what is trained on it (``fresh``: titles of the
    newest, held-out days; ``anchor``: frozen with the first set) as artifacts, then registers them. Two at once make
    one; a killed one leaves artifacts that the next finds. Raises BadInputError when there is too little to learn
    from.
    """
    # One at a time: the first ever freezes the anchor set, and two must not freeze two.
    with ctx.store.lock("garam.dataset"):
        progress("articles", 0, 0)
        known = _read(ctx, as_of)
        if known.anchor is None:
            known = _freeze_anchor(ctx, known)
        recipe = _recipe(ctx.config.dataset, known)
        recipe_hash = content_hash(recipe)
        with ctx.store.begin() as conn:
            row = datasets.find(conn, as_of, recipe_hash)
            if row is not None and _complete(ctx, row):
                return row.id
        return _make(ctx, known, recipe, recipe_hash, progress)


def _read(ctx: Context, as_of: AsOf) -> _Known:
    encoding = base_encoding(ctx)
    with ctx.store.begin() as conn:
        since = as_of.day - dt.timedelta(days=ctx.config.dataset.window_days - 1)
        found = list(article_rows.read(conn, as_of, since=since))
        words = datasets.trending_words(conn, as_of)
        groups = [SynonymGroup(tuple(held), sure) for held, sure in datasets.synonyms(conn, as_of)]
        judged = _Judged.read(ctx.config)
        return _Known(as_of, found, words, groups, datasets.anchor(conn), encoding, judged)


def _first_held_out(settings: DatasetConfig, known: _Known) -> dt.date:
    return holdout.holdout_from(
        known.articles,
        days=settings.holdout_days,
        queries_min=settings.holdout_queries_min,
        share_max=settings.holdout_share_max,
        usable=lambda a: holdout.fits(a, known.encoding.document_text(a.text), settings.min_query_chars),
    )


def _freeze_anchor(ctx: Context, known: _Known) -> _Known:
    """Make and register the anchor set of the first training set."""
    settings, text_of = ctx.config.dataset, known.encoding.document_text
    first = _first_held_out(settings, known)
    asked, searched = holdout.choose_anchor(
        [a for a in known.articles if a.day < first],
        queries=settings.anchor_queries,
        documents=settings.anchor_corpus,
        share_max=settings.anchor_share_max,
        usable=lambda a: holdout.fits(a, text_of(a.text), settings.min_query_chars),
        seed=settings.seed,
    )
    if not asked:
        raise BadInputError(
            "no title can be asked for an anchor set: every title stands in its own text, or is too short"
        )
    queries = holdout.title_queries(asked, searched, text_of, settings.near_duplicate)
    corpus = _put_corpus(ctx.artifacts, holdout.corpus_of(searched, text_of))
    name = _put_queries(ctx.artifacts, QuerySet("anchor", queries, corpus))
    report = {"queries": len(queries), "documents": len(searched), "held_out": sorted(a.id for a in asked)}
    with ctx.store.begin() as conn:
        datasets.register_query_set(conn, known.as_of, name="anchor", artifact=name, report=report, frozen=True)
        return replace(known, anchor=datasets.anchor(conn))


def _recipe(settings: DatasetConfig, known: _Known) -> dict[str, Any]:
    """Everything that the training set and its query sets depend on."""
    assert known.anchor is not None
    return {
        "format": FORMAT,
        "settings": settings.model_dump(mode="json"),
        "max_chars": known.encoding.max_chars,
        "statistics": known.words.content_hash,
        "synonyms": content_hash([[list(g.words), g.confidence] for g in known.groups]),
        "articles": content_hash([[a.id, a.version, a.story_id, a.outlet] for a in known.articles]),
        "anchor": known.anchor.artifact,
        "judged": known.judged.content_hash,
    }


def _complete(ctx: Context, row: TrainingSetRow) -> bool:
    """Whether a registered set's artifacts are still there (prune may have taken them)."""
    if not ctx.artifacts.has(row.artifact):
        return False
    with ctx.store.begin() as conn:
        return all(ctx.artifacts.has(held.artifact) for held in datasets.query_sets_by_id(conn, row.query_set_ids))


def _make(ctx: Context, known: _Known, recipe: dict[str, Any], recipe_hash: str, progress: Progress) -> int:
    settings, text_of = ctx.config.dataset, known.encoding.document_text
    assert known.anchor is not None
    anchored = Corpus.read(ctx.artifacts.get(_corpus_name(ctx.artifacts, known.anchor.artifact)))
    first = _first_held_out(settings, known)
    held_out = [a for a in known.articles if a.day >= first]
    anchor_ids = set(known.anchor.report["held_out"])

    progress("query sets", 0, 0)
    searched = _searched(known.articles, set(map(int, anchored.ids)), len(held_out), settings.corpus_size)
    asked = [a for a in held_out if holdout.fits(a, text_of(a.text), settings.min_query_chars)]
    asked = asked[-settings.holdout_queries_max :]
    queries = holdout.title_queries(
        asked, searched, text_of, settings.near_duplicate, trending=known.words.trending, new_words=known.words.new
    )
    if not queries:
        raise BadInputError(
            f"none of the {len(held_out)} newest articles has a title that can be asked: crawl more days"
        )
    corpus = _put_corpus(ctx.artifacts, holdout.corpus_of(searched, text_of))
    fresh = _put_queries(ctx.artifacts, QuerySet("fresh", queries, corpus))

    guard = Guard(settings.near_duplicate)
    holdout.hold_all(guard, held_out)
    # Anchor articles that an as-of does not know (a backfill) cannot be trained on either way.
    holdout.hold_all(guard, (a for a in known.articles if a.id in anchor_ids))
    for query in QuerySet.read(ctx.artifacts.get(known.anchor.artifact)).queries:
        guard.hold_query(query.text)
    judged = _judged_articles(ctx, known)
    holdout.hold_all(guard, judged)
    for query_text in known.judged.queries:
        guard.hold_query(query_text)
    for number, text in enumerate(known.judged.texts, 1):
        guard.hold(article_id=-number, story_id=-number, title="", text=text)  # no article of ours: what tells the same
    made = make_training_set(
        known.articles,
        as_of=known.as_of.day,
        settings=settings,
        synonym_groups=known.groups,
        exclude=guard,
        recipe=recipe,
        progress=progress,
    )
    made.report |= {
        "first_held_out_day": first.isoformat(),
        "held_out": len(held_out),
        "queries": len(queries),
        "corpus": len(searched),
        "corpus_artifact": corpus,
        "judged": sorted(article.id for article in judged),
    }
    with ctx.artifacts.scratch() as folder:
        made.write(folder / "set")
        artifact = ctx.artifacts.put(folder / "set", "trainingset")
    counts = {name: sum(name in q.slices for q in queries) for name in sorted({s for q in queries for s in q.slices})}
    report = {"queries": len(queries), "documents": len(searched), "slices": counts, "first_day": first.isoformat()}
    with ctx.store.begin() as conn:
        fresh_id = datasets.register_query_set(conn, known.as_of, name="fresh", artifact=fresh, report=report)
        return datasets.register(
            conn,
            known.as_of,
            recipe_hash=recipe_hash,
            recipe=recipe,
            artifact=artifact,
            report=made.report,
            query_set_ids=[fresh_id, known.anchor.id],
        )


def _searched(articles: list[Article], anchored: set[int], held_out: int, size: int) -> list[Article]:
    """The corpus: the held-out articles and the anchor's documents, then the newest others, up to ``size``."""
    newest = articles[-held_out:]
    kept = {a.id for a in newest} | {a.id for a in articles if a.id in anchored}
    for article in reversed(articles):
        if len(kept) >= size:
            break
        kept.add(article.id)
    return [a for a in articles if a.id in kept]


def _judged_articles(ctx: Context, known: _Known) -> list[Article]:
    """Our articles that users' judged queries name by URL or id, and those of the same stories."""
    with ctx.store.begin() as conn:
        id_of_url = evaluations.article_ids(conn, sorted(known.judged.documents))
    ids = {id_of_url.get(document, document) for document in known.judged.documents}
    stories = {article.story_id for article in known.articles if str(article.id) in ids}
    return [article for article in known.articles if article.story_id in stories]


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
