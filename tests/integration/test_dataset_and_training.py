"""Training sets, jobs and models over a real Postgres: point in time, idempotent, held out means held out."""

from __future__ import annotations

import datetime as dt
import json
import random
import shutil
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.artifacts.jobs import read_job
from pipeline.artifacts.query_sets import Corpus, Query, QuerySet
from pipeline.artifacts.vectors import DenseVectors, text_key
from pipeline.asof import AsOf
from pipeline.config import Config
from pipeline.config.evaluation import EvaluationConfig
from pipeline.dataset import build
from pipeline.dataset.passages import normalised
from pipeline.encoder import Encoder
from pipeline.errors import BadInputError, UsageError
from pipeline.kept import read_kept
from pipeline.store import datasets, models, news
from pipeline.store import vectors as vector_rows
from pipeline.store.schema import (
    articles,
    counting_versions,
    generations,
    query_sets,
    statistics,
    training_sets,
    trends,
)
from pipeline.training import make_growth_job, make_job, register, run_job
from pipeline.training.learning import sums_of
from pipeline.training.sums import Sums
from tests.temporal_data import Given, open_context, put_articles
from tests.tiny import WORDS, tiny_encoder

FIRST = dt.date(2026, 1, 1)
CONFIG = Config.model_validate(
    {
        "dataset": {
            "holdout_queries_min": 8, "anchor_queries": 6, "anchor_corpus": 20, "corpus_size": 60,
            "min_passage_chars": 20, "passage_chars": 200,
        },
        "training": {"queries_per_text": 2},
        "encoder": {"max_chars": 200, "window_chars": 60},
    }
)  # fmt: skip


def some(day: int, count: int, seed: int) -> list[Given]:
    draw = random.Random(seed)
    words = [w for w in WORDS.split() if not w.startswith("##") and len(w) > 1]
    found = []
    for _ in range(count):
        sentences = [" ".join(draw.choices(words, k=7)) + "." for _ in range(5)]
        found.append(Given(FIRST + dt.timedelta(days=day), " ".join(sentences), title=" ".join(draw.sample(words, 5))))
    return found


@pytest.fixture
def ctx(database: str, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("GARAM_STATE", str(tmp_path / "state"))
    context = open_context(database, tmp_path, CONFIG)
    put_articles(context, [one for day in range(20) for one in some(day, 5, day)])
    yield context
    context.store.close()


def put_base(ctx, folder: Path) -> models.Model:
    encoder = tiny_encoder(folder, gain=0.0)
    with ctx.store.begin() as conn:
        name = ctx.artifacts.put(folder, "base")
        models.register(conn, artifact=name, kind="base", vocabulary_hash=encoder.vocabulary_hash, card={})
        found = models.base(conn)
    assert found is not None
    return found


def as_of(ctx, day: int = 19) -> AsOf:
    return AsOf(FIRST + dt.timedelta(days=day), ctx.store.settle())


def read(ctx, training_set_id: int):
    with ctx.store.begin() as conn:
        row = datasets.training_set(conn, training_set_id)
        sets = {held.name: held for held in datasets.query_sets_by_id(conn, row.query_set_ids)}
    folder = ctx.artifacts.get(row.artifact)
    rows = {
        name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text("utf-8").splitlines()]
        for name in ("passages", "examples")
    }
    return row, sets, rows


def test_held_out_is_held_out_and_built_once(ctx):
    now = as_of(ctx)
    first = build(ctx, now)
    row, sets, rows = read(ctx, first)
    fresh = QuerySet.read(ctx.artifacts.get(sets["fresh"].artifact))
    anchor = QuerySet.read(ctx.artifacts.get(sets["anchor"].artifact))
    corpus = Corpus.read(ctx.artifacts.get(fresh.corpus))
    assert len(fresh.queries) >= 8
    assert len(anchor.queries) == 6
    assert not any(corpus.titles)
    assert len(corpus) == 60

    trained = {passage["article_id"] for passage in rows["passages"]}
    judged = {int(doc) for q in [*fresh.queries, *anchor.queries] for doc in q.relevant}
    assert trained
    assert not trained & judged
    assert max(p["day"] for p in rows["passages"]) < row.report["first_held_out_day"]
    asked = {normalised(example["query"]) for example in rows["examples"]}
    assert not asked & {normalised(q.text) for q in [*fresh.queries, *anchor.queries]}
    # The anchor's documents are among the corpus's, with the same text: their vectors are the same rows.
    assert set(Corpus.read(ctx.artifacts.get(anchor.corpus)).texts) <= set(corpus.texts)

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(build(ctx, now))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [first, first]
    with ctx.store.begin() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(training_sets)).scalar_one() == 1
        assert conn.execute(sa.select(sa.func.count()).select_from(query_sets)).scalar_one() == 2


def test_judged_queries_and_their_documents_are_held_out_of_training(ctx, tmp_path):
    put_base(ctx, tmp_path / "base")
    number = put_articles(ctx, [Given(FIRST + dt.timedelta(days=9), "원본 기사 본문입니다. " * 9, title="원본 기사")])[
        0
    ]
    titled = some(4, 1, 900)[0]
    retelling = Given(FIRST + dt.timedelta(days=9), "고쳐 쓴 기사 본문이다. " * 9, title="고쳐 쓴 기사")
    by_id, by_title = put_articles(ctx, [retelling, titled])
    with ctx.store.begin() as conn:
        conn.execute(sa.update(articles).where(articles.c.id == by_id).values(story_id=number))
        url = conn.execute(sa.select(articles.c.url).where(articles.c.id == number)).scalar_one()
    copied = some(4, 1, 901)[0]
    (copy,) = put_articles(ctx, [copied])
    ours, foreign = tmp_path / "ours", tmp_path / "foreign"
    QuerySet("ours", [Query("1", titled.title, {url: 1.0})]).write(ours)
    Corpus(["a"], [copied.text], ["다른 제목"]).write(foreign)
    QuerySet("foreign", [Query("1", "무엇인가 묻는 말", {"a": 1.0})]).write(foreign)
    now = as_of(ctx)
    unaware = build(ctx, now)
    assert {number, by_id, copy, by_title} <= {p["article_id"] for p in read(ctx, unaware)[2]["passages"]}

    ctx.__dict__["config"] = ctx.config.model_copy(
        update={"evaluation": EvaluationConfig(judged=[str(ours), str(foreign)])}
    )
    aware = build(ctx, now)
    assert aware != unaware
    row, _, rows = read(ctx, aware)
    assert not {number, by_id, copy} & {p["article_id"] for p in rows["passages"]}
    assert normalised(titled.title) not in {normalised(e["query"]) for e in rows["examples"]}
    assert {number, by_id} <= set(row.recipe["held_out_articles"])
    learned = Corpus.read(ctx.artifacts.get(described(ctx, make_job(ctx, aware)).new.corpus)).ids
    assert not {str(number), str(by_id)} & set(learned)

    (ours / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n1\t5\t1\n", "utf-8")
    assert build(ctx, now) not in (aware, unaware), "other judgments, another training set"
    shutil.rmtree(ours)
    with pytest.raises(UsageError, match=r"evaluation\.judged names"):
        build(ctx, now)


def test_only_the_articles_that_are_used_are_in_memory(ctx):
    """Three years of articles do not fit: headings of all, texts of the chosen."""
    long = [replace(one, text=one.text + "가" * 100_000) for day in range(12) for one in some(day, 25, 300 + day)]
    put_articles(ctx, long)
    few = {"max_articles": 30, "corpus_size": 30, "anchor_corpus": 10}
    dataset = ctx.config.dataset.model_copy(update=few)
    ctx.__dict__["config"] = ctx.config.model_copy(update={"dataset": dataset})
    now = as_of(ctx)
    tracemalloc.start()
    build(ctx, now)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000  # the texts of all: 60 MB, two bytes a syllable


def test_an_as_of_is_the_same_later_and_the_anchor_stays(ctx):
    early = as_of(ctx, 15)
    one = read(ctx, build(ctx, early))
    put_articles(ctx, [*some(15, 5, 100), *some(20, 20, 101)])
    with ctx.store.begin() as conn:
        conn.execute(sa.delete(training_sets))
    again = read(ctx, build(ctx, early))
    assert again[0].artifact == one[0].artifact
    assert {n: s.artifact for n, s in again[1].items()} == {n: s.artifact for n, s in one[1].items()}
    late = read(ctx, build(ctx, as_of(ctx, 20)))
    assert late[1]["anchor"].id == one[1]["anchor"].id
    assert late[1]["fresh"].artifact != one[1]["fresh"].artifact
    # What was held out in the first round may be learned from now; what the anchor asks never.
    anchored = set(one[1]["anchor"].report["held_out"])
    assert not anchored & {p["article_id"] for p in late[2]["passages"]}
    assert {p["day"] for p in late[2]["passages"]} & {one[0].report["first_held_out_day"]}


def test_a_job_makes_one_model_however_often_it_runs(ctx, tmp_path):
    base = put_base(ctx, tmp_path / "base")
    training_set_id = build(ctx, as_of(ctx))
    job = make_job(ctx, training_set_id)
    assert job == make_job(ctx, training_set_id)
    result = run_job(ctx.artifacts, job)
    model_id = register(ctx, job, result)
    assert register(ctx, job, result) == model_id
    with ctx.store.begin() as conn:
        model = models.get(conn, model_id)
    assert (model.parent_id, model.training_set_id) == (base.id, training_set_id)
    assert model.vocabulary_hash == base.vocabulary_hash
    assert model.card["training_set"]
    assert (ctx.artifacts.get(result.model) / "ladder.svg").exists()

    # From nothing, as on another worker: the same artifacts.
    shutil.rmtree(tmp_path / "state")
    assert run_job(ctx.artifacts, job).model == result.model
    # Every text that is judged or served has its dense vectors, made once.
    encoder = Encoder.load(ctx.artifacts.get(result.model))
    kept = read_kept(ctx, encoder.dense_identity)
    _, sets, _ = read(ctx, training_set_id)
    for row in sets.values():
        corpus = Corpus.read(ctx.artifacts.get(QuerySet.read(ctx.artifacts.get(row.artifact)).corpus))
        assert kept.missing(corpus.texts) == []
    assert described(ctx, make_job(ctx, training_set_id)).unseen == []


def described(ctx, job):
    return read_job(ctx.artifacts.get(job))


def learned_from(ctx, job) -> Sums:
    """The sums that a job adds up, those of its new articles made here."""
    said = described(ctx, job)
    base = Encoder.load(ctx.artifacts.get(said.base))
    parts = [Sums.read(ctx.artifacts.get(name) / str(day)) for day, name in said.sums]
    if said.new:
        parts += sums_of(base, [Corpus.read(ctx.artifacts.get(said.new.corpus)).texts], CONFIG.training)
    return Sums.total([(1.0, part) for part in parts], len(base.vocabulary), base.dense.width)


def same(one: Sums, other: Sums) -> None:
    assert one.queries == other.queries
    np.testing.assert_allclose(one.cross, other.cross, atol=1e-4)
    np.testing.assert_allclose(one.gram.toarray(), other.gram.toarray(), atol=1e-6)


def test_a_day_learns_its_new_articles_only_and_any_as_of_is_exact(ctx, tmp_path):
    put_base(ctx, tmp_path / "base")
    first_job = make_job(ctx, build(ctx, as_of(ctx, 15)))
    assert described(ctx, first_job).sums == []
    whole = learned_from(ctx, first_job)
    register(ctx, first_job, run_job(ctx.artifacts, first_job))

    second = described(ctx, make_job(ctx, build(ctx, as_of(ctx, 19))))
    days = {day for day, _ in second.sums}
    assert len(days) >= 10
    assert second.new.days
    assert not days & set(second.new.days)
    with ctx.store.begin() as conn:
        conn.execute(sa.delete(vector_rows.learning_sums))  # as if nothing had been kept
    scratch = make_job(ctx, build(ctx, as_of(ctx, 15)))
    same(learned_from(ctx, scratch), whole)


def test_late_articles_are_another_batch_and_removed_ones_leave(ctx, tmp_path):
    put_base(ctx, tmp_path / "base")
    early = as_of(ctx, 19)
    job = make_job(ctx, build(ctx, early))
    whole = learned_from(ctx, job)
    register(ctx, job, run_job(ctx.artifacts, job))
    put_articles(ctx, some(3, 4, 77))
    late = make_job(ctx, build(ctx, as_of(ctx, 19)))
    assert set(described(ctx, late).new.days) == {FIRST + dt.timedelta(days=3)}
    assert learned_from(ctx, late).queries > whole.queries
    register(ctx, late, run_job(ctx.artifacts, late))
    # What was known earlier is the same as ever: the late batch is not in it.
    again = make_job(ctx, build(ctx, early))
    assert described(ctx, again).new is None
    same(learned_from(ctx, again), whole)
    # A removed article's batch is not used any more: its day is summed again without it.
    with ctx.store.begin() as conn:
        gone = (
            conn.execute(
                sa.select(articles.c.id).where(articles.c.day == FIRST + dt.timedelta(days=2)).order_by(articles.c.id)
            )
            .scalars()
            .first()
        )
        conn.execute(sa.update(articles).where(articles.c.id == gone).values(removed_at=sa.func.clock_timestamp()))
    after = described(ctx, make_job(ctx, build(ctx, as_of(ctx, 19))))
    assert set(after.new.days) == {FIRST + dt.timedelta(days=2)}
    assert str(gone) not in Corpus.read(ctx.artifacts.get(after.new.corpus)).ids


def test_an_article_removed_during_a_training_is_in_none_of_its_vectors_and_sums(ctx, tmp_path):
    put_base(ctx, tmp_path / "base")
    job = make_job(ctx, build(ctx, as_of(ctx)))
    result = run_job(ctx.artifacts, job)
    new = Corpus.read(ctx.artifacts.get(described(ctx, job).new.corpus))
    encoded = {key for name in result.dense for key in DenseVectors.read(ctx.artifacts.get(name)).keys}
    id_, text = next((i, t) for i, t in zip(new.ids, new.texts, strict=True) if text_key(t) in encoded)
    with ctx.store.begin() as conn:
        url = conn.execute(sa.select(articles.c.url).where(articles.c.id == int(id_))).scalar_one()
        assert news.remove(conn, url, "", [text_key(text)]) == [int(id_)]
    register(ctx, job, result)
    assert register(ctx, job, result)
    with ctx.store.begin() as conn:
        kept = {
            key for row in vector_rows.dense(conn) for key in DenseVectors.read(ctx.artifacts.get(row.artifact)).keys
        }
        batches = conn.execute(sa.select(vector_rows.learning_sums.c.article_ids)).scalars().all()
    assert kept == encoded - {text_key(text)}
    assert batches
    assert not any(int(id_) in batch for batch in batches)


def test_the_next_round_starts_from_the_head_and_a_backfill_never_from_its_future(ctx, tmp_path):
    put_base(ctx, tmp_path / "base")
    first_job = make_job(ctx, build(ctx, as_of(ctx, 15)))
    first_id = register(ctx, first_job, run_job(ctx.artifacts, first_job))
    with ctx.store.begin() as conn:
        champion = models.get(conn, first_id)
        conn.execute(
            sa.insert(generations).values(
                model_id=first_id, index_name="news-g0001", content_hash="x", status="live", settings={}
            )
        )
    second_job = make_job(ctx, build(ctx, as_of(ctx, 19)))
    result = run_job(ctx.artifacts, second_job)
    second_id = register(ctx, second_job, result)
    with ctx.store.begin() as conn:
        second = models.get(conn, second_id)
    assert second.parent_id == first_id
    # A backfill does not start from its future.
    backfill = make_job(ctx, build(ctx, as_of(ctx, 12)))
    assert parent_of(ctx, backfill).startswith("base-")

    # A model that a decision found worse is passed over from then on, and only from then on.
    assert second.known_by is not None
    later = build(ctx, as_of(ctx, 21))
    assert parent_of(ctx, make_job(ctx, later)) == second.artifact
    with ctx.store.begin() as conn:
        models.mark_unhealthy(conn, second_id, "it forgot")
    assert parent_of(ctx, make_job(ctx, later)) == second.artifact  # what was known then stays
    after_decision = build(ctx, AsOf(dt.date(2026, 2, 21), ctx.store.settle()))
    assert parent_of(ctx, make_job(ctx, after_decision)) == champion.artifact


def parent_of(ctx, job):
    return described(ctx, job).parent


def test_the_base_grows_by_trending_words_that_it_cuts_into_pieces(ctx, tmp_path):
    base = put_base(ctx, tmp_path / "base")
    with pytest.raises(BadInputError, match="no trending word"):
        make_growth_job(ctx)
    now = as_of(ctx)
    with ctx.store.begin() as conn:
        version = conn.execute(
            sa.insert(counting_versions)
            .values(level="token", key=base.vocabulary_hash)
            .returning(counting_versions.c.id)
        ).scalar_one()
        row = {"day": now.day, "known_by": now.known_by, "token_version_id": version, "word_version_id": version}
        row |= {"config_hash": "", "content_hash": "", "arrays": b""}
        made = conn.execute(sa.insert(statistics).values(row).returning(statistics.c.id)).scalar_one()
        for rank, (word, is_new) in enumerate([("금리", False), ("하하호호", True), ("하하호호 발표", True)], 1):
            trend = {"statistics_id": made, "rank": rank, "word": word, "is_new": is_new, "evidence": {}}
            conn.execute(sa.insert(trends).values(trend | {"z": 9.0, "q_value": 0.0}))
    job = make_growth_job(ctx)
    assert described(ctx, job).words == ["하하호호"]
    grown_id = register(ctx, job, run_job(ctx.artifacts, job))
    with ctx.store.begin() as conn:
        grown = models.base(conn)
    assert grown.id == grown_id
    assert (grown.kind, grown.card["new"]) == ("base", ["하하호호"])
    assert grown.vocabulary_hash != base.vocabulary_hash
    # It is learned over like any base: from sums of its own, over the vectors that are there.
    first = make_job(ctx, build(ctx, as_of(ctx)))
    assert described(ctx, first).base == grown.artifact
    register(ctx, first, run_job(ctx.artifacts, first))
