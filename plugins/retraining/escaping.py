"""HTML by hand: every text escaped, no script, one style."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, "Noto Sans KR", "NanumGothic", sans-serif; margin: 1.5rem; max-width: 80rem;
  word-break: keep-all; overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
nav { display: flex; gap: 1rem; } nav b { font-weight: 600; } nav .right { margin-left: auto; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: .3rem .6rem; vertical-align: top; } th { white-space: nowrap; }
tr + tr td { border-top: 1px solid #8884; } .promote, .pass, .ok { color: #087f3f; }
.reject, .fail, .failing, .quarantined { color: #c0392b; } .doubtful { color: #a86400; } tr.disabled { opacity: .6; }
details summary { cursor: pointer; } .paused, .notice { border: 2px solid #c0392b; padding: .5rem 1rem; }
.small { font-size: .85em; } .number { text-align: right; white-space: nowrap; } .short { white-space: nowrap; }
form.add { display: flex; flex-wrap: wrap; gap: .5rem; align-items: end; } form.add label { display: grid; }
input { font: inherit; padding: .2rem .4rem; } button { font: inherit; cursor: pointer; white-space: nowrap; }
td form + form { margin-top: .3rem; } .url { font-size: .85em; opacity: .8; max-width: 20rem; }
"""


def text(value: Any) -> str:
    """A value as text that is never markup, in an attribute too."""
    return escape("" if value is None else str(value))


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table of texts."""
    body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{text(h)}</th>' for h in headers)}</tr>{body}</table>"


def document(body: str, language: str) -> str:
    """A whole page."""
    head = f'<meta charset="utf-8"><title>Garam</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="{language}"><head>{head}</head><body>{body}</body></html>'
