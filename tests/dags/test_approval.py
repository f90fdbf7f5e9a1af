"""The approval of a deployment: how long it waits, and what is recorded of the response."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.asof import SEOUL
from pipeline.store import Store, evaluations, models

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dag() -> Any:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(REPOSITORY / "dags"), bundle_name="dags-folder").dags["retrain_daily"]


@pytest.mark.parametrize(("configured", "hours"), [(None, 72.0), ("5", 5.0)])
def test_it_waits_as_long_as_configured_and_then_refuses(
    dag: Any, monkeypatch: pytest.MonkeyPatch, configured: str | None, hours: float
) -> None:
    from airflow.providers.standard.operators import hitl
    from airflow.sdk.exceptions import TaskAwaitingInput

    requests: list[dict[str, Any]] = []
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **request: requests.append(request))
    if configured is not None:
        monkeypatch.setenv("GARAM_GATE__APPROVAL_HOURS", configured)
    task = dag.get_task("ask_for_approval")
    with pytest.raises(TaskAwaitingInput) as waiting:
        task.execute({"task_instance": SimpleNamespace(id="0")})
    assert waiting.value.timeout == dt.timedelta(hours=hours)
    assert requests[0]["defaults"] == ["Refuse"]


@pytest.mark.parametrize(
    ("chosen", "user", "recorded"),
    [
        ("Refuse", None, ("refused", "timeout")),
        ("Refuse", {"id": "1", "name": "kim"}, ("refused", "kim")),
        ("Approve", {"id": "1", "name": "kim"}, ("approved", "kim")),
    ],
)
def test_the_response_is_recorded_and_only_an_approval_goes_on(
    dag: Any,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    chosen: str,
    user: dict[str, str] | None,
    recorded: tuple[str, str],
) -> None:
    monkeypatch.setenv("GARAM_DATABASE_URL", database)
    store, day = Store(database), dt.date(2026, 11, 3)
    store.migrate()
    with store.begin() as conn:
        known_by = dt.datetime.combine(day, dt.time(23), SEOUL)
        model = models.register(
            conn, artifact="m", kind="trained", vocabulary_hash="v", card={}, day=day, known_by=known_by
        )
        evaluation = evaluations.register(
            conn, model_id=model, champion_id=None, config_hash="c", report={}, artifact="a"
        )
        decision = evaluations.register_decision(
            conn, model_id=model, evaluation_id=evaluation, verdict="promote", reason="Better.", rules=[]
        )
    record = dag.get_task("record_approval").python_callable
    response = {"chosen_options": [chosen], "params_input": {}, "responded_by_user": user}
    assert record(decision, response) is (chosen == "Approve")
    with store.begin() as conn:
        row = evaluations.decision(conn, decision)
    assert (row.approval, row.approved_by) == recorded
    store.close()
