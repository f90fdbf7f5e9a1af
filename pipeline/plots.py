"""Figures by matplotlib, as SVG or PNG: the shared setup of all plots.

The same data give the same bytes: no date, no random ids. SVG keeps text as text, so the viewer's fonts draw Hangul.
PNG needs a font with Hangul on this machine, because matplotlib brings none.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONTS = ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "NanumBarunGothic", "Malgun Gothic", "Apple SD Gothic Neo",
         "AppleGothic", "UnDotum", "Baekmuk Gulim", "Noto Sans CJK JP", "Source Han Sans KR")  # fmt: skip
NO_FONT = (
    "this machine has no font with Hangul, so a png would show boxes: write an .svg, "
    "or install one (`apt install fonts-nanum`, or without root `pip install koreanize-matplotlib`)"
)


class Plot:
    """A figure to draw on; ``svg`` or ``save`` renders it. Made by `plot`."""

    def __init__(self, figure: Figure, font: str | None) -> None:
        self.figure: Any = figure
        self._font = font

    def svg(self) -> str:
        """The figure as an ``<svg>`` element, without an XML prolog, so that it can stand in an HTML page, too."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        text = buffer.getvalue().decode("utf-8")
        return text[text.index("<svg") :]

    def save(self, path: Path | str) -> Path:
        """Write the figure as png or svg, by the suffix of ``path``.

        Raises UsageError for another suffix, and for a png where no font has Hangul.
        """
        path = Path(path)
        kind = path.suffix.lower()
        if kind not in (".png", ".svg"):
            raise UsageError(f"{path} is neither .png nor .svg: choose one of them")
        if kind == ".png" and self._font is None:
            raise UsageError(NO_FONT)
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == ".svg":
            path.write_text(self.svg(), "utf-8")
        else:
            self.figure.savefig(path, format="png", dpi=120)
        return path


@contextmanager
def plot(width: float, height: float) -> Iterator[Plot]:
    """An empty figure of ``width`` by ``height`` inches. Draw and render it inside the block."""
    import matplotlib  # half a second: only where a figure is wanted
    from matplotlib.figure import Figure

    font = korean_font()
    settings: Any = {
        "font.family": [font, "sans-serif"] if font else ["sans-serif"],
        "svg.fonttype": "none",
        "svg.hashsalt": "garam",
        "axes.unicode_minus": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)  # it would warn of each missing glyph, which the viewer's fonts have
    try:
        with matplotlib.rc_context(settings), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            yield Plot(Figure(figsize=(width, height), layout="constrained"), font)
    finally:
        log.setLevel(level)


def korean_font() -> str | None:
    """The name of an installed font with Hangul, or of the one in the package koreanize-matplotlib; else None."""
    from matplotlib import font_manager

    installed = {font.name for font in font_manager.fontManager.ttflist}
    name = next((name for name in FONTS if name in installed), None)
    if name is None and (package := importlib.util.find_spec("koreanize_matplotlib")) and package.origin:
        # Importing the package would change matplotlib's settings globally; only its font is used.
        font = Path(package.origin).parent / "fonts" / "NanumGothic.ttf"
        if font.exists():
            font_manager.fontManager.addfont(str(font))
            name = "NanumGothic"
    return name
