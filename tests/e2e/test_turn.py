"""A whole turn through Airflow's real scheduler and the Edge worker: promotion, search, a kill -9, undo, removal."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import yaml

from demo.airflow import Airflow, RunFailedError
from demo.run import run
from localstack import stack
from pipeline import daily, serving
from pipeline.context import Context
from pipeline.encoder import Encoder
from pipeline.serving.articles import recipe_of
from pipeline.serving.build import verify
from pipeline.store import generations, models
from tests.tiny import tiny_dense

CONFIG = Path(__file__).with_name("turn.yaml")
FIRST, SECOND, THIRD = "2020-02-15", "2020-02-29", "2020-03-02"


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """A stack of its own, in a folder that an unprivileged user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="garam-e2e-"))
    folder.chmod(0o755)
    tiny_dense().save(folder / "dense")
    configure(folder, {})
    yield folder
    stack.down(folder=folder)
    shutil.rmtree(folder, ignore_errors=True)


def configure(state: Path, encoder: dict[str, Any]) -> None:
    """Write the installation's configuration, which every task reads when it starts."""
    settings = yaml.safe_load(CONFIG.read_text())
    settings["encoder"] |= {"source": str(state / "dense"), **encoder}
    (state / "config.yaml").write_text(yaml.safe_dump(settings))


@pytest.fixture
def ctx(state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """The installation of that stack."""
    monkeypatch.setenv("GARAM_STATE", str(state))
    monkeypatch.setenv("GARAM_CONFIG", str(state / "config.yaml"))
    with Context.open() as context:
        yield context


def airflow(state: Path) -> Airflow:
    """A client, logged in as the generated user."""
    info = stack.status(state)
    assert info.airflow_url
    assert info.airflow_username
    assert info.airflow_password_file
    return Airflow(info.airflow_url, info.airflow_username, Path(info.airflow_password_file).read_text().strip())


def operate(state: Path, action: str, **fields: Any) -> None:
    """Trigger the DAG `operate`, as its form does, and wait for its end."""
    client = airflow(state)
    run_id = client.trigger("operate", conf={"action": action, **fields})
    client.wait("operate", run_id, timeout_s=600, on_change=lambda task: None)


def scalars(ctx: Context, query: str) -> list[Any]:
    """The first column of a query."""
    with ctx.store.begin() as conn:
        return list(conn.execute(sa.text(query)).scalars())


def live(ctx: Context) -> generations.Generation:
    """The generation behind the alias."""
    found = serving.live(ctx)
    assert found is not None
    return found


@pytest.mark.timeout(1800)
def test_the_gate_promotes_and_airflow_deploys(ctx: Context, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(state / "config.yaml", as_json=True)
    summary = json.loads(capsys.readouterr().out)
    assert summary["documents"] > 300
    words = " ".join(trend["word"] for learned in summary["learned"] for trend in learned["trends"])
    assert "코로나19" in words, words
    first, second = summary["rounds"]
    assert [first["day"], second["day"]] == [FIRST, SECOND]
    for one in (first, second):
        assert len(one["rules"]) == 8
        assert set(one["sets"]) >= {"fresh", "anchor"}
        for systems in one["sets"].values():
            assert {"bm25", "candidate", "floor"} <= set(systems)
    assert "champion" in second["sets"]["fresh"], "the second model is compared with the first"
    assert first["verdict"] == "promote", first
    # Nothing is served that the gate did not promote, and nobody but the loop has deployed.
    promoted = [one["model"] for one in (first, second) if one["verdict"] == "promote"]
    assert scalars(ctx, "SELECT model_id FROM generations ORDER BY id") == promoted
    assert set(scalars(ctx, "SELECT actor FROM deployments")) == {"loop"}
    assert live(ctx).model_id == promoted[-1]
    # A window's articles came through the crawler, the past as an archive, each once.
    assert scalars(ctx, "SELECT count(*) FROM articles WHERE source = 'feed'")[0] > 50
    assert (
        scalars(ctx, "SELECT count(*) FROM articles")[0] == scalars(ctx, "SELECT count(DISTINCT url) FROM articles")[0]
    )
    assert scalars(
        ctx, "SELECT max(n) FROM (SELECT count(*) n FROM counted_articles GROUP BY version_id, article_id) x"
    ) == [1]
    # From now on schedules run. There is no news of yesterday, so their runs end at once.
    client, deadline = airflow(state), time.monotonic() + 300
    states: set[str] = set()
    while not states or states & {"queued", "running"}:
        assert time.monotonic() < deadline, f"scheduled runs of learn_daily: {states}"
        time.sleep(2)
        runs = json.loads(client.get("/api/v2/dags/learn_daily/dagRuns"))["dag_runs"]
        states = {one["state"] for one in runs if one["run_type"] == "scheduled"}
    assert states == {"success"}


@pytest.mark.timeout(600)
def test_plain_text_searches_and_the_page_says_what_is_live(ctx: Context, state: Path) -> None:
    response = httpx.post(
        f"{stack.status(state).opensearch_url}/{ctx.config.serving.alias}/_search",
        json={"query": {"neural_sparse": {"emb": {"query_text": "코로나19 마스크"}}}, "_source": ["title", "url"]},
        timeout=30,
    )
    assert response.status_code == 200, response.text
    assert response.json()["hits"]["hits"], "a plain-text query has no hits"
    page = f"{stack.status(state).airflow_url}/retraining/"
    assert httpx.get(page, timeout=30).status_code in (401, 403), "the page is open to anybody"
    assert f"Generation {live(ctx).id} is live" in airflow(state).get("/retraining/")


@pytest.mark.timeout(1500)
def test_kill_9_of_everything_in_a_retraining_loses_and_doubles_nothing(ctx: Context, state: Path) -> None:
    """The round also learns its day again, over a new base that encodes in another way."""
    configure(state, {"lexical_floor": 3.0, "max_chars": 1200, "window_chars": 200})
    operate(state, "build_base")
    client = airflow(state)
    run_id = client.trigger("retrain_daily", conf={"day": THIRD, "learn_again": True})
    work = state / "worker" / "work"
    earlier = set(work.glob("job-*")) if work.exists() else set()
    deadline = time.monotonic() + 900
    while not any((job / "lock").exists() for job in set(work.glob("job-*")) - earlier):
        assert time.monotonic() < deadline, "the worker never began"
        time.sleep(0.1)
    before = scalars(ctx, "SELECT count(*) FROM articles")
    assert scalars(ctx, f"SELECT count(*) FROM statistics WHERE day = '{THIRD}'") == [1], "it was learned first"
    ctx.store.close()
    kill_everything(state)
    stack.up(folder=state)
    ended = airflow(state).wait("retrain_daily", run_id, timeout_s=900, on_change=lambda task: None)
    assert {task.task: task.state for task in ended}["decide"] == "success"
    assert scalars(ctx, "SELECT count(*) FROM articles") == before
    assert scalars(ctx, f"SELECT count(*) FROM models WHERE day = '{THIRD}'") == [1]
    assert scalars(ctx, f"SELECT count(*) FROM training_sets WHERE day = '{THIRD}'") == [1]
    model_ids = f"SELECT id FROM models WHERE day = '{THIRD}'"
    assert scalars(ctx, f"SELECT count(*) FROM decisions WHERE model_id IN ({model_ids})") == [1]


@pytest.mark.timeout(1500)
def test_a_person_deploys_and_undoes_step_by_step(ctx: Context, state: Path) -> None:
    first = live(ctx)
    (third_model,) = scalars(ctx, f"SELECT id FROM models WHERE day = '{THIRD}'")
    if first.model_id != third_model:
        operate(state, "deploy", model=third_model, reason="to see it")
        assert scalars(ctx, "SELECT actor FROM deployments ORDER BY id DESC LIMIT 1")[0].startswith("airflow:")
    third = live(ctx)
    assert third.model_id == third_model
    # Each index has documents of one encoding only, that of its own model.
    encodings = {encoding_of_index(ctx, generation) for generation in warm(ctx)}
    assert len(encodings) >= 2

    before = [one.id for one in warm(ctx) if one.id != third.id]
    for expected in sorted(before, reverse=True):
        operate(state, "rollback", reason="worse")
        assert live(ctx).id == expected
        assert serving.search(ctx, "코로나19 마스크").generation == expected
    with pytest.raises(RunFailedError, match="no earlier generation"):
        operate(state, "rollback", reason="worse still")
    oldest = live(ctx).id
    operate(state, "resume")
    operate(state, "deploy", model=third_model, reason="it was right after all")
    assert live(ctx).id > third.id
    operate(state, "rollback", reason="it was not")
    assert live(ctx).id == oldest, "a rollback goes to what was live before, never to what was rolled back from"


@pytest.mark.timeout(600)
def test_a_removed_article_is_nowhere(ctx: Context) -> None:
    with ctx.store.begin() as conn:
        champion = models.champion(conn)
    assert champion is not None
    hit = serving.search(ctx, "코로나19 마스크").hits[0]
    told = daily.forget(ctx, hit.url, "requested")
    assert (told.articles, told.indexed > 0) == (1, True)
    assert told.holding, "training sets and corpora have its words still, and say so"
    erased = daily.forget(ctx, hit.url, erase=True)
    assert set(told.holding) == {*erased.erased, *erased.holding}
    assert erased.erased
    assert hit.url not in {one.url for one in serving.search(ctx, hit.title, mode="bm25", size=100).hits}
    assert daily.forget(ctx, hit.url, erase=True).erased == []


def warm(ctx: Context) -> list[generations.Generation]:
    """The live generation and those that can be gone back to."""
    with ctx.store.begin() as conn:
        return generations.with_status(conn, ("live", "retired"))


def encoding_of_index(ctx: Context, generation: generations.Generation) -> str:
    """How an index is encoded, after comparing its scores with those of its own model: they differ where it mixes."""
    verify(ctx, generation, recipe_of(ctx, generation))
    with ctx.store.begin() as conn:
        folder = ctx.artifacts.get(models.get(conn, generation.model_id).artifact)
    return json.dumps(dataclasses.asdict(Encoder.load(folder).encoding), sort_keys=True)


def kill_everything(state: Path) -> None:
    """SIGKILL to every process of the stack at once, tasks included, as a power cut would."""
    marker = f"GARAM_STACK={state}#".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if marker in (entry / "environ").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                continue  # it ended by itself
