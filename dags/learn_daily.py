"""learn_daily: each day in Seoul at 00:20, learns from the day's news: counts, statistics, query weights, synonyms.

The partition is the day. A backfill recomputes its days and starts no retraining. The first run builds the base model.
"""

from __future__ import annotations

import dataclasses
import datetime as dt

from airflow.sdk import CronPartitionTimetable, TriggerRule, dag, task

from common.base import register_base, run_base_job, write_base_job
from common.garam import DAY_PARAM, DEFAULT_ARGS, SEOUL, as_of, garam, has_news, logged, settle


@dag(
    schedule=CronPartitionTimetable("20 0 * * *", timezone=SEOUL, run_offset=-1, key_format="%Y-%m-%d"),
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=2,
    default_args=DEFAULT_ARGS,
    params={"day": DAY_PARAM},
    doc_md=__doc__,
    tags=["garam", "time", "synonyms"],
)
def learn_daily() -> None:
    @task.branch
    def start() -> str | None:
        """Build a base model first where there is none; end the run where there is no news to learn from."""
        from pipeline import daily

        with garam() as ctx:
            if not has_news(ctx):
                return None
            return "write_base_job" if daily.base(ctx) is None else "count_articles"

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def count_articles() -> dict[str, int]:
        """Count every article that has not been counted, each once."""
        from pipeline import temporal

        with garam() as ctx:
            return dataclasses.asdict(temporal.count_articles(ctx, progress=logged()))

    @task
    def learn_statistics(settled: dict[str, str]) -> int:
        """Temporal and windowed IDF, trends and drift of the as-of."""
        from pipeline import temporal

        with garam() as ctx:
            return temporal.learn_statistics(ctx, as_of(settled))

    @task
    def publish_query_weights(statistics_id: int) -> bool:
        """Make the day's query weights, and serve them if their gate accepts them."""
        from pipeline import daily, temporal

        with garam() as ctx:
            return daily.publish_weights(ctx, temporal.make_query_weights(ctx, statistics_id))

    @task
    def discover_synonyms(settled: dict[str, str]) -> int:
        """Token embeddings by window, clusters and synonym candidates."""
        from pipeline import synonyms

        with garam() as ctx:
            return synonyms.discover(ctx, as_of(settled), progress=logged())

    @task
    def validate_synonyms(synonym_run_id: int) -> int:
        """Validate the candidates by a language model; those that it does not reject become synonym groups."""
        from pipeline import synonyms

        with garam() as ctx:
            return synonyms.validate(ctx, synonym_run_id).groups

    counted, settled = count_articles(), settle()
    base_job = write_base_job("build_base")
    start() >> [base_job, counted]
    register_base(base_job, run_base_job(base_job), first=True) >> counted
    statistics = learn_statistics(settled)
    counted >> settled
    publish_query_weights(statistics)
    synonym_run = discover_synonyms(settled)
    # Embeddings and statistics both use every core: in sequence they are faster on a small machine.
    statistics >> synonym_run
    validate_synonyms(synonym_run)


learn_daily()
