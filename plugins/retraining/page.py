"""The page as HTML: plain tables, every text escaped, no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem; max-width: 70rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: .3rem .6rem; vertical-align: top; }
tr + tr td { border-top: 1px solid #8884; } .promote, .pass { color: #087f3f; } .reject, .fail { color: #c0392b; }
details summary { cursor: pointer; } .paused { border: 2px solid #c0392b; padding: .5rem 1rem; }
"""


def render(overview: dict[str, Any]) -> str:
    """The page of an overview (`pipeline.overview.collect`)."""
    live, paused = overview["live"], overview["paused"]
    parts = ["<h1>Garam (가람)</h1>"]
    if paused:
        parts.append(f"<p class=paused>Automatic promotion is paused: {_text(paused)} (operate: resume lifts it)</p>")
    if live:
        parts.append(
            f"<p>Generation <b>{live['id']}</b> is live: model {live['model_id']}, index {_text(live['index_name'])}, "
            f"since {_text(live['promoted_at'])}.</p>"
        )
    else:
        parts.append("<p>No generation is live yet: no candidate has passed the gate.</p>")
    parts += ["<h2>Decisions</h2>", _decisions(overview["decisions"])]
    trends = overview["trends"]
    parts.append(f"<h2>Trends of {_text(overview['day'])}</h2>" if trends else "<h2>Trends</h2><p>None yet.</p>")
    if trends:
        parts.append(_table(("word", "", "why"), ((t["word"], "new" if t["new"] else "", t["why"]) for t in trends)))
    parts.append("<h2>Synonym groups</h2>")
    parts.append(
        _table(("words", "confidence"), ((" = ".join(g["words"]), g["confidence"]) for g in overview["synonyms"]))
    )
    parts.append("<h2>Deployments</h2>")
    rows = ((d["at"], d["action"], d["generation_id"], d["actor"], d["reason"]) for d in overview["deployments"])
    parts.append(_table(("when", "what", "generation", "who", "why"), rows))
    return _document("".join(parts))


def render_problem(sentence: str) -> str:
    """The page when something does not answer."""
    return _document(f"<h1>Garam (가람)</h1><p>{_text(sentence)}</p>")


def _decisions(decisions: Sequence[dict[str, Any]]) -> str:
    if not decisions:
        return "<p>None yet.</p>"
    rows = []
    for one in decisions:
        rules = "".join(
            f"<tr><td class={'pass' if r['passed'] else 'fail'}>{'pass' if r['passed'] else 'FAIL'}</td>"
            f"<td>{_text(r['name'])}</td><td>{_text(r['sentence'])}</td></tr>"
            for r in one["rules"]
        )
        rows.append(
            f"<tr><td>{_text(one['day'])}</td><td>{one['model_id']}</td>"
            f"<td class={'promote' if one['verdict'] == 'promote' else 'reject'}>{_text(one['verdict'])}</td>"
            f"<td><details><summary>{_text(one['reason'])}</summary><table>{rules}</table></details></td></tr>"
        )
    return f"<table><tr><th>day<th>model<th>verdict<th>why</tr>{''.join(rows)}</table>"


def _table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{_text(h)}</th>' for h in headers)}</tr>{body}</table>"


def _text(value: Any) -> str:
    return escape("" if value is None else str(value))


def _document(body: str) -> str:
    head = f'<meta charset="utf-8"><title>Garam</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'
