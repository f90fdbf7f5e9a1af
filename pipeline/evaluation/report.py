"""Results for people: a decision as a text table, an evaluation as a text table and as one HTML page with bars."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.store.evaluations import Decision

_COLUMNS = ("ndcg@10", "mrr@10", "recall@10", "recall@100", "active_terms", "sparsity", "flops")
_COLOURS = ("#9aa4b1", "#2f6fab", "#4f9d69", "#d08b2c", "#8d5a97", "#b5485d")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, the first left, numbers right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def render_decision(decision: Decision) -> str:
    """A decision as text: the verdict, then each rule with its value, its bound and its sentence."""
    lines = [
        f"model {decision.model_id}: {decision.verdict.upper()} "
        f"(decision {decision.id}, evaluation {decision.evaluation_id})"
    ]
    if decision.approval:
        lines.append(f"{decision.approval} by {decision.approved_by}")
    lines += [*textwrap.wrap(decision.reason, 118), ""]
    rows = [
        (rule["name"], "pass" if rule["passed"] else "FAIL", _number(rule["value"]), _number(rule["bound"]))
        for rule in decision.rules
    ]
    lines += [table(("rule", "verdict", "value", "bound"), rows), ""]
    for number, rule in enumerate(decision.rules, 1):
        lines.append(textwrap.fill(f"{number}. {rule['name']}: {rule['sentence']}", 118, subsequent_indent="   "))
    slices: list[dict[str, Any]] = next(
        (rule["details"] for rule in decision.rules if rule["name"] == "no slice falls"), []
    )
    if slices:
        shown = [
            (
                f"{row['set']}/{row['slice']}" if row["slice"] else row["set"],
                str(row["queries"]),
                f"{row['reference']:.4f}",
                f"{row['candidate']:.4f}",
                f"{row['difference']:+.4f}",
                "" if row["passed"] else "falls",
            )
            for row in slices
        ]
        lines += ["", table(("slice", "queries", "now", "candidate", "difference", ""), shown)]
    return "\n".join(lines)


def render_evaluation(sets: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """``report["sets"]`` as a text table a set."""
    blocks = []
    for name, systems in sets.items():
        rows = []
        for system, found in systems.items():
            cells = [
                f"{found[c]:.4f}" if c in found and c not in ("active_terms",) else _number(found.get(c))
                for c in _COLUMNS
            ]
            low, high = found["confidence_intervals"]["ndcg@10"]
            rows.append([system, *cells[:1], f"{low:.3f}..{high:.3f}", *cells[1:]])
        any_system: Mapping[str, Any] = next(iter(systems.values()), {})
        title = f"{name}: {any_system.get('queries', 0)} queries, {any_system.get('documents', 0)} documents"
        blocks.append(title + "\n" + table(["system", _COLUMNS[0], "interval", *_COLUMNS[1:]], rows))
    return "\n\n".join(blocks)


def html_page(report: Mapping[str, Any]) -> str:
    """One page, no script and nothing fetched: bars of nDCG@10 with their intervals, and all numbers, set by set."""
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Garam: evaluation</title>",
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem;color:#1d2733}"
        "table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.25rem .7rem;text-align:right;"
        "border-bottom:1px solid #dde3ea}td:first-child,th:first-child{text-align:left}small{color:#5b6876}</style>",
        "<h1>Evaluation</h1>",
        f"<p>Lexical baseline: {html.escape(str(report.get('bm25') or 'none'))}. Intervals are "
        f"{float(report.get('confidence', 0.95)):.0%} bootstrap intervals by groups of queries that share a document; "
        "ties count against a system.</p>",
    ]
    for name, systems in report["sets"].items():
        found: Mapping[str, Any] = next(iter(systems.values()), {})
        parts.append(
            f"<h2>{html.escape(name)}</h2><p><small>{found.get('queries')} queries, "
            f"{found.get('documents')} documents</small></p>"
        )
        parts += [bars(systems), _html_table(systems)]
        comparisons = report.get("comparisons", {}).get(name, [])
        if comparisons:
            parts.append("<ul>" + "".join(f"<li>{html.escape(c['sentence'])}</li>" for c in comparisons) + "</ul>")
    return "\n".join(parts) + "</html>\n"


def bars(systems: Mapping[str, Mapping[str, Any]], metric: str = "ndcg@10") -> str:
    """An SVG: a bar a system from 0 to 1 with its confidence interval as a line."""
    left, wide, height = 240, 480, 30
    rows = [
        f"<svg role='img' aria-label='{metric}' font-size='13' "
        f"width='{left + wide + 90}' height='{height * len(systems) + 24}'>"
    ]
    for number, (name, found) in enumerate(systems.items()):
        y, value = number * height, float(found[metric])
        low, high = (left + wide * float(end) for end in found["confidence_intervals"][metric])
        colour = _COLOURS[number % len(_COLOURS)]
        rows.append(
            f"<text x='{left - 8}' y='{y + 19}' text-anchor='end'>{html.escape(name[-34:])}</text>"
            f"<rect x='{left}' y='{y + 5}' width='{max(1.0, wide * value):.1f}' height='19' fill='{colour}'/>"
            f"<path d='M{low:.1f} {y + 14.5}H{high:.1f}M{low:.1f} {y + 9}v11M{high:.1f} {y + 9}v11' "
            f"stroke='#111' fill='none'/>"
            f"<text x='{max(high, left + wide * value) + 8:.1f}' y='{y + 19}'>{value:.4f}</text>"
        )
    bottom = height * len(systems)
    rows += [
        f"<text x='{left + wide * t / 4:.0f}' y='{bottom + 16}' text-anchor='middle' fill='#5b6876'>{t / 4:g}</text>"
        for t in range(5)
    ]
    return "".join(rows) + "</svg>"


def _html_table(systems: Mapping[str, Mapping[str, Any]]) -> str:
    head = "".join(f"<th>{column}</th>" for column in ("system", *_COLUMNS))
    body = "".join(
        f"<tr><td>{html.escape(name)}</td>"
        + "".join(f"<td>{_number(found.get(column))}</td>" for column in _COLUMNS)
        + "</tr>"
        for name, found in systems.items()
    )
    return f"<table><tr>{head}</tr>{body}</table>"
