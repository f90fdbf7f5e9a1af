"""Evaluation and the gate: how good is a candidate, and may it replace what users have now?

The entry points are imported when first called: a DAG file that imports this package loads neither torch nor scipy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.lazy_imports import attributes

if TYPE_CHECKING:
    from pipeline.evaluation.files import evaluate_files
    from pipeline.evaluation.report import render_decision
    from pipeline.evaluation.stage import decide, evaluate
    from pipeline.evaluation.weights_gate import judge_query_weights

__all__ = ["decide", "evaluate", "evaluate_files", "judge_query_weights", "render_decision"]

_HOME = {
    "decide": "stage",
    "evaluate": "stage",
    "evaluate_files": "files",
    "judge_query_weights": "weights_gate",
    "render_decision": "report",
}

__getattr__ = attributes(__name__, _HOME)
