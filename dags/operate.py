"""operate: what people do by hand, with a form: undo, rebuild, import, forget, prune.

Each action is the function behind the command of the same name (`garam rollback` ...).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

from common.garam import DEFAULT_ARGS, garam, gpu_queue, logged

ACTIONS = {
    "rollback": "go back to the generation served before, and pause automatic promotion",
    "resume": "let the gate promote again after a rollback",
    "rebuild": "build the live generation's index again from Postgres and artifacts",
    "deploy": "deploy a model by hand, whatever the gate said (recorded with your reason)",
    "import_archive": "take an archive in: a file on the server, or hf:NAME",
    "forget": "remove an article by its url, everywhere and for good",
    "build_base": "build the base (vocabulary and dense encoder) from the articles known now",
    "grow_base": "give the newest trends' words that the base cuts into pieces tokens of their own",
    "fine_tune": "fine-tune the base's dense encoder on yesterday's training set (training.fine_tuning.steps)",
    "rederive": "read the kept raw answers of feeds anew, by today's rules",
    "prune": "remove artifacts, raw answers and indices that nothing refers to any more",
}


def _given(name: str) -> str:
    """A form field that the chosen action cannot do without."""
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
        """The form's action."""
        action = str(get_current_context()["params"]["action"])
        if action in ("build_base", "grow_base", "fine_tune"):
            return "write_base_job"
        return "find_live" if action == "rollback" else action

    @task
    def find_live() -> int:
        """The generation to roll back from, named once: a retry of the next task is no second rollback."""
        from pipeline import serving

        with garam() as ctx:
            live = serving.live(ctx)
        if live is None:
            from airflow.sdk.exceptions import AirflowFailException

            raise AirflowFailException("nothing is deployed yet: there is nothing to roll back from")
        return live.id

    @task
    def rollback(generation: int) -> int:
        """One alias call back; pauses automatic promotion."""
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
        """A fresh index for the live generation, then one alias call."""
        from pipeline import serving

        with garam() as ctx:
            return serving.rebuild(ctx, progress=logged())

    @task
    def deploy() -> int:
        """Deploy a model whatever the gate said."""
        from pipeline import serving

        with garam() as ctx:
            return serving.deploy(ctx, int(_given("model")), actor=_actor(), force=True, progress=logged())

    @task
    def import_archive() -> dict[str, Any]:
        """Stream an archive in; a rerun goes on where it stopped."""
        from pipeline import news
        from pipeline.asof import parse_day

        params = get_current_context()["params"]
        since, until = (parse_day(params[k]) if params[k] else None for k in ("since", "until"))
        with garam() as ctx:
            report = news.import_archive(ctx, _given("source"), since=since, until=until, progress=logged())
            return dataclasses.asdict(report)

    @task
    def forget() -> dict[str, Any]:
        """Remove an article everywhere; what its words are still in is in the result."""
        from pipeline import loop

        with garam() as ctx:
            done = loop.forget(ctx, _given("url"), reason=get_current_context()["params"]["reason"])
            return dataclasses.asdict(done)

    @task
    def rederive() -> dict[str, Any]:
        """Read the kept raw answers anew."""
        from pipeline import news

        with garam() as ctx:
            return dataclasses.asdict(news.rederive(ctx, progress=logged()))

    @task
    def prune() -> dict[str, Any]:
        """Remove what nothing refers to."""
        from pipeline import retention

        with garam() as ctx:
            return dataclasses.asdict(retention.prune(ctx))

    @task
    def write_base_job() -> str:
        """Write down the job of building, growing or fine-tuning the base."""
        from pipeline import loop

        with garam() as ctx:
            return loop.write_base_job(ctx, get_current_context()["params"]["action"], logged())

    @task(**gpu_queue(), execution_timeout=dt.timedelta(hours=12))
    def run_base_job(job: str) -> dict[str, Any]:
        """Build, grow or fine-tune the base on the GPU worker."""
        from pipeline import training

        with garam() as ctx:
            return dataclasses.asdict(training.run_job(ctx.artifacts, job, progress=logged()))

    @task
    def register_base(job: str, result: dict[str, Any]) -> int:
        """Enter the base model into the store."""
        from pipeline import training

        with garam() as ctx:
            return training.register(ctx, job, training.JobResult(**result))

    base_job = write_base_job()
    register_base(base_job, run_base_job(base_job))
    live = find_live()
    rollback(live)
    choose() >> [live, resume(), rebuild(), deploy(), import_archive(), forget(), rederive(), prune(), base_job]


operate()
