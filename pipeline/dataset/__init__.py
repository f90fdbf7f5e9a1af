"""Training sets without labels, and the query sets that judge what is trained on them.

``build`` is the stage's entry point; ``make_training_set`` is its pure core (train.py uses it on files), and
``add_hard_negatives_bm25`` the plan's function of that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.lazy_imports import attributes

if TYPE_CHECKING:
    from pipeline.dataset.assemble import build
    from pipeline.dataset.generated import generate_queries
    from pipeline.dataset.leakage import Guard
    from pipeline.dataset.negatives import add_hard_negatives_bm25
    from pipeline.dataset.rewrites import SynonymGroup
    from pipeline.dataset.training_set import make_training_set

_HOMES = {
    "Guard": "leakage",
    "SynonymGroup": "rewrites",
    "add_hard_negatives_bm25": "negatives",
    "build": "assemble",
    "generate_queries": "generated",
    "make_training_set": "training_set",
}
__all__ = [
    "Guard",
    "SynonymGroup",
    "add_hard_negatives_bm25",
    "build",
    "generate_queries",
    "make_training_set",
]

__getattr__ = attributes(__name__, _HOMES)
