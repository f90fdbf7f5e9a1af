"""Serving on the real OpenSearch and Postgres: deployment, plain-text search, freshness, rollback, removal."""

from __future__ import annotations

import datetime as dt
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from pipeline import serving
from pipeline.asof import AsOf
from pipeline.cli import app
from pipeline.errors import RefusedError, UsageError
from pipeline.search import bulk, features, query_models
from pipeline.serving.articles import recipe_of
from pipeline.serving.build import verify
from pipeline.serving.recipe import Recipe
from pipeline.store import generations, models, schema
from tests.integration.serving_world import World
from tests.tiny import tiny_encoder

pytest.importorskip("torch")


@pytest.fixture
def world(tmp_path: Path, database: str, opensearch_url: str) -> Iterator[World]:
    made = World(tmp_path, database, opensearch_url)
    yield made
    made.close()


def ids(hits: list[dict[str, object]]) -> set[str]:
    return {str(hit["_id"]) for hit in hits}


def test_a_deployed_model_answers_plain_text(world: World) -> None:
    numbers = [world.article(n) for n in range(12)]
    with pytest.raises(RefusedError, match="no generation is live yet"):
        serving.search(world.ctx, "코로나19")
    assert serving.live(world.ctx) is None
    assert serving.index_new_articles(world.ctx) == 0
    model = world.promoted(1, vectors_of=[f"코로나19 확진자 발표 태풍 폭우 대책 {n}" for n in (0, 7)])
    generation = serving.deploy(world.ctx, model)
    live = serving.live(world.ctx)
    assert live is not None
    assert live.id == generation
    assert live.index_name == f"{world.alias}-g{generation:04d}"
    world.agree()

    # Without a model id, scores are the encoder's; the title's own tokens weigh at least the title weight.
    recipe = recipe_of(world.ctx, live)
    with world.ctx.store.begin() as conn:
        sample = generations.sample_indexed(conn, live.id, 100)
    assert [number for number, _, _ in sample] == numbers
    rows = recipe.rows([title for _, title, _ in sample], [text for _, _, text in sample])
    query = recipe.encoder.encode_queries(["코로나19 확진자는 한국은행 % 없는말"])
    exact = dict(zip(map(str, numbers), (query @ rows.T).toarray()[0], strict=True))
    hits = world.plain("코로나19 확진자는 한국은행 % 없는말")
    assert ids(hits) == {number for number, score in exact.items() if score > 0}
    for hit in hits:
        assert hit["_score"] == pytest.approx(exact[hit["_id"]], rel=features.PRECISION + 1e-6)
        assert "emb" not in hit["_source"]
        assert hit["_source"]["outlet"] == "가람"
    titles = {recipe.encoder.vocabulary[index] for index in recipe.encoder.token_ids("코로나19 확진자 속보")}
    first = {recipe.encoder.vocabulary[i]: w for i, w in zip(rows[0].indices, rows[0].data, strict=True)}
    assert all(first[token] >= 1.0 for token in titles)

    for mode in ("sparse", "bm25", "hybrid"):
        found = serving.search(world.ctx, "축구 대표팀", mode=mode, size=3)
        assert found.generation == generation
        assert found.mode == mode
        assert [hit.rank for hit in found.hits] == list(range(1, len(found.hits) + 1))
        assert found.hits
        assert sorted((hit.score for hit in found.hits), reverse=True) == [hit.score for hit in found.hits]
        assert found.hits[0].url.startswith("https://news.example/")
        assert found.hits[0].published_at.tzinfo
    assert "축구" in serving.search(world.ctx, "축구 대표팀", mode="bm25").hits[0].title
    for form in ("축\u200b구 대표팀", unicodedata.normalize("NFD", "축구 대표팀"), "▲축구↑ 대표팀😷"):
        assert serving.search(world.ctx, form).hits == serving.search(world.ctx, "축구 대표팀").hits
    many_words = ["축구 대표팀 " * 3000, "축구, " + " ".join(map(str, range(9000)))]
    one_word = ["축구 " + "가나다라" * 5000]  # one unknown token of the query model, many terms of nori
    for mode in ("sparse", "bm25", "hybrid"):
        for long in many_words if mode == "sparse" else many_words + one_word:
            found = serving.search(world.ctx, long, mode=mode)
            assert found.hits
            assert found.unread
            assert long.strip().endswith(found.unread)
        assert not serving.search(world.ctx, "축구 대표팀", mode=mode).unread
    for bad in ("", " . "[:1]):
        with pytest.raises(UsageError):
            serving.search(world.ctx, bad)
    with pytest.raises(UsageError, match="choose one of"):
        serving.search(world.ctx, "축구", mode="dense")
    assert serving.search(world.ctx, "...").hits == []

    assert serving.deploy(world.ctx, model) == generation  # again: nothing new
    world.agree()


def test_the_live_index_follows_the_articles(world: World) -> None:
    first = world.article(0)
    serving.deploy(world.ctx, world.promoted(1))
    assert serving.index_new_articles(world.ctx) == 0
    second = world.article(1)
    assert serving.index_new_articles(world.ctx) == 1
    assert serving.index_new_articles(world.ctx) == 0
    assert ids(world.plain("속보")) == {str(first), str(second)}
    world.article(0, text="지진 지진", title="지진 속보", version=2)
    assert serving.index_new_articles(world.ctx) == 1
    found = serving.search(world.ctx, "지진", mode="bm25")
    assert [hit.title for hit in found.hits] == ["지진 속보"]
    world.remove(1)
    assert serving.index_new_articles(world.ctx) == 1
    assert ids(world.plain("속보")) == {str(first)}
    with world.ctx.store.begin() as conn:
        conn.execute(sa.update(schema.articles).values(is_ad=True))
    assert serving.index_new_articles(world.ctx) == 1
    assert world.plain("속보") == []


def test_dense_vectors_of_what_is_indexed_are_made_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment keeps them in one artifact, and a model over the same dense encoder encodes no text again."""
    from pipeline.encoder import Encoder
    from pipeline.kept import read_kept
    from pipeline.serving import articles
    from pipeline.store import vectors

    texts = [f"코로나19 확진자 발표 태풍 폭우 대책 {n}" for n in (0, 7)]
    for n in range(10):
        world.article(n)
    first = world.promoted(1, vectors_of=texts)
    monkeypatch.setattr(articles, "BATCH", 4)
    serving.deploy(world.ctx, first)
    live = serving.live(world.ctx)
    assert live is not None
    recipe = recipe_of(world.ctx, live)
    with world.ctx.store.begin() as conn:
        rows = vectors.dense(conn)
        sample = generations.sample_indexed(conn, live.id, 100)
    assert [row.texts for row in rows] == [2, 8]
    assert read_kept(world.ctx, recipe.encoder.dense_identity).missing([text for _, _, text in sample]) == []
    monkeypatch.setattr(Encoder, "encode_dense", lambda *a, **k: pytest.fail("a text was encoded again"))
    serving.rebuild(world.ctx)
    monkeypatch.undo()
    monkeypatch.setattr(articles, "KEEP_TEXTS", 1)
    monkeypatch.setattr(articles, "BATCH", 2)
    for n in range(10, 15):
        world.article(n)
    serving.index_new_articles(world.ctx)
    with world.ctx.store.begin() as conn:
        assert [row.texts for row in vectors.dense(conn)] == [2, 8, 2, 2, 1]
    world.agree()


def test_what_arrives_during_a_deployment_is_there_after_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.serving import build, deployment

    for n in range(5):
        world.article(n)
    verify, swap = build.verify, deployment.swap
    monkeypatch.setattr(build, "verify", lambda *a: (verify(*a), world.article(5), world.remove(0))[0])
    monkeypatch.setattr(deployment, "swap", lambda *a, **k: (swap(*a, **k), world.article(6))[0])
    serving.deploy(world.ctx, world.promoted(1))
    assert {hit["_source"]["url"][-1] for hit in world.plain("속보")} == set("123456")
    world.agree()


def test_an_index_holds_the_vectors_of_one_encoding_whatever_the_configuration_says_later(world: World) -> None:
    long = " ".join(["코로나19 확진자 발표", "태풍 폭우 대책"] * 20)
    world.article(0, text=long)
    first = serving.deploy(world.ctx, world.promoted(1, day=1))
    before = world.config.serving.model_dump()
    world.config = world.config.model_copy(
        update={
            "encoder": world.config.encoder.model_copy(update={"lexical_floor": 9.0, "max_chars": 50, "max_terms": 16}),
            "serving": world.config.serving.model_copy(update={"title_weight": 20.0}),
        }
    )
    changed = world.context()
    try:
        # The same title and text: two documents of one encoding have one score.
        world.article(7, text=long)
        assert serving.index_new_articles(changed) == 1
        scores = _scores(world)
        assert scores[0] == scores[7]
        live = serving.live(changed)
        assert live is not None
        assert live.settings["title_weight"] == before["title_weight"]
        verify(changed, live, recipe_of(changed, live))

        # A rebuild takes the settings of now, and the model's own encoding.
        assert serving.rebuild(changed) != first
        live = serving.live(changed)
        assert live is not None
        assert live.settings["title_weight"] == 20.0
        rebuilt = _scores(world)
        assert rebuilt[0] == rebuilt[7] > scores[0]
        made_of = recipe_of(changed, live)
        assert made_of.encoder.encoding.max_chars == 200

        # A document of another encoding is seen.
        other = Recipe(changed, made_of.model, None, before)
        with changed.store.begin() as conn:
            article = generations.pending(conn, first, limit=1)[0]
        bulk.load(
            changed.cluster,
            live.index_name,
            [bulk.Action(str(article.id), other.documents([article])[0], article.version + 1)],
        )
        with pytest.raises(RefusedError, match="where the encoder says"):
            verify(changed, live, made_of)
    finally:
        changed.store.close()
        changed.cluster.close()


def _scores(world: World) -> dict[int, float]:
    hits = world.plain("코로나19 확진자 속보")
    return {int(str(hit["_source"]["url"]).rpartition("/")[2]): hit["_score"] for hit in hits}


def test_rollback_takes_one_call_and_pauses_the_loop(world: World) -> None:
    for n in range(4):
        world.article(n)
    with pytest.raises(RefusedError, match="no earlier generation"):
        serving.rollback(world.ctx, actor="kim", reason="")
    first = serving.deploy(world.ctx, world.promoted(1, day=1))
    second = serving.deploy(world.ctx, world.promoted(2, day=2))
    world.article(4)
    world.article(5)
    serving.index_new_articles(world.ctx)
    world.remove(0)
    assert serving.rollback(world.ctx, actor="kim", reason="bad titles") == first
    world.agree()
    # What arrived while it was retired is there, what was removed is not.
    assert {hit["_source"]["url"][-1] for hit in world.plain("속보")} == set("12345")
    third = world.promoted(3, day=3)
    with pytest.raises(RefusedError, match=r"paused \(bad titles\)"):
        serving.deploy(world.ctx, third)
    with pytest.raises(RefusedError, match="no earlier generation"):
        serving.rollback(world.ctx, actor="kim", reason="")
    serving.resume(world.ctx)
    fourth = serving.deploy(world.ctx, third)
    assert fourth > second
    with world.ctx.store.begin() as conn:
        done = [(one.action, one.generation_id, one.actor) for one in generations.history(conn)][::-1]
    assert done == [
        ("promote", first, "loop"),
        ("promote", second, "loop"),
        ("rollback", first, "kim"),
        ("promote", fourth, "loop"),
    ]
    world.agree()


def test_a_rollback_never_goes_to_a_generation_that_was_rolled_back_from(
    tmp_path: Path, database: str, opensearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, database, opensearch_url, keep_generations=2)
    try:
        _promote_and_roll_back(world, monkeypatch)
    finally:
        world.close()


def _promote_and_roll_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.article(0)
    first = serving.deploy(world.ctx, world.promoted(1, day=1))
    bad_model = world.promoted(2, day=2)
    bad = serving.deploy(world.ctx, bad_model)
    assert serving.rollback(world.ctx, actor="kim", reason="bad titles", away_from=bad) == first
    # Nobody learns on from it, but whoever recomputes the day on which nobody knew it yet.
    with world.ctx.store.begin() as conn:
        vocabulary = models.get(conn, bad_model).vocabulary_hash
        head = models.head(conn, vocabulary)
        assert head is not None
        assert head.day == dt.date(2020, 3, 1)
        assert models.get(conn, bad_model).unhealthy_why == "rolled back from: bad titles"
        then = models.head(conn, vocabulary, AsOf(dt.date(2020, 3, 4), world.known + dt.timedelta(days=3)))
        assert then is not None
        assert then.id == bad_model
    # A retry of the same rollback is no second one.
    assert serving.rollback(world.ctx, actor="kim", reason="bad titles", away_from=bad) == first
    world.agree()

    serving.resume(world.ctx)
    third = serving.deploy(world.ctx, world.promoted(3, day=3))
    assert serving.rollback(world.ctx, actor="kim", reason="") == first
    with pytest.raises(RefusedError, match="no earlier generation"):
        serving.rollback(world.ctx, actor="kim", reason="")
    serving.resume(world.ctx)
    # A person may put it back: then it is the one before the next.
    again = serving.deploy(world.ctx, bad_model, actor="kim", force=True)
    fifth = serving.deploy(world.ctx, world.promoted(5, day=5))
    assert serving.rollback(world.ctx, actor="kim", reason="") == again
    rebuilt = serving.rebuild(world.ctx)
    monkeypatch.setattr("pipeline.cli.serving.opened", lambda _: world.ctx)
    told = CliRunner().invoke(app, ["rollback"], catch_exceptions=False).output
    assert f"generation {rebuilt} is left and generation {first} is live" in " ".join(told.split())
    assert len({first, bad, third, again, fifth, rebuilt}) == 6
    world.agree()


def test_the_rules_of_deployment(world: World) -> None:
    world.article(0)
    newer, older = world.promoted(2, day=5), world.promoted(1, day=4)
    unjudged, rejected = world.model(3, day=6), world.model(4, day=7)
    world.judge(rejected, "reject")
    with pytest.raises(UsageError, match="only a person"):
        serving.deploy(world.ctx, unjudged, force=True)
    with pytest.raises(RefusedError, match="never judged"):
        serving.deploy(world.ctx, unjudged)
    with pytest.raises(RefusedError, match="did not promote"):
        serving.deploy(world.ctx, rejected, actor="kim")
    assert world.indices() == []
    serving.deploy(world.ctx, newer)
    with pytest.raises(RefusedError, match="knows nothing newer"):
        serving.deploy(world.ctx, older)
    forced = serving.deploy(world.ctx, rejected, actor="kim", force=True)
    with world.ctx.store.begin() as conn:
        newest = generations.history(conn)[0]
    assert newest.generation_id == forced
    assert newest.actor == "kim"
    assert newest.reason.startswith("forced by kim")
    world.agree()


def test_query_weights_are_published_without_reindexing(world: World) -> None:
    for n in range(3):
        world.article(n)
    first = world.weights(2.0, day=1)
    assert serving.publish_query_weights(world.ctx, first) is None  # nothing is live yet
    generation = serving.deploy(world.ctx, world.promoted(1))
    live = serving.live(world.ctx)
    assert live is not None
    assert live.query_weights_id == first
    before = {hit["_id"]: hit["_score"] for hit in world.plain("코로나19 속보")}
    second = world.weights(3.0, day=2)
    assert serving.publish_query_weights(world.ctx, second) == generation
    assert serving.publish_query_weights(world.ctx, second) == generation  # again: nothing happens
    after = {hit["_id"]: hit["_score"] for hit in world.plain("코로나19 속보")}
    assert after.keys() == before.keys()
    for number, score in after.items():
        assert score == pytest.approx(1.5 * before[number], rel=1e-5)
    world.agree()
    assert len(query_models.models(world.ctx.cluster, f"{world.alias}-query")) == 1
    assert serving.publish_query_weights(world.ctx, first) is None  # a backfill is never served
    assert serving.publish_query_weights(world.ctx, world.weights(1.0, day=9, vocabulary="other")) is None
    with pytest.raises(RefusedError, match="only accepted"):
        serving.publish_query_weights(world.ctx, world.weights(1.0, day=9, status="rejected"))
    assert {hit["_id"]: hit["_score"] for hit in world.plain("코로나19 속보")} == after
    with world.ctx.store.begin() as conn:
        assert [one.action for one in generations.history(conn)] == ["weights", "promote"]


def test_forgotten_articles_leave_every_warm_index(world: World) -> None:
    for n in range(4):
        world.article(n)
    first = serving.deploy(world.ctx, world.promoted(1, day=1))
    second = serving.deploy(world.ctx, world.promoted(2, day=2))
    assert serving.forget(world.ctx, world.remove(1)) == 2
    assert serving.forget(world.ctx, "https://news.example/1") == 0
    for generation in (first, second):
        index = f"{world.alias}-g{generation:04d}"
        found = world.http("POST", f"/{index}/_search", {"query": {"term": {"url": "https://news.example/1"}}})
        assert found["hits"]["hits"] == []
        assert world.ctx.cluster.count(index) == 3
    assert serving.forget(world.ctx, "https://news.example/2") == 2  # by url alone
    assert serving.index_new_articles(world.ctx) == 1  # the store still has it


def test_a_lost_index_is_built_again(world: World) -> None:
    for n in range(4):
        world.article(n)
    with pytest.raises(RefusedError, match="nothing to build again"):
        serving.rebuild(world.ctx)
    first = serving.deploy(world.ctx, world.promoted(1))
    before = {hit["_id"]: hit["_score"] for hit in world.plain("코로나19 속보")}
    world.ctx.cluster.delete_index(f"{world.alias}-g{first:04d}")
    world.article(4)
    with pytest.raises(RefusedError, match="garam rebuild"):
        serving.index_new_articles(world.ctx)
    assert world.indices() == []  # nothing was made by a write to a missing index
    second = serving.rebuild(world.ctx)
    world.agree()
    after = {hit["_id"]: hit["_score"] for hit in world.plain("코로나19 속보")}
    assert second > first
    assert {k: v for k, v in after.items() if k in before} == before
    assert len(after) == 5
    third = serving.rebuild(world.ctx)
    assert third > second
    assert world.indices() == [f"{world.alias}-g{third:04d}"]
    world.agree()


def test_two_deployments_at_once_make_one_generation(world: World) -> None:
    for n in range(6):
        world.article(n)
    model = world.promoted(1)
    made: list[int] = []

    def deploy() -> None:
        made.append(serving.deploy(world.context(), model))

    threads = [threading.Thread(target=deploy) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 2
    assert len(set(made)) == 1
    world.agree()


def test_an_alias_moved_by_hand_is_moved_back(world: World) -> None:
    world.article(0)
    first = serving.deploy(world.ctx, world.promoted(1, day=1))
    second = serving.deploy(world.ctx, world.promoted(2, day=2))
    world.ctx.cluster.point({world.alias: False}, f"{world.alias}-g{first:04d}")
    serving.index_new_articles(world.ctx)
    assert world.ctx.cluster.behind(world.alias) == [f"{world.alias}-g{second:04d}"]
    world.agree()


def test_old_generations_are_retired(world: World) -> None:
    world.article(0)
    made = [serving.deploy(world.ctx, world.promoted(n, day=n)) for n in (1, 2, 3)]
    assert world.indices() == [f"{world.alias}-g{number:04d}" for number in made[1:]]
    world.ctx.cluster.create_index(f"{world.alias}-g9999", {})
    size = len(tiny_encoder(world.folder / "any").vocabulary)
    orphan = query_models.package(world.folder / "model-1", np.full(size, 5, np.float32))
    query_models.ensure(world.ctx.cluster, f"{world.alias}-query", orphan)
    report = serving.prune(world.ctx)
    assert report.indices == [f"{world.alias}-g9999"]
    assert len(report.query_models) == 1
    world.agree()
