"""The base model as three tasks: a job, its run on the GPU worker, its registration. Two DAGs build one."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from airflow.sdk import task

from common.garam import garam, gpu_queue, logged


@task
def write_base_job(action: str) -> str:
    """The job of building, growing or fine-tuning the base."""
    from pipeline import daily

    with garam() as ctx:
        return daily.write_base_job(ctx, action, logged())


@task(**gpu_queue(), execution_timeout=dt.timedelta(hours=12))
def run_base_job(job: str) -> dict[str, Any]:
    """Build, grow or fine-tune the base on the GPU worker: artifacts in, artifacts out."""
    from pipeline import training

    with garam() as ctx:
        return dataclasses.asdict(training.run_job(ctx.artifacts, job, progress=logged()))


@task
def register_base(job: str, result: dict[str, Any], first: bool = False) -> int:
    """Register the base model in the store; as the ``first``, unless another run has registered one meanwhile."""
    from pipeline import daily, training

    with garam() as ctx:
        if first and (base := daily.base(ctx)) is not None:
            print(f"Base model {base} is registered already: this one is left out.")
            return base
        return training.register(ctx, job, training.JobResult(**result))
