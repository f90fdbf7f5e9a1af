"""Trend weights in service: a word that rises finds today's article first, and one call undoes it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline import serving
from pipeline.asof import SEOUL, AsOf
from pipeline.cli import app
from pipeline.encoder.vocabulary import Vocabulary
from pipeline.errors import UsageError
from pipeline.search import query_models
from pipeline.store import counts, models, trend_weights
from tests.integration.serving_world import World

TEXT = "축구 대표팀 발표 소식"


@pytest.fixture
def world(tmp_path: Path, database: str, opensearch_url: str) -> Iterator[World]:
    world = World(tmp_path, database, opensearch_url, verify_documents=4)
    yield world
    world.close()


def rising(world: World, model_id: int, words: list[str], at: dt.datetime) -> int:
    """Enter trend weights in which the pieces of ``words`` have a gate of 1; their id."""
    with world.ctx.store.begin() as conn:
        model = models.get(conn, model_id)
        versions = [counts.ensure_version(conn, level, model.vocabulary_hash, at) for level in ("token", "word")]
        tokenizer = Vocabulary.read(world.ctx.artifacts.get(model.artifact)).tokenizer
        ids = sorted({i for word in words for i in tokenizer.encode(word, add_special_tokens=False).ids})
        return trend_weights.add(
            conn,
            AsOf(at.astimezone(SEOUL).date(), at),
            token_version_id=versions[0].id,
            word_version_id=versions[1].id,
            config_hash="",
            content_hash="",
            vocabulary_hash=model.vocabulary_hash,
            tokens=np.array(ids, np.int64),
            gates=np.ones(len(ids), np.float32),
            words=[
                {"word": w, "gate": 1.0, "stories": 9.0, "expected": 1.0, "outlets": 3, "tokens": []} for w in words
            ],
            note="",
        )


def first(world: World, text: str, mode: str = "sparse") -> str:
    return serving.search(world.ctx, text, mode=mode).hits[0].url.rpartition("/")[2]


def test_what_rises_finds_todays_article_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = dt.datetime.now(dt.UTC)
    # The old article says the words twice, so by words alone it is ahead; the last has a date in the future.
    for number, age, text in (
        (1, dt.timedelta(days=30), f"{TEXT} 축구 대표팀"),
        (2, dt.timedelta(hours=1), TEXT),
        (3, -dt.timedelta(days=3), TEXT),
    ):
        world.known = now - age
        world.article(number, text=text, title="한국은행 기준금리")
    model = world.promoted(1)
    serving.deploy(world.ctx, model)
    assert first(world, "축구 대표팀") == "1"
    assert "no trend weights" in serving.recency(world.ctx).note

    number = rising(world, model, ["축구", "대표팀"], now)
    assert serving.publish_trend_weights(world.ctx, number) is not None
    assert first(world, "축구 대표팀") == "2"
    hybrid = [hit.url[-1] for hit in serving.search(world.ctx, "축구 대표팀", mode="hybrid").hits]
    assert hybrid.index("2") < hybrid.index("3"), "today's article before the one with a date in the future"
    scores = {hit.url[-1]: hit.score for hit in serving.search(world.ctx, "축구 대표팀").hits}
    decay = world.config.serving.recency_strength * np.exp(-1 / 24)
    assert scores["2"] == pytest.approx(scores["3"] * (1 + decay), rel=2**-7), "the future gains nothing"
    calm = serving.search(world.ctx, "발표 소식")
    assert {hit.score for hit in calm.hits if hit.url[-1] in "23"} == {calm.hits[0].score}, "other words do not rise"

    serving.publish_trend_weights(world.ctx, number)
    assert len(trend_models(world)) == 1, "published twice: the same query model"
    older = rising(world, model, ["발표"], now - dt.timedelta(days=1))
    assert serving.publish_trend_weights(world.ctx, older) is None, "a backfill never replaces newer ones"

    monkeypatch.setenv("GARAM_DATABASE_URL", world.database)
    monkeypatch.setenv("GARAM_OPENSEARCH_URL", world.opensearch)
    monkeypatch.setenv("GARAM_SERVING__ALIAS", world.alias)
    monkeypatch.setenv("GARAM_STORAGE__ARTIFACTS", world.config.storage.artifacts)
    off = CliRunner().invoke(app, ["recency", "off", "--reason", "too much"], catch_exceptions=False)
    assert "recency is off (too much)" in off.output
    assert "대표팀" in off.output
    assert first(world, "축구 대표팀") == "1"
    CliRunner().invoke(app, ["recency", "on"], catch_exceptions=False)
    assert first(world, "축구 대표팀") == "2"
    with pytest.raises(UsageError, match="off or on"):
        CliRunner().invoke(app, ["recency", "perhaps"], catch_exceptions=False)

    nothing = rising(world, model, [], now + dt.timedelta(minutes=30))
    serving.publish_trend_weights(world.ctx, nothing)
    assert first(world, "축구 대표팀") == "1"
    assert trend_models(world) == [], "where nothing rises there is no second query model"


def test_trend_weights_follow_the_live_generation(world: World) -> None:
    now = dt.datetime.now(dt.UTC)
    for number, age in ((1, 30), (2, 0)):
        world.known = now - dt.timedelta(days=age, hours=1)
        world.article(number, text=f"{TEXT} {'축구' * (age > 0)}", title="한국은행 기준금리")
    old = world.promoted(1)
    serving.deploy(world.ctx, old)
    serving.publish_trend_weights(world.ctx, rising(world, old, ["축구"], now))
    assert first(world, "축구") == "2"
    new = world.promoted(2, day=2)
    serving.deploy(world.ctx, new)
    assert first(world, "축구") == "2", (
        "a new generation of the same vocabulary serves the newest trend weights at once"
    )
    serving.rollback(world.ctx, actor="test", reason="test")
    assert first(world, "축구") == "2"
    serving.prune(world.ctx)
    assert first(world, "축구") == "2", "the query model in use stays"


def trend_models(world: World) -> list[query_models.QueryModel]:
    return query_models.models(world.ctx.cluster, f"{world.alias}-trends")
