"""Plots of trends, series and drift, as png or svg by the suffix of the file (`pipeline.plots`)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.plots import plot
from pipeline.store.statistics import Trend
from pipeline.temporal.history import SeriesRow

_NEW, _CALENDAR, _OTHER = "tab:orange", "tab:grey", "tab:blue"


def plot_trends(trends: Sequence[Trend], path: Path | str, *, title: str = "Trends", top: int = 20) -> Path:
    """Horizontal bars of the surprise of the ``top`` trends; new words and calendar words have their own colours."""
    if not trends:
        raise UsageError("there is no trend to draw")
    shown = list(trends[:top])[::-1]
    colours = [_NEW if t.is_new else _CALENDAR if t.evidence.get("calendar") else _OTHER for t in shown]
    with plot(8, max(2.0, 0.35 * len(shown) + 1.2)) as drawing:
        axes = drawing.figure.subplots()
        axes.barh([t.word for t in shown], [t.evidence["surprise"] for t in shown], color=colours)
        axes.set_xlabel("surprise against the past (about standard deviations); orange: new, grey: calendar")
        axes.set_title(title)
        return drawing.save(path)


def plot_series(rows: Sequence[SeriesRow], path: Path | str, *, title: str = "") -> Path:
    """One line for each word: the share of each day's stories that mention it."""
    if not rows:
        raise UsageError("there is no day with articles in this range: nothing to draw")
    with plot(8, 4) as drawing:
        axes = drawing.figure.subplots()
        for word in dict.fromkeys(row.word for row in rows):
            own = [row for row in rows if row.word == word]
            axes.plot([row.day for row in own], [100 * row.share for row in own], marker=".", label=word)
        axes.set_ylabel("stories that mention it, %")
        axes.set_ylim(bottom=0)
        axes.legend()
        axes.set_title(title)
        drawing.figure.autofmt_xdate()
        return drawing.save(path)


def plot_drift(rows: Sequence[tuple[dt.date, dict[str, Any]]], path: Path | str, *, title: str = "Drift") -> Path:
    """The divergence of each day beside its usual value, and the tokens per word on a second axis."""
    if not rows:
        raise UsageError("no day of this range was learned: nothing to draw")
    days = [day for day, _ in rows]
    with plot(8, 4) as drawing:
        axes = drawing.figure.subplots()
        for key, colour in (("divergence", "tab:blue"), ("usual_divergence", "tab:grey")):
            axes.plot(days, [drift[key] for _, drift in rows], marker=".", color=colour, label=key.replace("_", " "))
        unusual = [(day, drift["divergence"]) for day, drift in rows if drift["level"] != "quiet"]
        if unusual:
            axes.scatter(*zip(*unusual, strict=True), color="tab:red", zorder=3, label="not quiet")
        axes.set_ylabel("Jensen-Shannon divergence, bits")
        axes.set_ylim(bottom=0)
        right = axes.twinx()
        fertility = [drift["tokens_per_word"] for _, drift in rows]
        right.plot(days, fertility, marker=".", color="tab:orange", label="tokens per word (right)")
        right.set_ylabel("tokens per word")
        right.spines["right"].set_visible(True)
        measured = [value for value in fertility if value is not None]
        if measured:  # keep changes that are no alarm (5 % by default) small
            right.set_ylim(0.9 * min(measured), 1.1 * max(measured))
        lines = [*axes.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
        labels = [str(line.get_label()) for line in lines]
        axes.legend(lines, labels, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False)
        drawing.figure.suptitle(title)
        drawing.figure.autofmt_xdate()
        return drawing.save(path)
