"""retrain_daily: each day in Seoul, once learn_daily of that day is done: train, evaluate and, if it is better, deploy.

The partition is the day. A backfill trains and evaluates, and never demotes: the gate refuses an as-of that is not
newer than the champion's. A rejected candidate ends the run green, with its reason in the log of `decide`.

With `gate.approval`, a promotion waits for a person for `gate.approval_hours`; without a response it is refused, and
the run ends green. A run that waits does not hold up the next day's: four run at once, each task in one run at a time.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import CronPartitionTimetable, Param, PokeReturnValue, TriggerRule, dag, get_current_context, task

from common.approval import APPROVE, DeploymentApproval
from common.garam import DAY_PARAM, DEFAULT_ARGS, SEOUL, as_of, garam, gpu_queue, has_news, logged, run_day, settle


@dag(
    schedule=CronPartitionTimetable("40 0 * * *", timezone=SEOUL, run_offset=-1, key_format="%Y-%m-%d"),
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=4,  # three days of waiting for an approval, and today
    default_args=DEFAULT_ARGS | {"max_active_tis_per_dag": 1},  # two trainings at once do not fit the memory
    params={
        "day": DAY_PARAM,
        "learn_again": Param(
            False,
            type="boolean",
            title="Learn the day again first",
            description="for a day that went wrong: runs learn_daily of the day, and trains on what it makes",
        ),
    },
    doc_md=__doc__,
    tags=["garam", "training", "serving"],
)
def retrain_daily() -> None:
    @task
    def day() -> str:
        """The day in Seoul that this run is for."""
        return run_day().isoformat()

    @task.branch
    def start() -> str | None:
        """Learn the day again first, where the form says so; end the run where there is no news to learn from."""
        with garam() as ctx:
            if not has_news(ctx):
                return None
        return "learn_again" if get_current_context()["params"]["learn_again"] else "wait_for_learning"

    learn_again = TriggerDagRunOperator(
        task_id="learn_again",
        trigger_dag_id="learn_daily",
        conf={"day": "{{ ti.xcom_pull(task_ids='day') }}"},
        wait_for_completion=True,
        poke_interval=15,
        execution_timeout=dt.timedelta(hours=6),
    )

    @task.sensor(
        poke_interval=30, timeout=6 * 3600, mode="reschedule", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS
    )
    def wait_for_learning() -> PokeReturnValue:
        """Wait until learn_daily of this day has written its statistics and synonym groups.

        A run by hand waits for every run of learn_daily, too: it may be the one that corrects what is there.
        """
        from pipeline import daily

        context = get_current_context()
        if context["dag_run"].run_type == "manual":
            running = context["ti"].get_dr_count("learn_daily", states=["queued", "running"])
            if running:
                print(f"{running} runs of learn_daily are not done yet.")
                return PokeReturnValue(is_done=False)
        with garam() as ctx:
            return PokeReturnValue(is_done=daily.is_learned(ctx, run_day()))

    @task
    def build_training_set(settled: dict[str, str]) -> int:
        """Training pairs, negatives and the held-out query sets of the as-of."""
        from pipeline import dataset

        with garam() as ctx:
            return dataset.build(ctx, as_of(settled), progress=logged())

    @task
    def make_job(training_set_id: int) -> str:
        """The training job: one artifact with all that the GPU worker needs."""
        from pipeline import training

        with garam() as ctx:
            return training.make_job(ctx, training_set_id)

    @task(**gpu_queue(), execution_timeout=dt.timedelta(hours=12))
    def train(job: str) -> dict[str, Any]:
        """Train and encode on the GPU worker: artifacts in, artifacts out, no database and no cluster."""
        from pipeline import training

        with garam() as ctx:
            return dataclasses.asdict(training.run_job(ctx.artifacts, job, progress=logged()))

    @task
    def register(job: str, result: dict[str, Any]) -> int:
        """Register the trained model in the store."""
        from pipeline import training

        with garam() as ctx:
            return training.register(ctx, job, training.JobResult(**result))

    @task
    def evaluate(model_id: int) -> int:
        """Evaluate candidate, champion and BM25 on every query set, and check that OpenSearch can serve it."""
        from pipeline import evaluation

        with garam() as ctx:
            return evaluation.evaluate(ctx, model_id, progress=logged())

    @task
    def decide(evaluation_id: int) -> int:
        """The gate's verdict; every rule with its numbers is in the log."""
        from pipeline import daily, evaluation

        with garam() as ctx:
            decision_id = evaluation.decide(ctx, evaluation_id)
            print(daily.explain(ctx, decision_id))
            return decision_id

    @task.branch
    def route(decision_id: int) -> str | None:
        """Deploy, wait for an approval first, or end the run here."""
        from pipeline import daily

        with garam() as ctx:
            return {"deploy": "deploy", "ask": "ask_for_approval"}.get(daily.next_step(ctx, decision_id))

    approval = DeploymentApproval(
        task_id="ask_for_approval",
        subject="Deploy the model of {{ ti.xcom_pull(task_ids='settle')['day'] }}?",
        body="Every rule of the gate passed: see the page Garam, or the log of the task `decide`.",
    )

    @task.short_circuit(ignore_downstream_trigger_rules=True)
    def record_approval(decision_id: int, response: dict[str, Any]) -> bool:
        """Record who approved or refused, or that nobody responded in time; a refusal ends the run, which is green."""
        from pipeline import daily

        approved = response["chosen_options"] == [APPROVE]
        user = response.get("responded_by_user")  # None: nobody responded, and the default was taken
        by = user["name"] if user else "timeout"
        with garam() as ctx:
            daily.approve(ctx, decision_id, by=by, approved=approved)
            hours = ctx.config.gate.approval_hours
        print(f"Deployment {'approved' if approved else 'refused'} by {by}.")
        if user is None:
            print(f"No response within {hours:g} hours (gate.approval_hours). `operate` can still deploy the model.")
        return approved

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def deploy(model_id: int) -> int:
        """Index, verify, and swap the alias in one call."""
        from pipeline import serving

        with garam() as ctx:
            return serving.deploy(ctx, model_id, progress=logged())

    settled = settle()
    waited = wait_for_learning()
    day() >> start() >> [learn_again, waited]
    learn_again >> waited >> settled
    job = make_job(build_training_set(settled))
    model = register(job, train(job))
    decision = decide(evaluate(model))
    deployment = deploy(model)
    routed = route(decision)
    routed >> [approval, deployment]
    record_approval(decision, approval.output) >> deployment


retrain_daily()
