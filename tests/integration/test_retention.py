"""Pruning on a real Postgres: what is old and needed by nobody goes, and nothing else."""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.artifacts.jobs import FineTuningJob, JobAsOf
from pipeline.artifacts.query_sets import Corpus, Query, QuerySet
from pipeline.artifacts.vectors import DenseVectors, text_key
from pipeline.asof import AsOf
from pipeline.context import Context
from pipeline.kept import keep, read_kept
from pipeline.retention import erase, forget_vectors, prune_artifacts
from pipeline.store import datasets, evaluations, generations, models, schema, vectors
from tests.temporal_data import open_context

AS_OF = AsOf(dt.date(2026, 2, 1), dt.datetime(2026, 2, 2, tzinfo=dt.UTC))
OLD = dt.timedelta(days=200)
TABLES = ("models", "training_sets", "query_sets", "query_weights", "evaluations", "synonym_runs", "dense_vectors",
          "learning_sums")  # fmt: skip


@pytest.fixture
def ctx(database: str, tmp_path: Path) -> Iterator[Context]:
    context = open_context(database, tmp_path)
    yield context
    context.store.close()


def put(ctx: Context, kind: str, what: object) -> str:
    return ctx.artifacts.put_json(what, kind)


def query_set(ctx: Context, name: str, *, frozen: bool = False) -> tuple[int, str, str]:
    """A registered query set: its id, its artifact and its corpus."""
    with ctx.artifacts.scratch() as folder:
        Corpus(["1"], [f"본문 {name}"]).write(folder / "corpus")
        corpus = ctx.artifacts.put(folder / "corpus", "corpus")
        QuerySet(name, [Query("t1", "질의", {"1": 1.0})], corpus).write(folder / "queries")
        artifact = ctx.artifacts.put(folder / "queries", "queryset")
    with ctx.store.begin() as conn:
        id_ = datasets.register_query_set(conn, AS_OF, name=name, artifact=artifact, report={}, frozen=frozen)
    return id_, artifact, corpus


def training_set(ctx: Context, number: int, sets: list[int]) -> tuple[int, str]:
    artifact = put(ctx, "trainingset", number)
    with ctx.store.begin() as conn:
        id_ = datasets.register(
            conn, AS_OF, recipe_hash=str(number), recipe={}, artifact=artifact, report={}, query_set_ids=sets
        )
    return id_, artifact


def model(ctx: Context, name: str, kind: str = "trained", trained_on: int | None = None) -> tuple[int, set[str]]:
    artifact = put(ctx, kind if kind == "base" else "model", name)
    with ctx.store.begin() as conn:
        id_ = models.register(
            conn, artifact=artifact, kind=kind, vocabulary_hash="v", card={}, day=AS_OF.day,
            training_set_id=trained_on,
        )  # fmt: skip
    return id_, {artifact}


def serve(ctx: Context, model_id: int, status: str) -> set[str]:
    """A generation of the model with its evaluation and decision; their artifacts."""
    artifact = put(ctx, "evaluation", [model_id, status])
    with ctx.store.begin() as conn:
        values = {"model_id": model_id, "config_hash": status, "report": {}, "artifact": artifact}
        evaluation = conn.execute(sa.insert(schema.evaluations).values(values).returning(schema.evaluations.c.id))
        values = {"model_id": model_id, "evaluation_id": evaluation.scalar_one(), "verdict": "promote", "reason": ""}
        decision = conn.execute(
            sa.insert(schema.decisions).values({**values, "rules": []}).returning(schema.decisions.c.id)
        ).scalar_one()
        made = generations.new(
            conn,
            model_id=model_id,
            decision_id=decision,
            query_weights_id=None,
            alias="news",
            content_hash="",
            settings={},
        )
        generations.mark(conn, made.id, status)
    return {artifact}


def age(ctx: Context, names: set[str] | None = None) -> None:
    """Make these artifacts (all that there are) and every row old."""
    when = (dt.datetime.now(dt.UTC) - OLD).timestamp()
    for name in names if names is not None else ctx.artifacts.names():
        os.utime(ctx.artifacts.get(name) / "manifest.json", (when, when))
    with ctx.store.begin() as conn:
        for table in TABLES:
            conn.execute(sa.text(f"UPDATE {table} SET created_at = created_at - interval '200 days'"))


def test_what_is_old_and_needed_by_nobody_goes_and_nothing_else(ctx: Context) -> None:
    needed: set[str] = set()
    gone: set[str] = set()
    _, *anchor = query_set(ctx, "anchor", frozen=True)
    first, *first_names = query_set(ctx, "fresh")
    served_set, served_artifact = training_set(ctx, 1, [first])
    second, *second_names = query_set(ctx, "fresh 2")
    lost_set, lost_artifact = training_set(ctx, 2, [second])
    last, *last_names = query_set(ctx, "fresh 3")
    _, last_artifact = training_set(ctx, 3, [last])
    _, base = model(ctx, "base", "base")
    old_base = put(ctx, "job", {"nothing": "special"})
    retired, retired_names = model(ctx, "retired", trained_on=served_set)
    live, live_names = model(ctx, "live")
    _, rejected = model(ctx, "rejected", trained_on=lost_set)
    dropped, dropped_names = model(ctx, "dropped")
    _, head = model(ctx, "head")
    needed |= {*anchor, *first_names, served_artifact, *last_names, last_artifact}
    needed |= base | retired_names | live_names | head
    needed |= serve(ctx, retired, "retired") | serve(ctx, live, "live")
    gone |= {*second_names, lost_artifact, old_base} | rejected | dropped_names | serve(ctx, dropped, "deleted")
    age(ctx)
    young = put(ctx, "model", "just made")
    named = put(ctx, "trainingset", "an old one that a training goes on with")
    age(ctx, {named})
    job = FineTuningJob(
        as_of=JobAsOf(day=AS_OF.day), training_set=named, start=next(iter(base)), training=ctx.config.training
    ).put(ctx.artifacts)

    now = dt.datetime.now(dt.UTC)
    assert set(prune_artifacts(ctx, now=now)) == gone
    assert set(ctx.artifacts.names()) >= needed | {young, named, job}
    assert prune_artifacts(ctx, now=now) == []
    later = now + dt.timedelta(days=ctx.config.storage.keep_days + 1)
    assert {young, named, job} <= set(prune_artifacts(ctx, now=later))
    assert set(ctx.artifacts.names()) == needed


def encoder_model(ctx: Context, dense: str, kind: str = "trained") -> tuple[int, str]:
    """A registered model of a dense encoder, as far as its manifest goes: its id and the name of that encoder."""
    with ctx.artifacts.scratch() as folder:
        (folder / "model").mkdir()
        manifest = {"dense": dense, "encoding": {"window_chars": 60, "max_chars": 10}, "files": {}}
        (folder / "model" / "garam.json").write_text(json.dumps(manifest))
        artifact = ctx.artifacts.put(folder / "model", "model")
    with ctx.store.begin() as conn:
        id_ = models.register(conn, artifact=artifact, kind=kind, vocabulary_hash=dense, card={}, day=AS_OF.day)
    return id_, f"{dense}-w60"


def dense_of(ctx: Context, encoder: str, texts: list[str]) -> str:
    """Kept vectors of one window a text; their artifact."""
    return keep(ctx, DenseVectors.of(encoder, texts, np.arange(len(texts) + 1), np.ones((len(texts), 4))))


def sums_of(ctx: Context, recipe: str, ids: list[int]) -> str:
    """Statistics of these articles; their artifact."""
    artifact = put(ctx, "sums", [recipe, ids])
    with ctx.store.begin() as conn:
        row = vectors.SumsRow(day=AS_OF.day, article_ids=ids, versions=[1] * len(ids), artifact=artifact)
        vectors.add_sums(conn, recipe, [row])
    return artifact


def test_what_is_learned_from_stays_while_a_model_needs_it_and_goes_with_its_row(ctx: Context) -> None:
    _, base = encoder_model(ctx, "aaaa", "base")
    dropped, former = encoder_model(ctx, "bbbb")
    served, serving = encoder_model(ctx, "cccc")
    with ctx.store.begin() as conn:
        models.mark_unhealthy(conn, dropped, "it is worse")
        models.mark_unhealthy(conn, served, "it is worse")
    serve(ctx, served, "live")
    stays = {dense_of(ctx, base, ["글"]), dense_of(ctx, base, ["말"]), dense_of(ctx, serving, ["글"])}
    goes = {dense_of(ctx, former, ["글"]), sums_of(ctx, "old recipe", [1])}
    stays |= {sums_of(ctx, "recipe", [1, 2]), sums_of(ctx, "recipe", [3])}
    age(ctx)
    young = {dense_of(ctx, former, ["새 글"])}
    stays |= {sums_of(ctx, "recipe", [4])}
    gone = set(prune_artifacts(ctx, now=dt.datetime.now(dt.UTC)))
    assert gone >= goes
    assert not gone & (stays | young)
    with ctx.store.begin() as conn:
        left = {row.artifact for row in vectors.dense(conn)}
        left |= {row.artifact for recipe in ("recipe", "old recipe") for row in vectors.sums(conn, recipe)}
    assert left == stays | young
    age(ctx)
    assert set(prune_artifacts(ctx, now=dt.datetime.now(dt.UTC))) == young
    assert read_kept(ctx, base).missing(["글", "말", "새 글"]) == ["새 글"]


def test_many_small_artifacts_of_vectors_become_one_and_lose_nothing(ctx: Context) -> None:
    encoder, texts = "aaaa-w60", [f"글 {number}" for number in range(17)]
    names = [dense_of(ctx, encoder, [text]) for text in texts]
    with ctx.store.begin() as conn:
        rows = vectors.dense(conn, encoder)
    assert [(row.artifact, row.texts) for row in rows] == [(names[-1], 17)]
    assert read_kept(ctx, encoder).missing([*texts, "새 글"]) == ["새 글"]


def test_an_article_leaves_the_vectors_and_statistics_that_hold_it(ctx: Context) -> None:
    a, b = "aaaa-w60", "bbbb-w60"
    names = [dense_of(ctx, a, ["글", "말"]), dense_of(ctx, a, ["남"]), dense_of(ctx, b, ["글"])]
    batches = [sums_of(ctx, "recipe", [1, 2]), sums_of(ctx, "recipe", [3])]
    assert forget_vectors(ctx, [], {text_key("없는 글")}) == []
    assert set(forget_vectors(ctx, [2], {text_key("글")})) == {names[0], names[2], batches[0]}
    with ctx.store.begin() as conn:
        rows = vectors.dense(conn)
        assert [row.artifact for row in vectors.sums(conn, "recipe")] == [batches[1]]
    assert [(row.encoder, row.texts) for row in rows] == [(a, 1), (a, 1)]
    assert read_kept(ctx, a).missing(["글", "말", "남"]) == ["글"]
    assert read_kept(ctx, b).missing(["글"]) == ["글"]
    assert not {names[0], names[2], batches[0]} & set(ctx.artifacts.names())
    assert set(ctx.artifacts.names()) == {row.artifact for row in rows} | {batches[1]}
    assert forget_vectors(ctx, [2], {text_key("글")}) == []


def test_a_row_made_lately_keeps_its_old_artifact(ctx: Context) -> None:
    artifact = put(ctx, "model", "old content")
    age(ctx)
    with ctx.store.begin() as conn:
        models.register(conn, artifact=artifact, kind="trained", vocabulary_hash="other", card={})
        newer = put(ctx, "model", "newer")
        models.register(conn, artifact=newer, kind="trained", vocabulary_hash="other", card={})
    assert prune_artifacts(ctx, now=dt.datetime.now(dt.UTC)) == []


def test_the_frozen_sets_are_left_when_a_removed_article_is_erased(ctx: Context) -> None:
    _, anchor, corpus = query_set(ctx, "anchor", frozen=True)
    _, fresh, other = query_set(ctx, "fresh")
    assert erase(ctx, [anchor, corpus, fresh, other]) == ([fresh, other], [anchor, corpus])


@pytest.mark.parametrize("unreadable", [{"kind": "train", "format": 1}, {}, [], "job"])
def test_nothing_is_pruned_while_a_kept_job_cannot_be_read(
    ctx: Context, unreadable: object, caplog: pytest.LogCaptureFixture
) -> None:
    old = put(ctx, "model", "old")
    age(ctx)
    job = ctx.artifacts.put_json(unreadable, "job", "job.json")
    assert prune_artifacts(ctx, now=dt.datetime.now(dt.UTC)) == []
    assert job in caplog.text
    age(ctx, {job})  # nothing needs it any more
    assert set(prune_artifacts(ctx, now=dt.datetime.now(dt.UTC))) == {old, job}


def test_an_artifact_that_is_put_again_is_young_again(ctx: Context) -> None:
    name = put(ctx, "model", "x")
    age(ctx)
    assert put(ctx, "model", "x") == name
    assert prune_artifacts(ctx, now=dt.datetime.now(dt.UTC)) == []


def test_decisions_that_were_made_can_still_be_read(ctx: Context) -> None:
    id_, names = model(ctx, "a")
    _, _ = model(ctx, "b")
    artifacts = serve(ctx, id_, "deleted")
    age(ctx)
    assert set(prune_artifacts(ctx, now=dt.datetime.now(dt.UTC))) == names | artifacts
    with ctx.store.begin() as conn:
        assert evaluations.newest_decision(conn, id_).verdict == "promote"
