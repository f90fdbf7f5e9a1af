"""Jobs for the GPU worker: written from the store's rows, and registered there when they are done."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from pipeline.artifacts import Artifacts
from pipeline.asof import AsOf, today
from pipeline.context import Context
from pipeline.errors import BadInputError, ConfigError
from pipeline.progress import Progress, silent
from pipeline.querysets import Corpus, QuerySet
from pipeline.store import articles as article_rows
from pipeline.store import datasets, models
from pipeline.store.models import Model
from pipeline.training.worker import JobResult, read_job, run_job
from pipeline.vectors import text_key

BASE_TEXTS = 50_000
"""Newest texts that a base is built from at most."""


def make_base_job(ctx: Context, as_of: AsOf | None = None) -> str:
    """The job of building the base model from the texts known by the as-of (by now, without one)."""
    as_of = as_of or AsOf(today(), ctx.store.settle())
    text_of = ctx.config.encoder.document_text
    with ctx.store.begin() as conn:
        texts = {text_key(text): text for a in article_rows.read(conn, as_of) if (text := text_of(a.text))}
    if not texts:
        raise BadInputError("there is no article yet: crawl or import some before the base model is built")
    newest = dict(list(texts.items())[-BASE_TEXTS:])
    with ctx.artifacts.scratch() as folder:
        Corpus(list(newest), list(newest.values())).write(folder / "texts")
        stored = ctx.artifacts.put(folder / "texts", "corpus")
    job = {
        "format": 1,
        "kind": "base",
        "texts": stored,
        "settings": ctx.config.base.model_dump(mode="json"),
        "as_of": {"day": as_of.day.isoformat()},
    }
    return ctx.artifacts.put_json(job, "job", "job.json")


def make_job(ctx: Context, training_set_id: int) -> str:
    """The job of training on a training set and encoding the corpora of its query sets.

    It starts from the newest healthy model of an earlier day that this as-of could know (a backfill never starts
    from its future), else from the base. Everything that decides the result is in the job: the same job gives the
    same artifacts.
    """
    with ctx.store.begin() as conn:
        row = datasets.training_set(conn, training_set_id)
        query_sets = [held.artifact for held in datasets.query_sets_by_id(conn, row.query_set_ids)]
        base = models.base(conn)
        champion = models.champion(conn)
        known = models.all_models(conn)
    if base is None:
        raise ConfigError("there is no base model yet: run `garam base`")
    parent = _parent(known, base, row.as_of)
    corpora = [QuerySet.read(ctx.artifacts.get(name)).corpus or name for name in query_sets]
    config = ctx.config
    job = {
        "format": 1,
        "kind": "train",
        "training_set": row.artifact,
        "query_sets": query_sets,
        "corpora": list(dict.fromkeys(corpora)),
        "parent": parent.artifact,
        "base": base.artifact,
        "champion": champion.artifact if champion else None,
        "champion_vectors": champion.vectors if champion else None,
        "training": config.training.model_dump(mode="json"),
        "encoder": config.encoder.model_dump(mode="json"),
        "as_of": {"day": row.day.isoformat(), "known_by": row.known_by.isoformat()},
        "training_set_id": row.id,
    }
    return ctx.artifacts.put_json(job, "job", "job.json")


def _parent(known: list[Model], base: Model, as_of: AsOf) -> Model:
    """The head of the training line as the as-of could know it; the base when nothing was trained before.

    A model that was found worse than the champion is passed over: the line goes on from the one before it, at the
    latest from the champion itself.
    """
    line = [
        (model.day, model.known_by, model.id, model)
        for model in known
        if model.kind == "trained"
        and (model.unhealthy_at is None or model.unhealthy_at > as_of.known_by)
        and model.vocabulary_hash == base.vocabulary_hash
        and model.day is not None
        and model.known_by is not None
        and model.day < as_of.day
        and model.known_by <= as_of.known_by
    ]
    return max(line, key=lambda entry: entry[:3])[3] if line else base


def register(ctx: Context, job: str, result: JobResult) -> int:
    """The id of the model that a job made; the same model is registered once, whoever asks how often."""
    described = read_job(ctx.artifacts, job)
    card = _card(ctx.artifacts, result.model)
    if "seconds" in result.card:
        card["seconds"] = result.card["seconds"]
    vocabulary_hash = _vocabulary_hash(ctx.artifacts, result.model)
    with ctx.store.begin() as conn:
        if described["kind"] == "base":
            return models.register(conn, artifact=result.model, kind="base", vocabulary_hash=vocabulary_hash, card=card)
        parent = next(m for m in models.all_models(conn) if m.artifact == described["parent"])
        if described["champion"] is not None and result.champion_vectors is not None:
            models.set_vectors(conn, described["champion"], result.champion_vectors)
        return models.register(
            conn,
            artifact=result.model,
            kind="trained",
            vocabulary_hash=vocabulary_hash,
            card=card,
            parent_id=parent.id,
            training_set_id=described["training_set_id"],
            day=dt.date.fromisoformat(described["as_of"]["day"]),
            known_by=dt.datetime.fromisoformat(described["as_of"]["known_by"]),
            vectors=result.vectors,
        )


def ensure_base(ctx: Context, *, progress: Progress = silent) -> int:
    """The id of the base model; built here and now from the articles known when there is none yet."""
    with ctx.store.begin() as conn:
        held = models.base(conn)
    if held is not None:
        return held.id
    with ctx.store.lock("garam.base"):
        with ctx.store.begin() as conn:
            held = models.base(conn)
        if held is not None:
            return held.id
        job = make_base_job(ctx)
        return register(ctx, job, run_job(ctx.artifacts, job, progress))


def _card(artifacts: Artifacts, model: str) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((artifacts.get(model) / "card.json").read_text("utf-8"))
    return card


def _vocabulary_hash(artifacts: Artifacts, model: str) -> str:
    facts = json.loads((artifacts.get(model) / "garam.json").read_text("utf-8"))
    return str(facts["vocabulary_hash"])
