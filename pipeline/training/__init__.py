"""Training. A job is written and registered where the database is, and runs on any machine with the artifacts.

The order is ``make_job``, ``run_job``, ``register``; ``ensure_base`` does all three for the base where there is none.
This package imports nothing heavy by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.lazy_imports import attributes

if TYPE_CHECKING:
    from pipeline.training.files import learn_from_articles
    from pipeline.training.jobs import (
        ensure_base,
        make_base_job,
        make_fine_tuning_job,
        make_growth_job,
        make_job,
        register,
    )
    from pipeline.training.worker import JobResult, run_job

_HOMES = {
    "JobResult": "worker",
    "ensure_base": "jobs",
    "learn_from_articles": "files",
    "make_base_job": "jobs",
    "make_fine_tuning_job": "jobs",
    "make_growth_job": "jobs",
    "make_job": "jobs",
    "register": "jobs",
    "run_job": "worker",
}
__all__ = [
    "JobResult",
    "ensure_base",
    "learn_from_articles",
    "make_base_job",
    "make_fine_tuning_job",
    "make_growth_job",
    "make_job",
    "register",
    "run_job",
]

__getattr__ = attributes(__name__, _HOMES)
