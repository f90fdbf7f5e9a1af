"""Pictures of trends and series, as png or svg by the file's name.

matplotlib brings no font with Hangul. A Korean one of the machine is used when there is one, or the one that the Python
package koreanize-matplotlib carries; without, an svg keeps its text as text (the viewer's fonts draw it), and a png is
refused with the sentence of what to install.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.store.statistics import Trend
from pipeline.temporal.history import SeriesRow

FONTS = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "NanumBarunGothic", "Malgun Gothic", "Apple SD Gothic Neo",
         "AppleGothic", "UnDotum", "Baekmuk Gulim", "Noto Sans CJK JP", "Source Han Sans KR")  # fmt: skip
NO_FONT = (
    "this machine has no font with Hangul, so a png would show boxes: write an .svg, "
    "or install one (`apt install fonts-nanum`, or without root `pip install koreanize-matplotlib`)"
)


def plot_trends(trends: Sequence[Trend], path: Path | str, *, title: str = "Trends", top: int = 20) -> Path:
    """Bars of the surprise of the ``top`` trends, new words in another colour; returns the file's path."""
    if not trends:
        raise UsageError("there is no trend to draw")
    shown = list(trends[:top])[::-1]
    with _figure(path, max(2.0, 0.35 * len(shown) + 1.2)) as (figure, axes):
        colours = [
            "tab:orange" if t.is_new else "tab:grey" if t.evidence.get("calendar") else "tab:blue" for t in shown
        ]
        axes.barh([t.word for t in shown], [t.evidence["surprise"] for t in shown], color=colours)
        axes.set_xlabel("surprise against the past (about standard deviations); orange: new, grey: calendar")
        axes.set_title(title)
        figure.tight_layout()
    return Path(path)


def plot_series(rows: Sequence[SeriesRow], path: Path | str, *, title: str = "") -> Path:
    """One line a word: the share of each day's stories that mention it; returns the file's path."""
    if not rows:
        raise UsageError("there is no day with articles in this range: nothing to draw")
    with _figure(path, 4.0) as (figure, axes):
        for word in dict.fromkeys(row.word for row in rows):
            mine = [row for row in rows if row.word == word]
            axes.plot([row.day for row in mine], [100 * row.share for row in mine], marker=".", label=word)
        axes.set_ylabel("stories that mention it, %")
        axes.set_ylim(bottom=0)
        axes.legend()
        axes.set_title(title)
        figure.autofmt_xdate()
        figure.tight_layout()
    return Path(path)


def plot_drift(rows: Sequence[tuple[dt.date, dict[str, Any]]], path: Path | str, *, title: str = "Drift") -> Path:
    """Each day's divergence beside what was usual then, and tokens per word; returns the file's path."""
    if not rows:
        raise UsageError("no day of this range was learned: nothing to draw")
    days = [day for day, _ in rows]
    with _figure(path, 4.0) as (figure, axes):
        for key, style in (("divergence", "tab:blue"), ("usual_divergence", "tab:grey")):
            axes.plot(days, [drift[key] for _, drift in rows], marker=".", color=style, label=key.replace("_", " "))
        loud = [(day, drift["divergence"]) for day, drift in rows if drift["level"] != "quiet"]
        if loud:
            axes.scatter(*zip(*loud, strict=True), color="tab:red", zorder=3, label="not quiet")
        axes.set_ylabel("Jensen-Shannon divergence, bits")
        axes.set_ylim(bottom=0)
        other = axes.twinx()
        fertility = [drift["tokens_per_word"] for _, drift in rows]
        other.plot(days, fertility, marker=".", color="tab:orange", label="tokens per word (right)")
        known = [value for value in fertility if value is not None]
        if known:  # a change that is no alarm (5 % by default) should not look like one
            other.set_ylim(0.9 * min(known), 1.1 * max(known))
        lines = [*axes.get_legend_handles_labels()[0], *other.get_legend_handles_labels()[0]]
        axes.legend(lines, [line.get_label() for line in lines])
        axes.set_title(title)
        figure.autofmt_xdate()
        figure.tight_layout()
    return Path(path)


@contextmanager
def _figure(path: Path | str, height: float) -> Iterator[tuple[Any, Any]]:
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("png", "svg"):
        raise UsageError(f"{path} is neither .png nor .svg: name the picture so")
    import matplotlib  # half a second: only where a picture is wanted
    from matplotlib.figure import Figure

    font = korean_font()
    if font is None and kind == "png":
        raise UsageError(NO_FONT)
    family = [font, "sans-serif"] if font else ["sans-serif"]
    import logging

    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)  # one warning a glyph, for text that the svg's viewer draws
    try:
        import warnings

        with matplotlib.rc_context({"font.family": family, "svg.fonttype": "none", "axes.unicode_minus": False}):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Glyph .* missing")
                figure = Figure(figsize=(8, height))
                yield figure, figure.subplots()
                path.parent.mkdir(parents=True, exist_ok=True)
                # No date in the file: the same rows give the same bytes.
                figure.savefig(path, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else None)
    finally:
        log.setLevel(level)


def korean_font() -> str | None:
    """The name of a font with Hangul that matplotlib can use on this machine, or None."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    found = next((name for name in FONTS if name in installed), None)
    if found is None and (package := importlib.util.find_spec("koreanize_matplotlib")) and package.origin:
        # Its import changes matplotlib's settings for good; only its font is wanted.
        font = Path(package.origin).parent / "fonts" / "NanumGothic.ttf"
        if font.exists():
            font_manager.fontManager.addfont(str(font))
            found = "NanumGothic"
    return found
