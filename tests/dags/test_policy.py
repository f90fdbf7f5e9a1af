"""DAG files wire: they parse, are cheap to parse, and follow the house's rules."""

from __future__ import annotations

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
FILES = sorted((REPOSITORY / "dags").glob("*.py"))
HEAVY = ("torch", "transformers", "sklearn", "scipy", "sqlalchemy.dialects.postgresql", "opensearchpy", "kiwipiepy")


@pytest.fixture(scope="module")
def bag() -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(REPOSITORY / "dags"), bundle_name="dags-folder")


def test_every_file_parses(bag: Any) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == {"crawl_news", "learn_daily", "retrain_daily", "operate"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_parsing_a_file_is_cheap_and_imports_nothing_heavy(path: Path) -> None:
    """Half a second beyond Airflow itself: the DAG processor does this over and over."""
    script = f"""
import json, sys, time
sys.path.insert(0, {str(REPOSITORY / "dags")!r})
import airflow.sdk, airflow.providers.standard.operators.hitl, airflow.providers.standard.decorators.sensor
import airflow.providers.standard.operators.trigger_dagrun
from airflow.sdk import dag, task, Param, CronPartitionTimetable
before = set(sys.modules)
import runpy
began = time.process_time()
runpy.run_path({str(path)!r})
took = time.process_time() - began
new = set(sys.modules) - before
pipeline = [m for m in new if m == "pipeline" or m.startswith("pipeline.")]
print(json.dumps({{"seconds": took, "heavy": [m for m in {HEAVY!r} if m in new], "pipeline": pipeline}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout.strip().splitlines()[-1])
    assert report["heavy"] == [], f"{path.name} imports {report['heavy']} when it is parsed"
    assert report["pipeline"] == [], f"{path.name} imports {report['pipeline']} when it is parsed: import inside tasks"
    assert report["seconds"] < 0.5


@pytest.mark.parametrize("folder", ["dags", "plugins"])
def test_only_entry_points_of_the_pipeline_are_imported(folder: str) -> None:
    shared = {"pipeline.asof", "pipeline.context", "pipeline.errors", "pipeline.progress"}
    for path in (REPOSITORY / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline."):
                assert node.module in shared, f"{path.name} imports {node.module}: use what its package exports"
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("pipeline") for alias in node.names), path.name


def test_every_task_has_an_owner_retries_and_a_time_limit(bag: Any) -> None:
    for dag in bag.dags.values():
        for task in dag.tasks:
            where = f"{dag.dag_id}.{task.task_id}"
            assert task.owner == "garam", where
            assert task.retries >= 1, where
            # A person may take days to respond; that wait holds no worker and has its own limit.
            assert task.execution_timeout is not None or task.task_id == "ask_for_approval", where


def test_every_dag_is_explained_and_never_floods(bag: Any) -> None:
    for dag in bag.dags.values():
        assert dag.doc_md, dag.dag_id
        assert not dag.catchup, dag.dag_id
        assert dag.max_active_runs <= 4, dag.dag_id
        assert "garam" in dag.tags, dag.dag_id


def test_no_task_argument_is_a_name_that_airflow_fills_in(bag: Any) -> None:
    """Such a task fails only when it runs: "The key 'run_id' in args is a part of kwargs and therefore reserved"."""
    from airflow.sdk.definitions.context import Context

    reserved = set(Context.__annotations__) | {"conf", "run_id", "ds", "params", "ti"}
    for dag in bag.dags.values():
        for task in dag.tasks:
            function = getattr(task, "python_callable", None)
            if function is not None:
                taken = reserved & set(inspect.signature(function).parameters)
                assert not taken, f"{dag.dag_id}.{task.task_id}: rename {taken}"


def test_days_are_days_in_seoul(bag: Any) -> None:
    for name in ("learn_daily", "retrain_daily"):
        timetable = bag.dags[name].timetable
        assert type(timetable).__name__ == "CronPartitionTimetable", name
        assert str(timetable.timezone) == "Asia/Seoul" or "Asia/Seoul" in repr(timetable), name
        assert "day" in bag.dags[name].params, name


def test_only_training_goes_to_the_gpu_queue_when_there_is_one() -> None:
    script = f"""
import sys
sys.path.insert(0, {str(REPOSITORY / "dags")!r})
from airflow.dag_processing.dagbag import DagBag
bag = DagBag({str(REPOSITORY / "dags")!r}, bundle_name="dags-folder")
tasks = [(d.dag_id, t) for d in bag.dags.values() for t in d.tasks]
print("QUEUES", sorted((dag_id, t.task_id, t.executor) for dag_id, t in tasks if t.queue == "gpu"))
"""
    env = os.environ | {
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor,airflow.providers.edge3.executors.EdgeExecutor",
    }
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=False)
    line = next((x for x in done.stdout.splitlines() if x.startswith("QUEUES")), done.stderr[-1500:])
    tasks = [("learn_daily", "run_base_job"), ("operate", "run_base_job"), ("retrain_daily", "train")]
    assert line == f"QUEUES {[(dag_id, task_id, 'EdgeExecutor') for dag_id, task_id in tasks]}"


def test_a_wait_for_an_approval_holds_up_no_later_day_and_no_two_runs_train_at_once(bag: Any) -> None:
    dag = bag.dags["retrain_daily"]
    assert dag.max_active_runs > 3, "72 hours of waiting are three more runs"
    assert all(task.max_active_tis_per_dag == 1 for task in dag.tasks)


def test_a_refusal_never_deploys(bag: Any) -> None:
    dag = bag.dags["retrain_daily"]
    deploy = dag.get_task("deploy")
    assert {"route", "record_approval"} <= deploy.upstream_task_ids
    assert dag.get_task("record_approval").upstream_task_ids == {"decide", "ask_for_approval"}


def test_a_crawl_is_four_tasks_and_a_silent_outlet_never_stops_the_index(bag: Any) -> None:
    dag = bag.dags["crawl_news"]
    assert {task.task_id for task in dag.tasks} == {"crawl", "index_new_articles", "renew_trends", "watch_outlets"}
    assert not any(task.is_mapped for task in dag.tasks), "half-hourly, a task a feed would be thousands a day"
    watch = dag.get_task("watch_outlets")
    assert watch.trigger_rule == "all_done"
    assert not watch.downstream_task_ids
    assert dag.get_task("index_new_articles").upstream_task_ids == {"crawl"}
