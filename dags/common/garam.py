"""Shared by every DAG file: default arguments, the day of a run, errors, progress. Imports nothing heavy."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param, get_current_context, task
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from pipeline.context import Context

SEOUL = "Asia/Seoul"

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "garam",
    "retries": 3,
    "retry_delay": dt.timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": dt.timedelta(minutes=15),
    "execution_timeout": dt.timedelta(hours=2),
}

DAY_PARAM = Param(
    None,
    type=["null", "string"],
    format="date",
    title="Day",
    description="Day in Seoul (YYYY-MM-DD). Empty: the run's partition, or yesterday.",
)


def gpu_queue() -> dict[str, Any]:
    """Arguments that send a task to the GPU worker; empty without a remote executor, when the task runs locally."""
    executors = conf.get("core", "executor", fallback="LocalExecutor")
    for name in ("EdgeExecutor", "CeleryExecutor"):
        if name in executors:
            return {"queue": "gpu", "executor": name}
    return {}


@contextmanager
def garam() -> Iterator[Context]:
    """The pipeline's context for one task; errors that a retry cannot fix fail the task at once."""
    from pipeline.context import Context
    from pipeline.errors import GaramError

    try:
        with Context.open() as ctx:
            yield ctx
    except GaramError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error


def run_day() -> dt.date:
    """The day in Seoul this run is for: the form's day, else the partition, else yesterday.

    Raises UsageError for a day that is not written as YYYY-MM-DD.
    """
    from pipeline.asof import parse_day, today

    context = get_current_context()
    for day in (context["params"].get("day"), getattr(context["dag_run"], "partition_key", None)):
        if day is not None:
            return parse_day(str(day))
    return today() - dt.timedelta(days=1)


def has_news(ctx: Context) -> bool:
    """Whether there is news for the run's day to learn from; where there is none, the log says what to do."""
    from pipeline import daily

    day = run_day()
    found = daily.has_news(ctx, day)
    if not found:
        print(f"There is no article up to {day} that is recent enough to learn from: the run ends here. Add feeds.")
    return found


@task
def settle() -> dict[str, str]:
    """Fix the run's as-of: all later tasks read the same articles and counts, also when they are retried."""
    from pipeline import daily

    with garam() as ctx:
        settled = daily.settle(ctx, run_day())
        return {"day": settled.day.isoformat(), "known_by": settled.known_by.isoformat()}


def as_of(parts: dict[str, str]) -> Any:
    """The `AsOf` that `settle` returned as strings."""
    from pipeline.asof import AsOf, parse_day, parse_instant

    return AsOf(parse_day(parts["day"]), parse_instant(parts["known_by"]))


def logged(every_s: float = 10.0) -> Callable[[str, int, int], None]:
    """A progress function that logs at most one line in ``every_s`` seconds, and one at the end of each step."""
    from pipeline.progress import LogProgress

    return LogProgress(logging.getLogger("garam.progress").info, every_s)
