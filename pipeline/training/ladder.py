"""The ladder of a model as a picture (SVG): what each rung reached on validation, and which was taken."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

_WIDTH, _ROW, _LEFT, _TOP = 640, 26, 200, 40
_COLOURS = ("#1f6feb", "#2da44e")


def draw(ladder: Sequence[dict[str, Any]]) -> str:
    """An SVG of nDCG@10 by rung: ``ladder`` has a step a rung, with ``rung``, ``titles``, ``short`` (where there are
    such queries), and for those above the floor ``gain``, ``firing`` and ``taken``."""
    names = [name for name in ("titles", "short") if any(name in step for step in ladder)]
    height = _TOP + len(ladder) * (_ROW * len(names) + 14) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        '<text x="10" y="20" font-weight="bold">nDCG@10 on validation: titles and short queries</text>',
    ]
    y = _TOP
    for step in ladder:
        taken = step.get("taken", True)
        label = f"{step['rung']}{'' if taken else ' (not taken)'}"
        detail = f"gain {step['gain']:g}, fires in {step['firing']:.0%}" if "gain" in step else "nothing learned"
        parts.append(f'<text x="10" y="{y + 14}" font-weight="bold">{escape(label)}</text>')
        parts.append(f'<text x="10" y="{y + 30}" fill="#666" font-size="11">{escape(detail)}</text>')
        for name, colour in zip(names, _COLOURS, strict=False):
            value = float(step.get(name, 0.0))
            width = round(value * (_WIDTH - _LEFT - 130), 1)
            parts.append(
                f'<rect x="{_LEFT}" y="{y}" width="{width}" height="{_ROW - 8}" fill="{colour}" '
                f'opacity="{1 if taken else 0.4}"/>'
                f'<text x="{_LEFT + width + 6}" y="{y + 13}">{value:.3f} {escape(name)}</text>'
            )
            y += _ROW
        y += 14
    return "\n".join([*parts, "</svg>"]) + "\n"
