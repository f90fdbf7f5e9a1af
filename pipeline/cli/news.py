"""``garam crawl | feeds | import | forget``."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from pipeline.asof import parse_day, parse_instant
from pipeline.cli.output import Json, opened, plain, print_facts, print_json, print_table
from pipeline.progress import shown


def crawl(
    context: typer.Context,
    feeds: Annotated[
        Path | None, typer.Option(help="CSV of url, outlet, category; else the feeds that are due")
    ] = None,
    as_json: Json = False,
) -> None:
    """Poll the feeds and take in what is new."""
    from pipeline import news

    with shown() as progress:
        report = news.crawl(opened(context), feeds_file=feeds, progress=progress)
    print_json(report) if as_json else print_facts(report)


feeds_app = typer.Typer(help="List the feeds with how their polls went; add, disable and enable them.")


@feeds_app.callback(invoke_without_command=True)
def list_feeds(context: typer.Context, as_json: Json = False) -> None:
    """List the feeds with how their polls went; add, disable and enable them."""
    from pipeline import news

    if context.invoked_subcommand is not None:
        return
    ctx = opened(context)
    states = news.feeds(ctx)
    if as_json:
        print_json([{**plain(s), "condition": news.condition(s)} for s in states])
        return
    rows = [
        (s.outlet, s.category, s.url, news.condition(s), round(s.interval_s / 60), s.last_ok_at, s.last_new_at,
         s.articles, s.error or (s.item_errors[0]["error"] if s.item_errors else ""))
        for s in states
    ]  # fmt: skip
    headers = ["outlet", "category", "url", "state", "minutes", "last ok", "last new", "articles", "last error"]
    print_table(headers, rows)
    for silent in news.silent_outlets(ctx):
        typer.echo(news.silence(silent))


@feeds_app.command()
def add(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="the feed's url, or a CSV file of url, outlet, category; `builtin`")],
    outlet: Annotated[str, typer.Option(help="the outlet's name (default: the host)")] = "",
    category: Annotated[str, typer.Option(help="category of its articles")] = "",
    as_json: Json = False,
) -> None:
    """Add a feed, or all feeds of a file; known ones get this outlet and category where given."""
    from pipeline import news

    ctx = opened(context)
    if "://" in what:
        added = 1
        news.add_feed(ctx, what, outlet=outlet, category=category)
    else:
        added = news.add_feeds(ctx, what)
    print_json({"feeds": added}) if as_json else typer.echo(f"{added} feed{'' if added == 1 else 's'} in the list")


def _switch(context: typer.Context, url: str, enabled: bool, as_json: bool) -> None:
    from pipeline import news

    news.set_feed(opened(context), url, enabled=enabled)
    word = "enabled" if enabled else "disabled"
    print_json({"url": url, "enabled": enabled}) if as_json else typer.echo(f"{url} is {word}")


@feeds_app.command()
def disable(
    context: typer.Context, url: Annotated[str, typer.Argument(help="the feed's url")], as_json: Json = False
) -> None:
    """Poll a feed no more; what it brought stays."""
    _switch(context, url, False, as_json)


@feeds_app.command()
def delete(
    context: typer.Context, url: Annotated[str, typer.Argument(help="the feed's url")], as_json: Json = False
) -> None:
    """Delete a feed and its polls; the articles it brought stay."""
    from pipeline import news

    news.delete_feed(opened(context), url)
    print_json({"url": url, "deleted": True}) if as_json else typer.echo(f"{url} is deleted")


@feeds_app.command()
def enable(
    context: typer.Context, url: Annotated[str, typer.Argument(help="the feed's url")], as_json: Json = False
) -> None:
    """Poll a feed again, at once, also out of a quarantine."""
    _switch(context, url, True, as_json)


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

    with shown() as progress:
        report = news.import_archive(
            opened(context),
            source,
            format=file_format,
            known_by=known_by,
            since=since,
            until=until,
            progress=progress,
        )
    print_json(report) if as_json else print_facts(report)


def forget(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="the article's url")],
    reason: Annotated[str, typer.Option(help="kept with the request")] = "",
    erase: Annotated[
        bool, typer.Option("--erase", help="also remove training sets, corpora and query sets that hold its words")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove an article for good: from the store, raw answers, future counts and training, and every warm index."""
    from pipeline import daily

    done = daily.forget(opened(context), url, reason, erase=erase)
    if as_json:
        print_json(done)
        return
    typer.echo(f"forgot {done.articles} article{'' if done.articles == 1 else 's'}; {done.url} will not be taken again")
    typer.echo(f"raw answers of feeds emptied: {done.payloads}; documents taken out of indices: {done.indexed}")
    for name in done.erased:
        typer.echo(f"removed the artifact {name}, which held its words")
    for name in done.holding:
        typer.echo(f"its words are still in the artifact {name}" + ("" if erase else " (--erase removes it)"))
    for copy in done.copies:
        typer.echo(f"the same is told at {copy}, which stays: forget it too if that was meant")


def rederive(
    context: typer.Context,
    since: Annotated[
        dt.datetime | None,
        typer.Option(parser=parse_instant, metavar="T", help="only answers got since then (default: all kept ones)"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read the kept raw answers of feeds anew, by today's rules; changed articles get a new version."""
    from pipeline import news

    with shown() as progress:
        report = news.rederive(opened(context), since=since, progress=progress)
    print_json(report) if as_json else print_facts(report)


def add_commands(app: typer.Typer) -> None:
    """Register this module's commands."""
    app.command()(crawl)
    app.add_typer(feeds_app, name="feeds")
    app.command("import")(import_archive)
    app.command()(forget)
    app.command()(rederive)
