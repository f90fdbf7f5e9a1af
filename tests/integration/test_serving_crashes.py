"""Serving interrupted anywhere: the next call goes on, and one generation is live."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import serving
from pipeline.search import query_models
from pipeline.search.cluster import Cluster
from pipeline.store import generations
from tests.integration.serving_world import World

pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]


class PowerCut(BaseException):
    """Nothing catches it."""


@pytest.fixture
def world(tmp_path: Path, database: str, opensearch_url: str) -> Iterator[World]:
    made = World(tmp_path, database, opensearch_url)
    yield made
    made.close()


def cut(function: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    def instead(*args: Any, **kwargs: Any) -> Any:
        if after:
            function(*args, **kwargs)
        raise PowerCut

    return instead


STEPS = [
    (generations, "new", True),
    (query_models, "_register", True),
    (Cluster, "put_pipeline", True),
    (Cluster, "create_index", True),
    (generations, "record_indexed", False),
    (importlib.import_module("pipeline.serving.build"), "verify", True),
    (Cluster, "point", False),
    (Cluster, "point", True),
    (generations, "go_live", True),
    (importlib.import_module("pipeline.serving.deployment"), "publish_newest", False),
    (Cluster, "delete_index", True),
]


def test_a_deployment_goes_on_after_a_crash_at_any_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.article(0)
    first = serving.deploy(world.ctx, world.promoted(1, day=1))
    second = serving.deploy(world.ctx, world.promoted(2, day=2))
    assert second > first
    model = None
    for number, (place, name, after) in enumerate(STEPS):
        world.article(number + 1)
        model = world.promoted(3 + number, day=3 + number)
        with monkeypatch.context() as patch:
            patch.setattr(place, name, cut(getattr(place, name), after=after))
            with pytest.raises(PowerCut):
                serving.deploy(world.ctx, model)
        assert world.plain("속보"), f"nothing is served after a crash in {name}"
        generation = serving.deploy(world.ctx, model)
        live = serving.live(world.ctx)
        assert live is not None, name
        assert (live.id, live.model_id) == (generation, model), name
        assert len(world.plain("속보")) == number + 2, name
        world.agree()


def test_a_crash_and_then_another_model(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.article(0)
    for number, (place, name) in enumerate([(generations, "record_indexed"), (Cluster, "point")]):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, cut(getattr(place, name), after=False))
            with pytest.raises(PowerCut):
                serving.deploy(world.ctx, world.promoted(1 + 2 * number, day=1 + 2 * number))
        serving.deploy(world.ctx, world.promoted(2 + 2 * number, day=2 + 2 * number))
        world.agree()


def test_a_rollback_goes_on_after_a_crash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.article(0)
    first = serving.deploy(world.ctx, world.promoted(1, day=1))
    second = serving.deploy(world.ctx, world.promoted(2, day=2))
    for after, expected in ((False, second), (True, first)):
        with monkeypatch.context() as patch:
            patch.setattr(Cluster, "point", cut(Cluster.point, after=after))
            with pytest.raises(PowerCut):
                serving.rollback(world.ctx, actor="kim", reason="bad")
        serving.index_new_articles(world.ctx)
        live = serving.live(world.ctx)
        assert live is not None
        assert live.id == expected
        world.agree()


@pytest.mark.parametrize("name", ["ensure", "put_pipeline", "set_query_model", "remove"])
def test_publishing_weights_goes_on_after_a_crash(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    world.article(0)
    serving.deploy(world.ctx, world.promoted(1))
    before = world.plain("코로나19 속보")[0]["_score"]
    weights = world.weights(4.0, day=2)
    place: Any = {"put_pipeline": Cluster, "set_query_model": generations}.get(name, query_models)
    with monkeypatch.context() as patch:
        patch.setattr(place, name, cut(getattr(place, name), after=name != "remove"))
        with pytest.raises(PowerCut):
            serving.publish_query_weights(world.ctx, weights)
    assert world.plain("코로나19 속보")[0]["_score"] > 0
    generation = serving.publish_query_weights(world.ctx, weights)
    live = serving.live(world.ctx)
    assert live is not None
    assert (live.id, live.query_weights_id) == (generation, weights)
    assert world.plain("코로나19 속보")[0]["_score"] != pytest.approx(before)
    serving.prune(world.ctx)
    world.agree()


CHILD = """
import sys
from pathlib import Path
from pipeline import serving
from pipeline.config import Config
from pipeline.context import Context
from pipeline.search import Cluster, bulk
from pipeline.store import Store

config, database, opensearch, model = sys.argv[1:]
ctx = Context(Config.model_validate_json(config))
ctx.__dict__["store"], ctx.__dict__["cluster"] = Store(database), Cluster(opensearch)
load = bulk.load
def slow(*args):
    done = load(*args)
    print("loaded", flush=True)
    import time
    time.sleep(120)
    return done
bulk.load = slow
serving.deploy(ctx, int(model))
"""


def test_kill_9_in_the_middle_of_a_deployment(world: World) -> None:
    for n in range(6):
        world.article(n)
    model = world.promoted(1)
    command = [
        sys.executable,
        "-c",
        CHILD,
        world.config.model_dump_json(),
        world.database,
        world.opensearch,
        str(model),
    ]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "loaded"  # the articles are in the index, and not yet written down
    child.send_signal(signal.SIGKILL)
    child.wait()
    started = time.monotonic()
    serving.deploy(world.ctx, model)  # the dead one's locks are gone
    assert time.monotonic() - started < 110  # it does not wait for them to time out
    assert len(world.plain("속보")) == 6
    world.agree()
