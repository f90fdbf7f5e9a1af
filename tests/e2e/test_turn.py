"""One whole turn through Airflow's real scheduler and the Edge worker, a search over HTTP, and a kill -9 of it all."""

from __future__ import annotations

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

from demo.airflow import Airflow
from demo.run import run
from localstack import stack
from pipeline import serving
from pipeline.context import Context
from pipeline.errors import GaramError

CONFIG = Path(__file__).with_name("turn.yaml")
FIRST, SECOND, THIRD = "2020-02-15", "2020-02-29", "2020-02-28"


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """A stack of its own, in a folder that an unprivileged user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="garam-e2e-"))
    folder.chmod(0o755)
    yield folder
    stack.down(folder=folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ctx(state: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """The installation of that stack."""
    monkeypatch.setenv("GARAM_STATE", str(state))
    monkeypatch.setenv("GARAM_CONFIG", str(CONFIG))
    return Context.open()


def airflow(state: Path) -> Airflow:
    """A client, logged in as the generated user."""
    info = stack.status(state)
    assert info.airflow_url
    assert info.airflow_username
    assert info.airflow_password_file
    return Airflow(info.airflow_url, info.airflow_username, Path(info.airflow_password_file).read_text().strip())


def scalars(ctx: Context, query: str) -> list[Any]:
    """The first column of a query."""
    with ctx.store.begin() as conn:
        return list(conn.execute(sa.text(query)).scalars())


@pytest.mark.timeout(1500)
def test_a_turn(ctx: Context, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(CONFIG, as_json=True)
    summary = json.loads(capsys.readouterr().out)
    assert summary["documents"] > 300
    words = " ".join(trend["word"] for learned in summary["learned"] for trend in learned["trends"])
    assert "코로나19" in words, words
    assert [one["day"] for one in summary["rounds"]] == [FIRST, SECOND]
    for one in summary["rounds"]:
        assert one["verdict"] in ("promote", "reject")
        assert len(one["rules"]) == 8
        assert set(one["sets"]) >= {"fresh", "anchor"}
        for systems in one["sets"].values():
            assert {"bm25", "candidate", "floor"} <= set(systems)
    # Nothing is served that the gate did not promote.
    promoted = [one["model"] for one in summary["rounds"] if one["verdict"] == "promote"]
    assert (summary["generation"] is not None) == bool(promoted)
    assert scalars(ctx, "SELECT model_id FROM generations") == promoted
    # A window's articles came through the crawler, the past as an archive, each once.
    assert scalars(ctx, "SELECT count(*) FROM articles WHERE source = 'feed'")[0] > 50
    assert (
        scalars(ctx, "SELECT count(*) FROM articles")[0] == scalars(ctx, "SELECT count(DISTINCT url) FROM articles")[0]
    )
    assert scalars(
        ctx, "SELECT max(n) FROM (SELECT count(*) n FROM counted_articles GROUP BY version_id, article_id) x"
    ) == [1]


@pytest.mark.timeout(600)
def test_a_person_deploys_searches_and_undoes(ctx: Context, state: Path) -> None:
    model = scalars(ctx, "SELECT max(id) FROM models WHERE kind = 'trained'")[0]
    client = airflow(state)
    run_id = client.trigger("operate", conf={"action": "deploy", "model": model, "reason": "to see it"})
    client.wait("operate", run_id, timeout_s=300, on_change=lambda task: None)
    live = serving.live(ctx)
    assert live is not None
    assert live.model_id == model
    actor = scalars(ctx, "SELECT actor FROM deployments ORDER BY id DESC LIMIT 1")[0]
    assert actor.startswith("airflow:")
    answer = httpx.post(
        f"{stack.status(state).opensearch_url}/{ctx.config.serving.alias}/_search",
        json={"query": {"neural_sparse": {"emb": {"query_text": "코로나19 마스크"}}}, "_source": ["title", "url"]},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["hits"]["hits"], "plain text finds nothing"
    page = f"{stack.status(state).airflow_url}/retraining/"
    assert httpx.get(page, timeout=30).status_code in (401, 403), "the page is open to anybody"
    shown = client.get("/retraining/")
    assert f"Generation {live.id} is live" in shown
    if len(scalars(ctx, "SELECT id FROM generations WHERE status IN ('live', 'retired')")) == 1:
        with pytest.raises(GaramError):
            serving.rollback(ctx, actor="test", reason="nothing to go back to")


@pytest.mark.timeout(900)
def test_kill_9_of_everything_in_a_retraining_loses_and_doubles_nothing(ctx: Context, state: Path) -> None:
    client = airflow(state)
    run_id = client.trigger("learn_daily", partition_key=THIRD)
    client.wait("learn_daily", run_id, timeout_s=300, on_change=lambda task: None)
    run_id = client.trigger("retrain_daily", partition_key=THIRD)
    work = state / "worker" / "work"
    deadline = time.monotonic() + 300
    known = set(work.glob("job-*")) if work.exists() else set()
    while not any((job / "lock").exists() for job in set(work.glob("job-*")) - known):
        assert time.monotonic() < deadline, "the worker never began"
        time.sleep(0.1)
    time.sleep(1.0)  # it has begun to read, and is far from done
    before = scalars(ctx, "SELECT count(*) FROM articles")
    ctx.store.close()
    kill_everything(state)
    stack.up(folder=state)
    ended = airflow(state).wait("retrain_daily", run_id, timeout_s=600, on_change=lambda task: None)
    assert {task.task: task.state for task in ended}["decide"] == "success"
    assert scalars(ctx, "SELECT count(*) FROM articles") == before
    assert scalars(ctx, f"SELECT count(*) FROM models WHERE day = '{THIRD}'") == [1]
    assert scalars(ctx, f"SELECT count(*) FROM training_sets WHERE day = '{THIRD}'") == [1]
    models = f"SELECT id FROM models WHERE day = '{THIRD}'"
    assert scalars(ctx, f"SELECT count(*) FROM decisions WHERE model_id IN ({models})") == [1]


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
