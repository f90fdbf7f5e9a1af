"""Reports for people: a decision as a text table, an evaluation as a text table and as an HTML page."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader

from pipeline.plots import plot

if TYPE_CHECKING:
    from pipeline.store.evaluations import Decision

_COLUMNS = ("ndcg@10", "mrr@10", "recall@10", "recall@100", "active_terms", "sparsity", "flops")


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
    """``report["sets"]`` as one text table for each query set."""
    blocks = []
    for name, systems in sets.items():
        rows = []
        for system, values in systems.items():
            cells = [
                f"{values[c]:.4f}" if c in values and c != "active_terms" else _number(values.get(c)) for c in _COLUMNS
            ]
            low, high = values["confidence_intervals"]["ndcg@10"]
            rows.append([system, *cells[:1], f"{low:.3f}..{high:.3f}", *cells[1:]])
        first: Mapping[str, Any] = next(iter(systems.values()), {})
        title = f"{name}: {first.get('queries', 0)} queries, {first.get('documents', 0)} documents"
        blocks.append(title + "\n" + table(["system", _COLUMNS[0], "interval", *_COLUMNS[1:]], rows))
    return "\n\n".join(blocks)


def html_page(report: Mapping[str, Any]) -> str:
    """One HTML page without scripts or external files: a plot of nDCG@10 and a table of all metrics for each set."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    sets = [_set_context(name, systems, report) for name, systems in report["sets"].items()]
    return environment.get_template("report.html").render(
        bm25=report.get("bm25"),
        confidence=float(report.get("confidence", 0.95)),
        columns=("system", *_COLUMNS),
        sets=sets,
    )


def _set_context(name: str, systems: Mapping[str, Mapping[str, Any]], report: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of the template for one query set."""
    first: Mapping[str, Any] = next(iter(systems.values()), {})
    return {
        "name": name,
        "queries": first.get("queries"),
        "documents": first.get("documents"),
        "plot": base64.b64encode(metric_plot(systems).encode()).decode(),
        "rows": [(system, *(_number(values.get(c)) for c in _COLUMNS)) for system, values in systems.items()],
        "comparisons": [row["sentence"] for row in report.get("comparisons", {}).get(name, [])],
    }


def metric_plot(systems: Mapping[str, Mapping[str, Any]], metric: str = "ndcg@10") -> str:
    """An SVG with a bar for each system from 0 to 1 and its confidence interval."""
    values = [float(system[metric]) for system in systems.values()]
    intervals = [system["confidence_intervals"][metric] for system in systems.values()]
    # An interval that ends on the wrong side of the mean by rounding has length 0 there.
    errors = [
        [max(0.0, value - float(low)) for value, (low, _) in zip(values, intervals, strict=True)],
        [max(0.0, float(high) - value) for value, (_, high) in zip(values, intervals, strict=True)],
    ]
    rows = range(len(systems))
    with plot(8, 0.8 + 0.35 * len(systems)) as drawing:
        axes = drawing.figure.subplots()
        axes.barh(rows, values, 0.65, xerr=errors, capsize=3)
        for row, value, (_, high) in zip(rows, values, intervals, strict=True):
            axes.annotate(
                f"{value:.4f}", (max(value, float(high)), row), (5, 0), textcoords="offset points", va="center"
            )
        axes.set_yticks(rows, [name if len(name) <= 36 else f"…{name[-35:]}" for name in systems])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_xlabel("nDCG@10" if metric == "ndcg@10" else metric)
        return drawing.svg()
