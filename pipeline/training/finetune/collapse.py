"""Collapse: a model whose documents are empty or dense, or whose loss is no number, is stopped and never saved."""

from __future__ import annotations

import math

from pipeline.config.training import FineTuningConfig
from pipeline.errors import GaramError

_KEYS = "training.fine_tuning"


class CollapsedError(GaramError):
    """Training went wrong in a way that more steps do not mend."""


def check(terms: dict[str, float], step: int, settings: FineTuningConfig, vocabulary: int, ramp_steps: int) -> None:
    """Raise CollapsedError when the values of step number ``step`` (from 1) say that the model is lost.

    ``terms`` has ``loss``, ``active`` (mean learned terms of a document) and ``empty`` (share of documents without
    any); ``vocabulary`` is the number of terms there could be.
    """
    stopped = f"training stopped at step {step}"
    for name, value in terms.items():
        if not math.isfinite(value):
            raise CollapsedError(f"{stopped}: {name} is {value}; lower {_KEYS}.learning_rate")
    if terms["active"] < settings.min_active or terms["empty"] > 0.5:
        raise CollapsedError(
            f"{stopped}: documents have {terms['active']:.1f} learned terms on average and {terms['empty']:.0%} have "
            f"none; lower {_KEYS}.flops_weight"
        )
    if step > 2 * ramp_steps + 10 and terms["active"] > settings.max_active_share * vocabulary:
        raise CollapsedError(
            f"{stopped}: documents have {terms['active']:.0f} learned terms of {vocabulary}; raise {_KEYS}.flops_weight"
        )


def check_gradient(norm: float, step: int) -> None:
    """Raise CollapsedError when the gradient of step number ``step`` says that nothing is learned, or all is lost."""
    stopped = f"training stopped at step {step}: the gradient is {norm}"
    if not math.isfinite(norm):
        raise CollapsedError(f"{stopped}; lower {_KEYS}.learning_rate")
    if norm == 0:
        raise CollapsedError(f"{stopped}, so nothing is learned; give a loss of {_KEYS} a weight above 0")
