"""operate: manual operations with a form: roll back, rebuild, deploy, import, forget, prune and others.

Each action calls the function of the command of the same name (`garam rollback` ...).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

from common.base import register_base, run_base_job, write_base_job
from common.garam import DEFAULT_ARGS, garam, logged

ACTIONS = {
    "rollback": "go back to the generation served before, and pause automatic promotion",
    "resume": "let the gate promote again after a rollback",
    "rebuild": "build the live generation's index again from Postgres and artifacts",
    "deploy": "deploy a model by hand, whatever the gate decided (recorded with your reason)",
    "import_archive": "import an archive: a file on the server, or hf:NAME",
    "forget": "remove an article by its url, everywhere and permanently",
    "build_base": "build the base (vocabulary and dense encoder) from the articles known now",
    "grow_base": "add tokens to the base's vocabulary for the newest trends' words that it splits",
    "fine_tune": "fine-tune the base's dense encoder on yesterday's training set (training.fine_tuning.steps)",
    "rederive": "parse the stored raw responses of feeds again, by the current rules",
    "prune": "remove artifacts, raw responses and indices that nothing refers to",
}


def _required(name: str) -> str:
    """A form field that the chosen action requires."""
    value = get_current_context()["params"].get(name)
    if not value:
        from airflow.sdk.exceptions import AirflowFailException

        raise AirflowFailException(f"this action needs the field {name}: trigger it again with {name} filled in")
    return str(value)


def _actor() -> str:
    return f"airflow:{getattr(get_current_context()['dag_run'], 'triggering_user_name', None) or 'operate'}"


@dag(
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"retries": 1},
    params={
        "action": Param("rollback", type="string", enum=list(ACTIONS), values_display=ACTIONS, title="Action"),
        "reason": Param("", type="string", title="Reason", description="kept with the deployment's history"),
        "source": Param(None, type=["null", "string"], title="Archive", description="for import_archive"),
        "since": Param(None, type=["null", "string"], format="date", title="Since", description="first day imported"),
        "until": Param(None, type=["null", "string"], format="date", title="Until", description="last day imported"),
        "url": Param(None, type=["null", "string"], title="Url", description="for forget"),
        "model": Param(
            None, type=["null", "integer"], title="Model", description="for deploy: `garam models` lists ids"
        ),
    },
    doc_md=__doc__,
    tags=["garam", "operations"],
)
def operate() -> None:
    @task.branch
    def choose() -> str:
        """The task of the form's action."""
        action = str(get_current_context()["params"]["action"])
        if action in ("build_base", "grow_base", "fine_tune"):
            return "write_base_job"
        return "find_live" if action == "rollback" else action

    @task
    def find_live() -> int:
        """The generation to roll back from, fixed once: a retry of the next task is not a second rollback."""
        from pipeline import serving

        with garam() as ctx:
            live = serving.live(ctx)
        if live is None:
            from airflow.sdk.exceptions import AirflowFailException

            raise AirflowFailException("nothing is deployed yet: there is nothing to roll back from")
        return live.id

    @task
    def rollback(generation: int) -> int:
        """Switch the alias back to the previous generation, and pause automatic promotion."""
        from pipeline import serving

        with garam() as ctx:
            reason = get_current_context()["params"]["reason"] or "requested in Airflow"
            return serving.rollback(ctx, actor=_actor(), reason=reason, away_from=generation)

    @task
    def resume() -> None:
        """Lift the pause."""
        from pipeline import serving

        with garam() as ctx:
            serving.resume(ctx)

    @task
    def rebuild() -> int:
        """Build a new index for the live generation, then switch the alias to it."""
        from pipeline import serving

        with garam() as ctx:
            return serving.rebuild(ctx, progress=logged())

    @task
    def deploy() -> int:
        """Deploy a model whatever the gate decided."""
        from pipeline import serving

        with garam() as ctx:
            return serving.deploy(ctx, int(_required("model")), actor=_actor(), force=True, progress=logged())

    @task
    def import_archive() -> dict[str, Any]:
        """Import an archive as a stream; a rerun continues where it stopped."""
        from pipeline import news
        from pipeline.asof import parse_day

        params = get_current_context()["params"]
        since, until = (parse_day(params[k]) if params[k] else None for k in ("since", "until"))
        with garam() as ctx:
            report = news.import_archive(ctx, _required("source"), since=since, until=until, progress=logged())
            return dataclasses.asdict(report)

    @task
    def forget() -> dict[str, Any]:
        """Remove an article everywhere; the result lists the artifacts that still contain its words."""
        from pipeline import daily

        with garam() as ctx:
            report = daily.forget(ctx, _required("url"), reason=get_current_context()["params"]["reason"])
            return dataclasses.asdict(report)

    @task
    def rederive() -> dict[str, Any]:
        """Parse the stored raw responses again."""
        from pipeline import news

        with garam() as ctx:
            return dataclasses.asdict(news.rederive(ctx, progress=logged()))

    @task
    def prune() -> dict[str, Any]:
        """Remove artifacts, raw responses and indices that nothing refers to."""
        from pipeline import retention

        with garam() as ctx:
            return dataclasses.asdict(retention.prune(ctx))

    base_job = write_base_job("{{ params.action }}")
    register_base(base_job, run_base_job(base_job))
    live = find_live()
    rollback(live)
    choose() >> [live, resume(), rebuild(), deploy(), import_archive(), forget(), rederive(), prune(), base_job]


operate()
