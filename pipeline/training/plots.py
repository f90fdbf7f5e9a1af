"""Plots of a training: learning curves of fine-tuning, and the ladder of a daily model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.plots import plot

_COLUMNS = 2


def learning_curves(history: Sequence[dict[str, float]]) -> str:
    """An SVG with one panel for each metric of ``history`` ({"step": ..., metric: value, ...}) over the steps."""
    names = [name for name in dict.fromkeys(key for row in history for key in row) if name != "step"]
    rows = max(1, -(-len(names) // _COLUMNS))
    with plot(8, 1.9 * rows) as drawing:
        panels = drawing.figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            points = sorted((row["step"], row[name]) for row in history if name in row)
            few = len(points) <= 20
            axes.plot(*zip(*points, strict=True), marker="." if few else "", linewidth=1.2)
            axes.set_title("validation nDCG@10" if name == "ndcg@10" else name, loc="left", fontsize=10)
            axes.tick_params(labelsize=8)
        for axes in panels[: len(names)][-_COLUMNS:]:
            axes.set_xlabel("step", fontsize=8)
        for axes in panels[len(names) :]:
            axes.remove()
        return drawing.svg()


def ladder(steps: Sequence[dict[str, Any]]) -> str:
    """An SVG of the validation nDCG@10 of each rung (`pipeline.training.learning`).

    A step has ``rung``, ``titles`` and ``short`` (nDCG@10, where there are such queries); above the floor also
    ``gain``, ``active_share`` and ``taken``.
    """
    labels = {"titles": "titles", "short": "short queries"}
    names = [name for name in labels if any(name in step for step in steps)]
    bar = 0.8 / max(1, len(names))
    with plot(8, 1.1 + 0.75 * len(steps)) as drawing:
        axes = drawing.figure.subplots()
        for number, name in enumerate(names):
            places = [row + (number - (len(names) - 1) / 2) * bar for row in range(len(steps))]
            values = [float(step.get(name, 0.0)) for step in steps]
            bars = axes.barh(places, values, 0.9 * bar, label=labels[name])
            axes.bar_label(bars, fmt="%.3f", padding=3, fontsize=8)
            for patch, step in zip(bars, steps, strict=True):
                patch.set_alpha(1.0 if step.get("taken", True) else 0.4)
        axes.set_yticks(range(len(steps)), [_label(step) for step in steps])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel("nDCG@10 on the validation queries")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
        return drawing.svg()


def _label(step: dict[str, Any]) -> str:
    title = f"{step['rung']}{'' if step.get('taken', True) else ' (not taken)'}"
    detail = f"gain {step['gain']:g}, active in {step['active_share']:.0%}" if "gain" in step else "nothing learned"
    return f"{title}\n{detail}"
