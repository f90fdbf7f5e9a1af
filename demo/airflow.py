"""A small client of Airflow's REST API: trigger a run, watch its tasks, wait for its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from pipeline.errors import GaramError, UnavailableError

_ENDED = {"success", "failed"}
_LOOK_EVERY_S = 15.0


@dataclass(frozen=True)
class TaskOutcome:
    """One task of a finished run; ``seconds`` is None when it did not run."""

    task: str
    state: str
    seconds: float | None


class RunFailedError(GaramError):
    """A run ended red."""


class Airflow:
    """Airflow at ``url``, logged in as ``username``."""

    def __init__(self, url: str, username: str, password: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)
        self._login = {"username": username, "password": password}

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        for attempt in range(6):
            try:
                response = self._http.request(method, path, **options)
                if response.status_code == 401:
                    token = self._http.post("/auth/token", json=self._login)
                    token.raise_for_status()
                    self._http.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
                    continue
                if response.status_code < 500:
                    break
            except httpx.TransportError:
                if attempt == 5:
                    raise
            time.sleep(1 + attempt)
        if response.is_error:
            raise UnavailableError(f"Airflow answered {response.status_code} to {method} {path}: {response.text[:300]}")
        return response.json() if response.content else {}

    def get(self, path: str) -> str:
        """The text of a page behind the login."""
        self._call("GET", "/api/v2/dags")  # logs in where it has to
        response = self._http.get(path)
        response.raise_for_status()
        return response.text

    def wait_for_dags(self, dag_ids: set[str], timeout_s: float = 120) -> None:
        """Wait until the DAG processor has read the DAGs, and unpause them."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = {d["dag_id"]: d for d in self._call("GET", "/api/v2/dags", params={"limit": 100})["dags"]}
            if dag_ids <= found.keys():
                break
            if time.monotonic() > deadline:
                errors = self._call("GET", "/api/v2/importErrors").get("import_errors", [])
                why = errors[0]["stack_trace"].strip().splitlines()[-1] if errors else "the DAG processor is slow"
                raise UnavailableError(f"Airflow has not read {', '.join(sorted(dag_ids - found.keys()))}: {why}")
            time.sleep(1)
        for dag_id in dag_ids:
            if found[dag_id]["is_paused"]:
                self._call("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, *, conf: dict[str, Any] | None = None, partition_key: str | None = None) -> str:
        """Start a run; its id."""
        body: dict[str, Any] = {"logical_date": None, "conf": conf or {}}
        if partition_key is not None:
            body["partition_key"] = partition_key
        return str(self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def tasks(self, dag_id: str, run_id: str) -> list[TaskOutcome]:
        """The run's tasks as they are now."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found = self._call("GET", path, params={"limit": 100})["task_instances"]
        return [TaskOutcome(t["task_id"], t["state"] or "none", t["duration"]) for t in found]

    def wait(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout_s: float,
        on_change: Callable[[TaskOutcome], None],
        on_progress: Callable[[str], None] | None = None,
    ) -> list[TaskOutcome]:
        """Wait for a run's end, telling each change of a task and how far long tasks are.

        RunFailedError when the run ends red or takes longer than ``timeout_s`` seconds.
        """
        deadline = time.monotonic() + timeout_s
        seen: dict[str, str] = {}
        looked, said = time.monotonic(), ""
        while True:
            state = self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"]
            tasks = self.tasks(dag_id, run_id)
            for task in tasks:
                if seen.get(task.task) != task.state:
                    seen[task.task] = task.state
                    on_change(task)
            if state in _ENDED:
                break
            if on_progress is not None and time.monotonic() - looked > _LOOK_EVERY_S:
                looked = time.monotonic()
                running = [task.task for task in tasks if task.state == "running"]
                line = self._progress(dag_id, run_id, running[0]) if running else ""
                if line and line != said:
                    said = line
                    on_progress(f"{running[0]}: {line}")
            if time.monotonic() > deadline:
                raise RunFailedError(f"{dag_id} has not ended in {timeout_s:.0f} s: look at the run in the Airflow UI")
            time.sleep(1)
        if state != "success":
            failed = [t.task for t in tasks if t.state == "failed"]
            why = self._last_error(dag_id, run_id, failed[0]) if failed else ""
            raise RunFailedError(f"{dag_id} failed in {', '.join(failed) or 'no task'}{why and ': ' + why}")
        return tasks

    def _log(self, dag_id: str, run_id: str, task_id: str) -> list[dict[str, Any]]:
        """The entries of a task's newest log; none when it cannot be had."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        try:
            number = self._call("GET", path)["try_number"]
            log = self._call("GET", f"{path}/logs/{number}", headers={"Accept": "application/json"})
        except (GaramError, httpx.HTTPError, KeyError):
            return []
        return [entry for entry in log.get("content", []) if isinstance(entry, dict)]

    def _progress(self, dag_id: str, run_id: str, task_id: str) -> str:
        """The newest line of progress that a task logged."""
        said = [str(e["event"]) for e in self._log(dag_id, run_id, task_id) if e.get("logger") == "garam.progress"]
        return said[-1] if said else ""

    def _last_error(self, dag_id: str, run_id: str, task_id: str) -> str:
        entries = self._log(dag_id, run_id, task_id)
        lines = [str(entry.get("event", "")) for entry in entries if entry.get("level") in ("error", "critical")]
        details = [
            f"{frame.get('exc_type')}: {frame.get('exc_value')}"
            for entry in entries
            for frame in entry.get("error_detail") or []
        ]
        return (details or lines or [""])[-1][:600]
