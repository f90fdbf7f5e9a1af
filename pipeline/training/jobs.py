"""Jobs for the GPU worker: created from rows of the store, and registered there when they are complete."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.artifacts import Artifacts
from pipeline.artifacts.jobs import BaseJob, FineTuningJob, GrowthJob, JobAsOf, NewArticles, TrainingJob, read_job
from pipeline.artifacts.query_sets import Corpus, QuerySet
from pipeline.artifacts.vectors import text_key
from pipeline.asof import AsOf, today
from pipeline.context import Context
from pipeline.encoder.encoding import Encoding
from pipeline.errors import BadInputError, ConfigError
from pipeline.hashing import content_hash
from pipeline.kept import LOCK, enter, model_encoding, read_kept
from pipeline.progress import Progress, silent
from pipeline.store import articles as article_rows
from pipeline.store import datasets, models
from pipeline.store import vectors as vector_rows
from pipeline.store.articles import Article
from pipeline.store.models import Model
from pipeline.store.vectors import SumsRow
from pipeline.text.words import key as analyser
from pipeline.training import pseudo_queries
from pipeline.training.vocabulary import new_tokens
from pipeline.training.worker import JobResult, run_job

MOST_TOKENS = 32_000
"""Largest grown vocabulary: SEISMIC of OpenSearch allows 32,768 tokens."""
BASE_TEXTS = 50_000
"""Texts that a base is built from, at most; the newest."""


def make_base_job(ctx: Context, as_of: AsOf | None = None) -> str:
    """The job that builds the base from the texts known by the as-of (default: now)."""
    as_of = as_of or AsOf(today(), ctx.store.settle())
    texts = _put_newest_texts(ctx, as_of)
    return BaseJob(as_of=JobAsOf(day=as_of.day), texts=texts, encoder=ctx.config.encoder).put(ctx.artifacts)


def _put_newest_texts(ctx: Context, as_of: AsOf) -> str:
    """The corpus of the newest texts of an as-of, which a base's vocabulary is built from."""
    text_of = Encoding.of(ctx.config.encoder).document_text
    with ctx.store.begin() as conn:
        texts = {text_key(text): text for a in article_rows.read(conn, as_of) if (text := text_of(a.text))}
    if not texts:
        raise BadInputError("there is no article yet: crawl or import some before the base model is built")
    newest = dict(list(texts.items())[-BASE_TEXTS:])
    return _put(ctx, Corpus(list(newest), list(newest.values())))


def make_growth_job(ctx: Context, as_of: AsOf | None = None) -> str:
    """The job that adds trending words to the vocabulary of the base, where they are not single tokens yet.

    Its result is a base that replaces the current one, with the same dense encoder. Raises BadInputError where no
    trending word needs a token.
    """
    from pipeline.encoder.vocabulary import Vocabulary

    as_of = as_of or AsOf(today(), ctx.store.settle())
    with ctx.store.begin() as conn:
        base = _base(models.base(conn))
        trending = datasets.trending_words(conn, as_of)
    names = Vocabulary.read(ctx.artifacts.get(base.artifact)).names
    words = new_tokens([*trending.new, *trending.trending], names, MOST_TOKENS)
    if not words:
        raise BadInputError(f"no trending word of {as_of.day} needs a token of its own: the base stays as it is")
    texts = _put_newest_texts(ctx, as_of)
    return GrowthJob(as_of=JobAsOf(day=as_of.day), texts=texts, start=base.artifact, words=words).put(ctx.artifacts)


def make_fine_tuning_job(ctx: Context, training_set_id: int) -> str:
    """The job that fine-tunes the dense encoder of the base on a training set; its result replaces the base.

    Raises ConfigError where ``training.fine_tuning.steps`` is 0, or where there is no base.
    """
    if not ctx.config.training.fine_tuning.steps:
        raise ConfigError("training.fine_tuning.steps is 0: set how many steps the dense encoder is to be trained for")
    with ctx.store.begin() as conn:
        row = datasets.training_set(conn, training_set_id)
        base = _base(models.base(conn))
    job = FineTuningJob(
        as_of=JobAsOf(day=row.day, known_by=row.known_by),
        training_set=row.artifact,
        start=base.artifact,
        training=ctx.config.training,
    )
    return job.put(ctx.artifacts)


def make_job(ctx: Context, training_set_id: int) -> str:
    """The job that trains a model as of a training set, and encodes the texts to evaluate and serve.

    It names the stored sums, and the articles that are in none of them. The sums of a batch are used only where the
    as-of knows all of its articles in the same version. The parent is the newest healthy model of an earlier day that
    was known by the as-of (so a backfill never starts from a later model), else the base. Everything that determines
    the result is in the job: the same job gives the same artifacts.
    """
    with ctx.store.begin() as conn:
        row = datasets.training_set(conn, training_set_id)
        query_sets = [one.artifact for one in datasets.query_sets_by_id(conn, row.query_set_ids)]
        base = _base(models.base(conn))
        champion = models.champion(conn)
        parent = models.head(conn, base.vocabulary_hash, row.as_of) or base
    corpora = [QuerySet.read(ctx.artifacts.get(name)).corpus or name for name in query_sets]
    identity, encoding = model_encoding(ctx, base)
    reader = _Reader(
        ctx,
        row.as_of,
        encoding,
        identity,
        first_held_out=dt.date.fromisoformat(row.report["first_held_out_day"]),
        never=set(row.recipe["held_out_articles"]),
    )
    reader.read()
    recipe = sums_recipe(ctx, base.artifact)
    sums, new = _batches(ctx, reader, recipe)
    job = TrainingJob(
        training_set=row.artifact,
        query_sets=query_sets,
        corpora=list(dict.fromkeys(corpora)),
        unseen=[_put(ctx, reader.unseen_corpus())] if reader.unseen else [],
        recent=_put(ctx, reader.recent_corpus()),
        sums=sums,
        sums_recipe=recipe,
        new=new,
        dense=_kept(ctx, identity),
        parent=parent.artifact,
        base=base.artifact,
        champion=champion.artifact if champion else None,
        champion_dense=_kept(ctx, model_encoding(ctx, champion)[0]) if champion else [],
        training=ctx.config.training,
        as_of=JobAsOf(day=row.day, known_by=row.known_by),
        training_set_id=row.id,
    )
    return job.put(ctx.artifacts)


@dataclass
class _Reader:
    """One pass over the articles of an as-of: those to train on by day, those without dense vectors, the newest."""

    ctx: Context
    as_of: AsOf
    encoding: Encoding
    identity: str
    first_held_out: dt.date
    never: set[int]
    learnable: dict[dt.date, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))  # id -> version
    unseen: dict[str, str] = field(default_factory=dict)
    recent: deque[tuple[int, str, str]] = field(default_factory=deque)

    def read(self) -> None:
        """Read the articles. Raises BadInputError where fewer than two can be trained on."""
        kept = read_kept(self.ctx, self.identity)
        since = self.as_of.day - dt.timedelta(days=self.ctx.config.dataset.window_days - 1)
        self.recent = deque(maxlen=self.ctx.config.training.validation_texts)
        with self.ctx.store.begin() as conn:
            for article in article_rows.read(conn, self.as_of):
                text = self.encoding.document_text(article.text)
                if not text:
                    continue
                if kept.missing([text]):
                    self.unseen[text_key(text)] = text
                if since <= article.day < self.first_held_out and article.id not in self.never:
                    self.learnable[article.day][article.id] = article.version
                    self.recent.append((article.id, text, article.title))
        if len(self.recent) < 2:
            raise BadInputError(
                f"there are {len(self.recent)} articles to learn from before {self.first_held_out}: import an archive"
            )

    def texts(self, ids: list[int]) -> Iterator[tuple[Article, str]]:
        """These articles with their texts, by (day, id)."""
        with self.ctx.store.begin() as conn:
            for article in article_rows.read(conn, self.as_of, ids=ids):
                yield article, self.encoding.document_text(article.text)

    def unseen_corpus(self) -> Corpus:
        """The texts without dense vectors."""
        return Corpus(list(self.unseen), list(self.unseen.values()))

    def recent_corpus(self) -> Corpus:
        """The newest texts, without duplicates."""
        different = {text: (number, title) for number, text, title in self.recent}
        ids = [str(number) for number, _ in different.values()]
        return Corpus(ids, list(different), [title for _, title in different.values()])


def sums_recipe(ctx: Context, base: str) -> str:
    """Hash of everything besides the articles that determines sums."""
    training = ctx.config.training
    drawing = [training.queries_per_text, training.query_words, training.heaviest_words, training.seed]
    return content_hash({"base": base, "drawing": drawing, "rules": pseudo_queries.RULES, "analyser": analyser()})


def _batches(ctx: Context, reader: _Reader, recipe: str) -> tuple[list[tuple[dt.date, str]], NewArticles | None]:
    """(day, artifact) of the stored sums that can be used, and the articles that they do not cover."""
    with ctx.store.begin() as conn:
        rows = vector_rows.sums(conn, recipe)
    left = {day: dict(articles) for day, articles in reader.learnable.items()}
    used = []
    for row in rows:
        waiting = left.get(row.day, {})
        covers = all(waiting.get(i) == v for i, v in zip(row.article_ids, row.versions, strict=True))
        if row.article_ids and covers and ctx.artifacts.has(row.artifact):
            used.append((row.day, row.artifact))
            for number in row.article_ids:
                del waiting[number]
    ids = [number for articles in left.values() for number in articles]
    if not ids:
        return used, None
    rest = list(reader.texts(ids))
    corpus = Corpus([str(a.id) for a, _ in rest], [text for _, text in rest])
    days, versions = [a.day for a, _ in rest], [a.version for a, _ in rest]
    return used, NewArticles(corpus=_put(ctx, corpus), days=days, versions=versions)


def _base(base: Model | None) -> Model:
    if base is None:
        raise ConfigError("there is no base model yet: run `garam base`")
    return base


def register(ctx: Context, job: str, result: JobResult) -> int:
    """Register the model that a job produced, and return its id. Idempotent: the same model is registered once."""
    described = read_job(ctx.artifacts.get(job))
    card = _card(ctx.artifacts, result.model)
    if "seconds" in result.card:
        card["seconds"] = result.card["seconds"]
    vocabulary_hash = str(_facts(ctx.artifacts, result.model)["vocabulary_hash"])
    if not isinstance(described, TrainingJob):
        with ctx.store.begin() as conn:
            return models.register(conn, artifact=result.model, kind="base", vocabulary_hash=vocabulary_hash, card=card)
    sums = _sums_rows(ctx.artifacts, described, result)
    # Under the lock, a removal of an article either is seen here or sees what is entered here.
    with ctx.store.lock(LOCK):
        with ctx.store.begin() as conn:
            vector_rows.drop_dense(conn, [name for name in result.replaces if name not in result.dense])
            vector_rows.add_sums(conn, described.sums_recipe, sums)
            parent = next(m for m in models.all_models(conn) if m.artifact == described.parent)
            model_id = models.register(
                conn,
                artifact=result.model,
                kind="trained",
                vocabulary_hash=vocabulary_hash,
                card=card,
                parent_id=parent.id,
                training_set_id=described.training_set_id,
                day=described.as_of.day,
                known_by=described.as_of.known_by,
            )
        for name in result.dense:
            if ctx.artifacts.has(name):  # else an earlier call replaced it
                enter(ctx, name)
    return model_id


def _sums_rows(artifacts: Artifacts, job: TrainingJob, result: JobResult) -> list[SumsRow]:
    if job.new is None or result.sums is None:
        return []
    ids = [int(number) for number in Corpus.read(artifacts.get(job.new.corpus)).ids]
    by_day: dict[dt.date, list[tuple[int, int]]] = defaultdict(list)
    for day, number, version in zip(job.new.days, ids, job.new.versions, strict=True):
        by_day[day].append((number, version))
    return [
        SumsRow(day, [i for i, _ in sorted(rows)], [v for _, v in sorted(rows)], result.sums)
        for day, rows in by_day.items()
    ]


def ensure_base(ctx: Context, *, progress: Progress = silent) -> int:
    """The id of the base model; where there is none yet, it is built from all known articles."""
    with ctx.store.begin() as conn:
        base = models.base(conn)
    if base is not None:
        return base.id
    with ctx.store.lock("garam.base"):
        with ctx.store.begin() as conn:
            base = models.base(conn)
        if base is not None:
            return base.id
        job = make_base_job(ctx)
        return register(ctx, job, run_job(ctx.artifacts, job, progress))


def _put(ctx: Context, corpus: Corpus) -> str:
    with ctx.artifacts.scratch() as folder:
        corpus.write(folder / "corpus")
        return ctx.artifacts.put(folder / "corpus", "corpus")


def _kept(ctx: Context, identity: str) -> list[str]:
    with ctx.store.begin() as conn:
        return [row.artifact for row in vector_rows.dense(conn, identity)]


def _facts(artifacts: Artifacts, model: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((artifacts.get(model) / "garam.json").read_text("utf-8"))
    return facts


def _card(artifacts: Artifacts, model: str) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((artifacts.get(model) / "card.json").read_text("utf-8"))
    return card
