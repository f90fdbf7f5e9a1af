"""Loss curves as a picture (SVG), one panel a term."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT, _PAD = 360, 150, 34


def draw(history: Sequence[dict[str, float]]) -> str:
    """An SVG of every term of ``history`` ({"step", term: value, ...} in order) against the step."""
    names = [name for name in dict.fromkeys(k for row in history for k in row) if name != "step"]
    columns = 2
    rows = max(1, -(-len(names) // columns))
    size = (columns * _WIDTH, rows * _HEIGHT)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}" font-family="sans-serif" font-size="11">',
        f'<rect width="{size[0]}" height="{size[1]}" fill="white"/>',
    ]
    for index, name in enumerate(names):
        points = [(row["step"], row[name]) for row in history if name in row]
        x, y = (index % columns) * _WIDTH, (index // columns) * _HEIGHT
        parts.append(f'<g transform="translate({x},{y})">{_panel(name, points)}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(name: str, points: Sequence[tuple[float, float]]) -> str:
    left, right, top, bottom = _PAD + 16, _WIDTH - 12, 24, _HEIGHT - 22
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)
    low, high = min(v for _, v in points), max(v for _, v in points)
    span = (high - low) or 1.0
    path = " ".join(
        f"{left + (step - first) / (last - first) * (right - left):.1f},"
        f"{bottom - (value - low) / span * (bottom - top):.1f}"
        for step, value in points
    )
    return (
        f'<text x="{left}" y="15" font-weight="bold">{escape(name)}</text>'
        f'<path d="M{left},{top}V{bottom}H{right}" fill="none" stroke="#999"/>'
        f'<text x="{left - 4}" y="{top + 8}" text-anchor="end">{high:.3g}</text>'
        f'<text x="{left - 4}" y="{bottom}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{left}" y="{bottom + 14}">{first:.0f}</text>'
        f'<text x="{right}" y="{bottom + 14}" text-anchor="end">{points[-1][0]:.0f} steps</text>'
        f'<polyline points="{path}" fill="none" stroke="#1f6feb" stroke-width="1.5"/>'
    )
