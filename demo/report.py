"""What the demo shows at its end: a table of the turn, searches side by side, where to look."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from rich.table import Table

from localstack.stack import StackInfo
from pipeline import serving
from pipeline.asof import AsOf
from pipeline.console import console
from pipeline.context import Context
from pipeline.errors import GaramError
from pipeline.store import articles, evaluations, generations, models
from pipeline.store import statistics as statistics_rows
from pipeline.store import synonyms as synonym_rows

METRICS = ("ndcg@10", "mrr@10", "recall@10", "recall@100")
QUERIES = ("코로나19 마스크 구하기 어려운 국민", "소상공인 긴급 대출 지원", "남북 정상이 다시 만나야 하는 까닭")
SHOWN = 5


def collect(
    ctx: Context, info: StackInfo, steps: Sequence[tuple[str, float]], days: Sequence[dt.date]
) -> dict[str, Any]:
    """Everything the report shows, from the store and from searches sent now; JSON-able."""
    known_by = ctx.store.settle()
    with ctx.store.begin() as conn:
        held = articles.days(conn, AsOf(days[-1], known_by))
        live = generations.live(conn)
        rounds = [_round(conn, day) for day in days]
        learned = [_learned(conn, day) for day in days]
    return {
        "documents": sum(count for _, count in held),
        "days": len(held),
        "first_day": held[0][0] if held else None,
        "last_day": held[-1][0] if held else None,
        "learned": learned,
        "rounds": [r for r in rounds if r],
        "generation": {"id": live.id, "model": live.model_id, "index": live.index_name} if live else None,
        "searches": [_searches(ctx, text) for text in QUERIES] if live else [],
        "seconds": [{"step": name, "seconds": round(seconds, 1)} for name, seconds in steps],
        "airflow": {
            "url": info.airflow_url,
            "username": info.airflow_username,
            "password_file": info.airflow_password_file,
        },
        "opensearch": info.opensearch_url,
    }


def _learned(conn: sa.Connection, day: dt.date) -> dict[str, Any]:
    statistics_id = statistics_rows.newest(conn, day)
    trends = statistics_rows.trends_of(conn, statistics_id) if statistics_id is not None else []
    groups = synonym_rows.groups(conn, day)
    return {
        "day": day,
        "trends": [
            {"word": t.word, "z": round(t.z, 2), "new": t.is_new, "why": t.evidence["sentence"]} for t in trends
        ],
        "synonym_groups": [{"words": list(g.words), "confidence": round(g.confidence, 3)} for g in groups],
    }


def _round(conn: sa.Connection, day: dt.date) -> dict[str, Any] | None:
    decision = evaluations.newest_decision_of_day(conn, day)
    if decision is None:
        return None
    report = evaluations.evaluation(conn, decision.evaluation_id).report
    model = models.get(conn, decision.model_id)
    return {
        "day": day,
        "model": model.id,
        "artifact": model.artifact,
        "sets": {
            name: {
                system: {
                    "queries": row["queries"],
                    **{m: row[m] for m in METRICS},
                    "active_terms": row.get("active_terms"),
                }
                for system, row in systems.items()
            }
            for name, systems in report["sets"].items()
        },
        "ranking": report["ranking"],
        "verdict": decision.verdict,
        "reason": decision.reason,
        "rules": [{"name": r["name"], "passed": r["passed"], "sentence": r["sentence"]} for r in decision.rules],
    }


def _searches(ctx: Context, text: str) -> dict[str, Any]:
    found: dict[str, Any] = {"query": text}
    for mode in ("bm25", "sparse"):
        try:
            hits = serving.search(ctx, text, mode=mode, size=SHOWN).hits
            found[mode] = [dataclasses.asdict(hit) for hit in hits]
        except GaramError as error:
            found[mode] = str(error)
    return found


def show(summary: dict[str, Any]) -> None:
    """Print the report."""
    out = console()
    out.print()
    out.print(f"{summary['documents']:,} documents of {summary['days']:,} days, ", end="", markup=False)
    out.print(f"{summary['first_day']} to {summary['last_day']}", markup=False)
    for learned in summary["learned"]:
        words = [f"{t['word']}{' (new)' if t['new'] else ''}" for t in learned["trends"][:10]]
        out.print(f"trends of {learned['day']}: {', '.join(words) or 'none'}", markup=False)
        groups = [" = ".join(g["words"]) for g in learned["synonym_groups"]]
        out.print(f"synonym groups of {learned['day']}: {len(groups)}; {'; '.join(groups[:6])}", markup=False)
    out.print()
    out.print(_metrics(summary["rounds"]))
    for name, one in zip(("first", "second"), summary["rounds"], strict=False):
        said = "deployed" if one["verdict"] == "promote" else "not deployed"
        out.print(f"{name} model of {one['day']}: {said}. {one['reason']}", markup=False)
    if summary["generation"]:
        g = summary["generation"]
        out.print(f"generation {g['id']} is live: model {g['model']}, index {g['index']}", markup=False)
    else:
        out.print("no generation is live: no candidate passed the gate (the reasons stand above)", markup=False)
    for search in summary["searches"]:
        out.print(_side_by_side(search))
    table = Table(title="seconds", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for step in summary["seconds"]:
        table.add_row(step["step"], f"{step['seconds']:.0f}")
    table.add_row("all", f"{sum(s['seconds'] for s in summary['seconds']):.0f}", style="bold")
    out.print(table)
    airflow = summary["airflow"]
    out.print(
        f"Airflow: {airflow['url']}  login {airflow['username']}, password in {airflow['password_file']}", markup=False
    )
    out.print(f"OpenSearch: {summary['opensearch']}  (garam search QUERY; make down stops everything)", markup=False)


def _metrics(rounds: Sequence[dict[str, Any]]) -> Table:
    table = Table(
        title="what was measured (queries nobody trained on; titles are not in the texts searched)",
        title_justify="left",
    )
    for header in ("round", "queries", "system", *METRICS, "active terms"):
        number = header in (*METRICS, "active terms")
        table.add_column(header, justify="right" if number else "left", no_wrap=True)
    for name, one in zip(("first", "second"), rounds, strict=False):
        names = {
            "bm25": "BM25 (nori)",
            "floor": f"{name} model's lexical floor",
            "candidate": f"{name} model",
            "champion": "first model, in service",
        }
        for set_name, systems in one["sets"].items():
            for system, row in systems.items():
                terms = row["active_terms"]
                table.add_row(
                    f"{name} {one['day']}",
                    f"{set_name} ({row['queries']})",
                    names.get(system) or f"{names[system.partition('+')[0]]} + BM25",
                    *(f"{row[m]:.3f}" for m in METRICS),
                    f"{terms:.0f}" if terms is not None else "",
                )
            table.add_section()
    return table


def _side_by_side(search: dict[str, Any]) -> Table:
    table = Table(title=f"“{search['query']}”", title_justify="left")
    for header in ("", "BM25 (nori)", "the deployed model"):
        table.add_column(header, overflow="fold")
    columns = [search["bm25"], search["sparse"]]
    for rank in range(SHOWN):
        cells = []
        for hits in columns:
            if isinstance(hits, str):
                cells.append(hits if rank == 0 else "")
            else:
                cells.append(
                    f"{hits[rank]['title']} · {str(hits[rank]['published_at'])[:10]}" if rank < len(hits) else ""
                )
        table.add_row(str(rank + 1), *cells)
    return table
