"""The demo's steps. Each is what a person could do by hand: a DAG triggered in the UI or a `garam` command."""

from __future__ import annotations

import datetime as dt
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from demo import report
from demo.airflow import Airflow, TaskOutcome
from localstack import replay, stack
from pipeline import news
from pipeline.addresses import state_folder
from pipeline.context import Context
from pipeline.errors import UnavailableError
from pipeline.progress import elapsed_lines
from pipeline.store import evaluations

CONFIG = Path(__file__).with_name("config.yaml")
SOURCE = "hf:president-speech"
DAGS = {"crawl_news", "learn_daily", "retrain_daily", "operate"}
# A run that takes longer than this has gone wrong: the whole demo is meant to take a quarter of an hour.
RUN_TIMEOUT_S = 1800.0


@dataclass
class Steps:
    """What was done and how long it took; told as it happens."""

    done: list[tuple[str, float]] = field(default_factory=list)
    say: Callable[[str], None] = field(default_factory=elapsed_lines)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step."""
        self.say(name)
        started = time.monotonic()
        yield
        self.done.append((name, time.monotonic() - started))

    def progress(self, line: str) -> None:
        """How far a long task is."""
        self.say(f"    {line}")

    def task(self, outcome: TaskOutcome) -> None:
        """Tell that a task started or ended."""
        if outcome.state in ("running", "success", "failed", "up_for_retry", "skipped"):
            took = f" ({outcome.seconds:.0f} s)" if outcome.seconds and outcome.state != "running" else ""
            if outcome.state != "skipped":
                self.say(f"    {outcome.task}: {outcome.state}{took}")


def run(config: Path | None = None, *, as_json: bool = False) -> None:
    """Run the demo and leave the stack running; what an earlier demo did is not done again."""
    os.environ["GARAM_CONFIG"] = str((config or CONFIG).resolve())
    ctx = Context.open()
    window = ctx.config.demo
    past = ["--source", SOURCE, "--since", str(window.window_from), "--until", str(window.window_to)]
    options = stack.Options(replay=["demo.replay", *past, "--clock", str(window.window_from)])
    steps = Steps()
    with steps.step("start PostgreSQL, OpenSearch, Airflow and the replay server"):
        info = stack.up(
            progress=lambda line: steps.say(f"    {line}"),
            # Only what the demo triggers runs until its end, so that its times are its own.
            options=replace(options, schedule=False),
        )
        ctx.store.migrate()
    if not (info.airflow_url and info.airflow_username and info.airflow_password_file and info.replay_url):
        raise UnavailableError("the stack is up but does not say where everything is: run `garam status`")
    airflow = Airflow(info.airflow_url, info.airflow_username, Path(info.airflow_password_file).read_text().strip())
    airflow.wait_for_dags(DAGS)
    steps.say(
        f"watch it at {info.airflow_url} (login {info.airflow_username}, password in {info.airflow_password_file})"
    )

    def turn(name: str, dag_id: str, *, conf: dict[str, Any] | None = None, day: dt.date | None = None) -> None:
        with steps.step(name):
            run_id = airflow.trigger(dag_id, conf=conf, partition_key=day.isoformat() if day else None)
            airflow.wait(dag_id, run_id, timeout_s=RUN_TIMEOUT_S, on_change=steps.task, on_progress=steps.progress)

    archive_to = window.window_from - dt.timedelta(days=1)
    archive = {
        "action": "import_archive",
        "source": SOURCE,
        "since": str(window.archive_from),
        "until": str(archive_to),
    }
    turn(f"import the archive: speeches of {window.archive_from} to {archive_to}", "operate", conf=archive)
    _add_feeds(ctx, info.replay_url)
    for name, day in (("first", window.first_day), ("second", window.window_to)):
        if _decided(ctx, day):
            steps.say(f"the {name} model of {day} was decided on by an earlier demo: its numbers are shown below")
            continue
        replay.set_clock(state_folder(), int(info.replay_url.rsplit(":", 1)[1].strip("/")), day.isoformat())
        turn(f"crawl the feeds as they stood on {day}", "crawl_news", conf={"force": True})
        turn(f"learn {day}: base model (once), counts, statistics, trends, synonyms", "learn_daily", day=day)
        turn(f"train, judge and perhaps deploy the {name} model of {day}", "retrain_daily", day=day)
    with steps.step("switch the schedules on"):
        stack.up(progress=lambda line: steps.say(f"    {line}"), options=options)
    steps.say(stack.SCHEDULES)
    summary = report.collect(ctx, info, steps.done, [window.first_day, window.window_to])
    if as_json:
        print(json.dumps(summary, ensure_ascii=False, indent=2, default=str))
    else:
        report.show(summary)


def _add_feeds(ctx: Context, replay_url: str) -> None:
    """Enter the replay server's feeds, as `garam feeds add` does."""
    answer = httpx.get(f"{replay_url}feeds.csv", timeout=30).raise_for_status()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "feeds.csv"
        file.write_bytes(answer.content)
        news.add_feeds(ctx, file)


def _decided(ctx: Context, day: dt.date) -> bool:
    with ctx.store.begin() as conn:
        return evaluations.newest_decision_of_day(conn, day) is not None
