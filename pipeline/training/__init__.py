"""Learning on the GPU worker: jobs are written and registered beside the database, and run where artifacts are.

``make_job`` -> ``run_job`` -> ``register``; ``ensure_base`` does the three for the base where there is none.
Nothing heavy is imported before a function is asked for.
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
