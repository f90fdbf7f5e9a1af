"""Stops a training that diverged or collapsed: NaN losses, empty documents or dense documents."""

from __future__ import annotations

import math

from pipeline.config.training import FineTuningConfig
from pipeline.errors import GaramError

_KEYS = "training.fine_tuning"


class CollapsedError(GaramError):
    """The training diverged or collapsed; more steps would not help. No model is saved."""


def check(terms: dict[str, float], step: int, settings: FineTuningConfig, vocabulary: int, ramp_steps: int) -> None:
    """Raise CollapsedError where the metrics of a step show a model that is lost.

    ``terms`` holds ``loss``, ``active`` (mean number of learned terms of a document) and ``empty`` (share of documents
    without any). ``step`` counts from 1, ``vocabulary`` is the number of terms that are not blocked.
    """
    stopped = f"training stopped at step {step}"
    for name, value in terms.items():
        if not math.isfinite(value):
            raise CollapsedError(f"{stopped}: {name} is {value}; lower {_KEYS}.learning_rate")
    if terms["active"] < settings.min_active_terms or terms["empty"] > 0.5:
        raise CollapsedError(
            f"{stopped}: documents have {terms['active']:.1f} learned terms on average and {terms['empty']:.0%} have "
            f"none; lower {_KEYS}.flops_weight"
        )
    if step > 2 * ramp_steps + 10 and terms["active"] > settings.max_active_share * vocabulary:
        raise CollapsedError(
            f"{stopped}: documents have {terms['active']:.0f} learned terms of {vocabulary}; raise {_KEYS}.flops_weight"
        )


def check_gradient(norm: float, step: int) -> None:
    """Raise CollapsedError where the gradient norm of a step (from 1) is 0 or not finite."""
    stopped = f"training stopped at step {step}: the gradient norm is {norm}"
    if not math.isfinite(norm):
        raise CollapsedError(f"{stopped}; lower {_KEYS}.learning_rate")
    if norm == 0:
        raise CollapsedError(f"{stopped}, so nothing is learned; give a loss of {_KEYS} a weight above 0")
