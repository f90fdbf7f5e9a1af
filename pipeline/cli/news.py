"""``garam crawl | feeds | import | forget``."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from pipeline.asof import parse_day, parse_instant
from pipeline.cli.output import Json, TerminalProgress, opened, print_facts, print_json, print_table


def crawl(
    context: typer.Context,
    feeds: Annotated[
        Path | None, typer.Option(help="CSV of url, outlet, category; else the feeds that are due")
    ] = None,
    as_json: Json = False,
) -> None:
    """Poll the feeds and take in what is new."""
    from pipeline import news

    report = news.crawl(opened(context), feeds_file=feeds, progress=TerminalProgress())
    print_json(report) if as_json else print_facts(report)


def list_feeds(
    context: typer.Context,
    add: Annotated[Path | None, typer.Option(help="CSV of url, outlet, category to add first")] = None,
    as_json: Json = False,
) -> None:
    """List the feeds with how their polls went."""
    from pipeline import news

    ctx = opened(context)
    if add is not None:
        news.add_feeds(ctx, add)
    states = news.feeds(ctx)
    if as_json:
        print_json(states)
        return
    rows = [(s.outlet, s.category, s.url, s.last_ok_at, s.failures, s.error) for s in states]
    print_table(["outlet", "category", "url", "last ok", "failures", "last error"], rows)


def import_archive(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="JSONL, CSV or Parquet file, or hf:NAME", metavar="FILE|hf:NAME")],
    file_format: Annotated[str | None, typer.Option("--format", help="jsonl, csv or parquet; else by the name")] = None,
    known_by: Annotated[
        dt.datetime | None,
        typer.Option(parser=parse_instant, metavar="T", help="when the articles were known (default: now)"),
    ] = None,
    since: Annotated[dt.date | None, typer.Option(parser=parse_day, metavar="D", help="first day taken")] = None,
    until: Annotated[dt.date | None, typer.Option(parser=parse_day, metavar="D", help="last day taken")] = None,
    as_json: Json = False,
) -> None:
    """Take an archive in, original dates kept; a rerun goes on where it stopped."""
    from pipeline import news

    report = news.import_archive(
        opened(context),
        source,
        format=file_format,
        known_by=known_by,
        since=since,
        until=until,
        progress=TerminalProgress(),
    )
    print_json(report) if as_json else print_facts(report)


def forget(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="the article's url")],
    reason: Annotated[str, typer.Option(help="kept with the request")] = "",
) -> None:
    """Remove an article for good: from the store, future counts and training, and every warm index."""
    from pipeline import loop

    count = loop.forget(opened(context), url, reason)
    typer.echo(f"forgot {count} article{'' if count == 1 else 's'}; {url} will not be taken again")


def add_commands(app: typer.Typer) -> None:
    """Register this module's commands."""
    app.command()(crawl)
    app.command("feeds")(list_feeds)
    app.command("import")(import_archive)
    app.command()(forget)
