"""Airflow for real: UI with login, a task on the GPU queue's worker, and nothing left when it goes down."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from localstack import processes, stack
from localstack.context import Options
from localstack.info import StackInfo
from pipeline.store import Store
from tests.services import FAST, remove_stack

DAG = """
import os
from airflow.sdk import dag, task

@dag(schedule=None)
def try_queue():
    @task(queue="gpu", executor="EdgeExecutor")
    def on_worker():
        return dict(os.environ)

    @task
    def here(_):
        from pipeline.addresses import database_url
        return {"state": os.environ["GARAM_STATE"], "config": os.environ.get("GARAM_CONFIG"), "url": database_url()}

    here(on_worker())

try_queue()
"""

APPROVAL = """
import sys
sys.path.insert(0, {dags!r})
from airflow.sdk import dag, task
from common.approval import APPROVE, DeploymentApproval
from common.garam import DEFAULT_ARGS

@dag(schedule=None, default_args=DEFAULT_ARGS)
def try_approval():
    @task.short_circuit(ignore_downstream_trigger_rules=True)
    def record_approval(response):
        return response["chosen_options"] == [APPROVE]

    @task
    def deploy():
        return True

    record_approval(DeploymentApproval(task_id="ask", subject="Deploy?").output) >> deploy()

try_approval()
"""


class Api:
    """Just enough of Airflow's REST API."""

    def __init__(self, info: StackInfo) -> None:
        assert info.airflow_url is not None
        assert info.airflow_password_file is not None
        self.base, self.token = info.airflow_url, ""
        password = Path(info.airflow_password_file).read_text().strip()
        self.token = self.call("/auth/token", {"username": info.airflow_username, "password": password})["access_token"]

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{self.base}{path}", data, headers), timeout=30) as said:
            return json.load(said)

    def run(self, dag: str, timeout_s: float = 180) -> str:
        """Trigger it and wait until it ends; returns the run's path."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                started = self.call(f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None})
                break
            except urllib.error.HTTPError as error:  # the DAG file has not been read yet
                if error.code != 404 or time.monotonic() > end:
                    raise
                time.sleep(0.5)
        path = f"/api/v2/dags/{dag}/dagRuns/{started['dag_run_id']}"
        while (state := self.call(path)["state"]) not in ("success", "failed"):
            assert time.monotonic() < end, state
            time.sleep(0.5)
        assert state == "success"
        return path


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[StackInfo, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="garam-launch-"))
    dags = folder / "try-dags"
    dags.mkdir()
    (dags / "try_queue.py").write_text(DAG)
    (dags / "try_approval.py").write_text(APPROVAL.format(dags=str(Path(__file__).parents[2] / "dags")))
    # One generated password in 64 begins with a dash.
    secret = folder / "secrets" / "airflow-admin"
    secret.parent.mkdir(mode=0o700)
    secret.write_text(f"-{secrets.token_urlsafe(24)}\n")
    secret.chmod(0o600)
    options = Options(dags=str(dags), postgres_settings=FAST)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GARAM_NEWS__ALLOW_LOOPBACK", "true")
            patch.setenv("GARAM_GATE__APPROVAL_HOURS", "0.002")
            patch.setenv("GARAM_OPENSEARCH_URL", "http://127.0.0.1:1")
            yield stack.up(["postgres", "airflow"], options=options, folder=folder), folder
    finally:
        remove_stack(folder)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(600)
def test_a_task_runs_on_the_worker_which_knows_no_secrets_of_services(running: tuple[StackInfo, Path]) -> None:
    info, folder = running
    assert info.healthy, info
    api = Api(info)
    run = api.run("try_queue")
    tasks = {one["task_id"]: one for one in api.call(f"{run}/taskInstances")["task_instances"]}
    assert tasks["on_worker"]["queue"] == "gpu"
    assert tasks["on_worker"]["hostname"].startswith("garam-gpu-")
    entry = f"{run}/taskInstances/{{}}/xcomEntries/return_value?deserialize=true"
    worker = api.call(entry.format("on_worker"))["value"]
    said = json.dumps(worker)
    for secret in ("postgres", "postgres-garam", "postgres-airflow", "airflow-admin", "airflow-fernet"):
        assert (folder / "secrets" / secret).read_text().strip() not in said, secret
    assert "GARAM_OPENSEARCH_URL" not in worker
    assert worker["GARAM_STATE"] == str(folder / "worker")
    assert worker["GARAM_NEWS__ALLOW_LOOPBACK"] == "true"
    assert (folder / "worker" / "artifacts").resolve() == (folder / "artifacts").resolve()
    here = api.call(entry.format("here"))["value"]
    assert here["state"] == str(folder)
    assert here["url"] == info.postgres_url
    log = api.call(f"{run}/taskInstances/on_worker/logs/1")
    assert any("try_queue.py" in str(line.get("event")) for line in log["content"]), "the worker's log is in the UI"


def test_the_ui_asks_for_a_login_and_everything_is_on_loopback(running: tuple[StackInfo, Path]) -> None:
    info, folder = running
    assert info.airflow_url is not None
    with urllib.request.urlopen(info.airflow_url, timeout=30) as page:
        assert b"<title>" in page.read()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{info.airflow_url}/api/v2/dags", timeout=30)
    addresses = {
        connection.laddr.ip
        for process in processes.marked(folder)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_feeds_are_seen_and_changed_by_who_may(running: tuple[StackInfo, Path]) -> None:
    info, _ = running
    assert info.airflow_url is not None
    assert info.postgres_url is not None
    store = Store(info.postgres_url)
    store.migrate()
    page, feed = f"{info.airflow_url}/retraining/feeds", "https://www.garam.example/rss.xml?a=1&b=<b>"
    form: dict[str, str] = {"action": "add", "url": feed, "outlet": "<script>alert(1)</script>"}
    assert httpx.get(page).status_code == 401
    assert httpx.post(page, data=form, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 401
    with httpx.Client(headers={"Authorization": f"Bearer {Api(info).token}"}, timeout=30) as browser:
        for foreign in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            assert browser.post(page, data=form, headers=foreign).status_code == 403
        assert "https://www.garam.example" not in browser.get(page).text
        ours = {"Sec-Fetch-Site": "same-origin"}
        assert browser.post(page, data=form, headers=ours).status_code == 303
        shown = browser.get(page, headers={"Accept-Language": "ko-KR,ko;q=0.9,en;q=0.8"}).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
        assert "<script" not in shown
        assert "피드 추가" in shown
        assert browser.post(page, data=form | {"url": "ftp://x"}, headers=ours).status_code == 400
        assert browser.post(page, data={"action": "disable", "url": feed}, headers=ours).status_code == 303
        (state,) = browser.get(f"{info.airflow_url}/retraining/feeds.json").json()["feeds"]
        assert (state["url"], state["enabled"], state["condition"]) == (feed, False, "disabled")
        assert browser.get(page, params={"lang": "en"}).text.count(">Enable</button>") == 1
    store.close()


@pytest.mark.timeout(600)
def test_an_approval_without_a_response_is_a_refusal_and_the_run_is_green(running: tuple[StackInfo, Path]) -> None:
    info, _ = running
    api = Api(info)
    run = api.run("try_approval")
    tasks = {one["task_id"]: one["state"] for one in api.call(f"{run}/taskInstances")["task_instances"]}
    assert tasks == {"ask": "success", "record_approval": "success", "deploy": "skipped"}
    response = api.call(f"{run}/taskInstances/ask/xcomEntries/return_value?deserialize=true")["value"]
    assert response["chosen_options"] == ["Refuse"]
    assert response["responded_by_user"] is None


def test_a_viewer_finds_the_page_and_cannot_change_feeds(running: tuple[StackInfo, Path]) -> None:
    info, _ = running
    assert info.airflow_url is not None
    assert info.postgres_url is not None
    store = Store(info.postgres_url)
    store.migrate()
    store.close()
    api, password = Api(info), secrets.token_urlsafe(12)
    user = {"username": "reader", "email": "reader@localhost", "first_name": "Rea", "last_name": "Der"}
    api.call("/auth/fab/v1/users", {**user, "password": password, "roles": [{"name": "Viewer"}]})
    token = api.call("/auth/token", {"username": "reader", "password": password})["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Sec-Fetch-Site": "same-origin"}
    with httpx.Client(base_url=info.airflow_url, headers=headers, timeout=30) as viewer:
        plugins = viewer.get("/api/v2/plugins")
        assert plugins.status_code == 200, plugins.text
        views = [view["name"] for one in plugins.json()["plugins"] for view in one["external_views"]]
        assert "Garam" in views
        assert viewer.get("/retraining/").status_code == 200
        assert "<form" not in viewer.get("/retraining/feeds").text
        assert viewer.post("/retraining/feeds", data={"action": "add", "url": "https://x.example"}).status_code == 403


@pytest.mark.timeout(600)
def test_a_killed_worker_comes_back_and_works(running: tuple[StackInfo, Path]) -> None:
    _, folder = running
    before = {one.name: one.pid for one in stack.status(folder=folder).components}
    worker = before["airflow-worker"]
    assert worker is not None
    psutil.Process(worker).kill()
    again = stack.up(["postgres", "airflow"], folder=folder)
    assert again.healthy, again
    after = {one.name: one.pid for one in again.components}
    assert {name for name in after if after[name] != before[name]} == {"airflow-worker"}
    Api(again).run("try_queue")


@pytest.mark.timeout(600)
def test_down_leaves_nothing(running: tuple[StackInfo, Path]) -> None:
    _, folder = running
    began = time.monotonic()
    stack.down(folder=folder)
    assert time.monotonic() - began < 45
    assert processes.marked(folder) == []
