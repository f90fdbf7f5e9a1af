"""What commands share: opening the context, tables and JSON on standard output."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pipeline.asof import SEOUL, parse_day, parse_instant
from pipeline.console import console
from pipeline.context import Context

Json = Annotated[bool, typer.Option("--json", help="print one JSON value instead of a table")]
Day = Annotated[dt.date, typer.Option("--day", parser=parse_day, metavar="D", help="day in Seoul, YYYY-MM-DD")]
Instant = Annotated[
    dt.datetime | None,
    typer.Option("--known-by", parser=parse_instant, metavar="T", help="only what was known by then (default: now)"),
]


out = console()


def opened(context: typer.Context, *, migrate: bool = False) -> Context:
    """The installation named by ``--config`` or the environment; ``migrate`` brings its tables up to date first."""
    path: Path | None = context.obj
    opened_context = Context.open(path)
    if migrate:
        opened_context.store.migrate()
    return opened_context


def plain(value: Any) -> Any:
    """A JSON-able copy: dataclasses as objects, times in ISO 8601, paths as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(v) for v in value]
    if isinstance(value, dt.datetime):
        return value.astimezone(SEOUL).isoformat(timespec="seconds")
    if isinstance(value, (dt.date, Path)):
        return str(value)
    return value


def print_json(value: Any) -> None:
    """One JSON value, Hangul readable."""
    print(json.dumps(plain(value), ensure_ascii=False, indent=2))


def print_table(headers: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """A table; feed text is printed as text, never as markup."""
    table = Table(title=title, title_justify="left", header_style="bold", expand=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    out.print(table, markup=False)


def print_facts(value: Any) -> None:
    """A report as ``name  value`` lines."""
    facts = plain(value)
    width = max((len(name) for name in facts), default=0)
    for name, fact in facts.items():
        out.print(f"{name.replace('_', ' '):{width}}  {_cell(fact)}", markup=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, dt.datetime):
        return value.astimezone(SEOUL).strftime("%Y-%m-%d %H:%M")
    if isinstance(value, (list, tuple)):
        return ", ".join(str(v) for v in value)
    return str(value)
