"""Collapse: a model whose documents are empty or dense, or whose loss is no number, is stopped and never saved."""

from __future__ import annotations

import math

from pipeline.config.training import TrainingConfig
from pipeline.errors import GaramError


class CollapsedError(GaramError):
    """Training went wrong in a way that more steps do not mend."""


def check(terms: dict[str, float], step: int, settings: TrainingConfig, vocabulary: int, ramp_steps: int) -> None:
    """Raise CollapsedError when a step's values say that the model is lost.

    ``terms`` has ``loss``, ``active`` (mean active terms of a document) and ``empty`` (share of empty documents).
    """
    for name, value in terms.items():
        if not math.isfinite(value):
            raise CollapsedError(f"training stopped at step {step}: {name} is {value}; lower training.learning_rate")
    if terms["active"] < settings.min_active or terms["empty"] > 0.5:
        raise CollapsedError(
            f"training stopped at step {step}: documents have {terms['active']:.1f} active terms on average and "
            f"{terms['empty']:.0%} are empty; lower training.flops_weight"
        )
    if step > 2 * ramp_steps + 10 and terms["active"] > settings.max_active_share * vocabulary:
        raise CollapsedError(
            f"training stopped at step {step}: documents have {terms['active']:.0f} of {vocabulary} terms active; "
            "raise training.flops_weight"
        )


def check_gradient(norm: float, step: int) -> None:
    """Raise CollapsedError when a step's gradient says that the loss is dead, or that the weights would be lost."""
    if not math.isfinite(norm):
        raise CollapsedError(f"training stopped at step {step}: the gradient is {norm}; lower training.learning_rate")
    if norm == 0:
        raise CollapsedError(
            f"training stopped at step {step}: the gradient is 0, so nothing is learned; give a loss a weight above 0, "
            "or lower training.freeze_layers"
        )
