"""Training on the GPU worker: jobs are written and registered beside the database, and run where artifacts are.

``make_job`` -> ``run_job`` -> ``register``; ``ensure_base`` does the three for the base model where there is none.
Nothing heavy is imported before a function is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.lazy import attributes

if TYPE_CHECKING:
    from pipeline.training.health import CollapsedError
    from pipeline.training.jobs import ensure_base, make_base_job, make_job, register
    from pipeline.training.trainer import TrainResult, train
    from pipeline.training.worker import JobResult, run_job

_HOMES = {
    "CollapsedError": "health",
    "JobResult": "worker",
    "TrainResult": "trainer",
    "ensure_base": "jobs",
    "make_base_job": "jobs",
    "make_job": "jobs",
    "register": "jobs",
    "run_job": "worker",
    "train": "trainer",
}
__all__ = [
    "CollapsedError",
    "JobResult",
    "TrainResult",
    "ensure_base",
    "make_base_job",
    "make_job",
    "register",
    "run_job",
    "train",
]

__getattr__ = attributes(__name__, _HOMES)
