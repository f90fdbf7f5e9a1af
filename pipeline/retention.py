"""What is kept and what goes: old artifacts, raw answers, and what a removed article still stands in."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline import serving
from pipeline.artifacts import Artifacts
from pipeline.artifacts.jobs import read_job
from pipeline.artifacts.query_sets import Corpus, QuerySet
from pipeline.artifacts.training_set import TrainingSet
from pipeline.artifacts.vectors import DenseVectors, text_key
from pipeline.context import Context
from pipeline.encoder.encoding import cut
from pipeline.errors import BadInputError
from pipeline.kept import LOCK, encoding_of, replace
from pipeline.store import datasets, feeds, models, news, retention, trend_weights
from pipeline.store import vectors as vector_rows

log = logging.getLogger(__name__)

_SOURCES = {"trainingset": TrainingSet.sources, "corpus": Corpus.sources, "queryset": QuerySet.sources}
"""By kind, for those that hold words of articles: whose they are."""
_READERS = {"job": read_job, "queryset": QuerySet.read}
"""By kind, for those that refer to other artifacts."""


@dataclass(frozen=True)
class Pruned(serving.PruneReport):
    """What `prune` removed: names, and how many raw answers."""

    artifacts: list[str] = field(default_factory=list)
    payloads: int = 0


def prune(ctx: Context, *, now: dt.datetime | None = None) -> Pruned:
    """Remove what nothing refers to any more: indices, old raw answers, and artifacts older than ``storage.keep_days``.

    An artifact stays while a generation, the base, a head of the training line, a frozen query set or the
    newest training set, query weights or synonyms need it (`pipeline.store.retention.needed`), what is learned now is
    learned from it, or a younger artifact or row names it. Run again, it finds nothing. Rows stay: they say what was;
    what they name can be made again. Only those of dense vectors and of the table's statistics go with their artifacts.
    """
    now = now or dt.datetime.now(dt.UTC)
    left = dataclasses.asdict(serving.prune(ctx))
    return Pruned(**left, artifacts=prune_artifacts(ctx, now=now), payloads=prune_payloads(ctx, now=now))


def prune_artifacts(ctx: Context, *, now: dt.datetime) -> list[str]:
    """The artifacts' part of `prune`; their names.

    An artifact that is kept and cannot be read (of another version of Garam) may need any other: then none is pruned,
    and a warning names it.
    """
    since = now - dt.timedelta(days=ctx.config.storage.keep_days)
    # Ages first: what is made after this moment is not in the list, and what is named after it is young.
    stored = ctx.artifacts.stored()
    with ctx.store.begin() as conn:
        kept = retention.needed(conn) | retention.referenced(conn, since)
        used = [encoding_of(ctx.artifacts.get(n)) for n in retention.needed_models(conn) if ctx.artifacts.has(n)]
        kept |= retention.learned_from(conn, {one[0] for one in used if one is not None}, since)
    kept |= {name for name, made in stored.items() if made >= since}
    try:
        kept = _with_references(ctx.artifacts, kept)
    except BadInputError as error:
        log.warning("no artifact is pruned, since what this one needs is unknown: %s", error)
        return []
    gone = sorted(stored.keys() - kept)
    with ctx.store.begin() as conn:
        retention.drop(conn, gone)
        trend_weights.prune(conn, since)
    for name in gone:
        ctx.artifacts.remove(name)
    return gone


def prune_payloads(ctx: Context, *, now: dt.datetime) -> int:
    """Remove raw answers older than ``news.payload_days``; how many."""
    before, gone = now - dt.timedelta(days=ctx.config.news.payload_days), 0
    while True:
        with ctx.store.begin() as conn:
            some = feeds.prune_payloads(conn, before)
        gone += some
        if not some:
            return gone


def _with_references(artifacts: Artifacts, names: Iterable[str]) -> set[str]:
    """These artifacts and all that they refer to; BadInputError when one of them cannot be read."""
    reached, waiting = set[str](), set(names)
    while waiting:
        name = waiting.pop()
        reached.add(name)
        read = _READERS.get(name.rpartition("-")[0])
        if read is not None and artifacts.has(name):
            waiting |= read(artifacts.get(name)).references() - reached
    return reached


def text_keys(ctx: Context, url: str) -> set[str]:
    """Hashes of the texts of an article, as they are and as they were when it was removed.

    Texts are cut by the configuration or by a model's own encoding, so there is a key for each.
    """
    with ctx.store.begin() as conn:
        texts, removed = news.texts_of(conn, url), news.removed_text_keys(conn, url)
        artifacts = [model.artifact for model in models.all_models(conn)] if texts else []
    saved = [encoding_of(ctx.artifacts.get(name)) for name in artifacts if ctx.artifacts.has(name)]
    sizes = {ctx.config.encoder.max_chars, *(one[1].max_chars for one in saved if one is not None)}
    return removed | {text_key(cut(text, size)) for text in texts for size in sizes}


def forget_vectors(ctx: Context, article_ids: Iterable[int], keys: Iterable[str]) -> list[str]:
    """Take articles out of the dense vectors that are kept and of the query table's statistics; the artifacts that
    are gone.

    ``keys`` are the articles' `text_keys`. Vectors of other texts go into a new artifact; statistics of other articles
    in the same batch are made again when they are wanted. Run again, it does what is left to do.
    """
    unwanted, gone = set(keys), list[str]()
    with ctx.store.lock(LOCK):
        with ctx.store.begin() as conn:
            rows = vector_rows.dense(conn)
        for row in rows:
            if not ctx.artifacts.has(row.artifact):
                continue
            vectors = DenseVectors.read(ctx.artifacts.get(row.artifact))
            if unwanted.isdisjoint(vectors.keys):
                continue
            replace(ctx, row.artifact, vectors.without(unwanted))
            gone.append(row.artifact)
        with ctx.store.begin() as conn:
            sums = vector_rows.drop_sums_of(conn, list(article_ids))
        for name in sums:
            ctx.artifacts.remove(name)
    return gone + sums


def holding(ctx: Context, article_ids: Iterable[int], keys: Iterable[str] = ()) -> list[str]:
    """Artifacts that hold words of these articles: training sets, corpora and query sets, by name.

    ``keys`` are their `text_keys`, by which the texts that a base model is built from are named.
    """
    wanted = {str(number) for number in article_ids} | set(keys)
    found = []
    for name in sorted(ctx.artifacts.stored()):
        sources = _SOURCES.get(name.rpartition("-")[0])
        if sources is not None and not wanted.isdisjoint(sources(ctx.artifacts.get(name))):
            found.append(name)
    return found


def erase(ctx: Context, names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Remove these artifacts but for those of the frozen anchor set; (removed, left).

    Without a training set or a query set its day is built again, without the article, when it is asked for.
    """
    with ctx.store.begin() as conn:
        anchor = datasets.anchor(conn)
    fixed = _with_references(ctx.artifacts, {anchor.artifact} if anchor else ())
    removed, left = [], []
    for name in names:
        if name in fixed:
            left.append(name)
        else:
            ctx.artifacts.remove(name)
            removed.append(name)
    return removed, left
