"""``garam deploy | rollback | resume | rebuild | search | prune``."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from pipeline.cli.output import Json, opened, out, plain, print_facts, print_json, print_table
from pipeline.errors import UsageError
from pipeline.progress import shown


def _actor() -> str:
    try:
        return f"command:{getpass.getuser()}"
    except (KeyError, OSError):  # an unprivileged uid without a name
        return "command"


def deploy(
    context: typer.Context,
    model: Annotated[int, typer.Argument(help="the model's id")],
    force: Annotated[bool, typer.Option(help="whatever the gate said (recorded)")] = False,
) -> None:
    """Deploy a model that the gate promoted."""
    from pipeline import serving

    with shown() as progress:
        generation = serving.deploy(opened(context), model, actor=_actor(), force=force, progress=progress)
    typer.echo(f"generation {generation} is live")


def rollback(
    context: typer.Context, reason: Annotated[str, typer.Option(help="kept in the history")] = "asked for by command"
) -> None:
    """Go back to the generation served before, in a second; pauses automatic promotion until `garam resume`."""
    from pipeline import serving

    ctx = opened(context)
    live = serving.live(ctx)
    left = live.id if live is not None else None
    generation = serving.rollback(ctx, actor=_actor(), reason=reason, away_from=left)
    typer.echo(
        f"generation {left} is left and generation {generation} is live; "
        "automatic promotion is paused until `garam resume`"
    )


def resume(context: typer.Context) -> None:
    """Let the gate promote again after a rollback."""
    from pipeline import serving

    serving.resume(opened(context))
    typer.echo("automatic promotion is on")


def rebuild(context: typer.Context) -> None:
    """Build the live generation's index again from Postgres and artifacts, then swap."""
    from pipeline import serving

    with shown() as progress:
        generation = serving.rebuild(opened(context), progress=progress)
    typer.echo(f"generation {generation} is live")


def prune(context: typer.Context, as_json: Json = False) -> None:
    """Remove what nothing refers to any more: indices, old raw answers, artifacts older than storage.keep_days."""
    from pipeline import retention

    report = retention.prune(opened(context))
    print_json(report) if as_json else print_facts(report)


def search(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="plain text, such as 코로나19 마스크", metavar="QUERY")],
    bm25: Annotated[bool, typer.Option("--bm25", help="by words alone")] = False,
    hybrid: Annotated[bool, typer.Option("--hybrid", help="words and model together")] = False,
    size: Annotated[int, typer.Option(min=1, max=100, help="how many")] = 10,
    as_json: Json = False,
) -> None:
    """Search the live index by the deployed model."""
    from pipeline import serving

    if bm25 and hybrid:
        raise UsageError("choose --bm25 or --hybrid, not both")
    mode = "bm25" if bm25 else "hybrid" if hybrid else "sparse"
    found = serving.search(opened(context), text, mode=mode, size=size)
    if found.unread:
        typer.echo(f"the query is too long: its last {len(found.unread)} characters were not searched", err=True)
    if as_json:
        print_json(plain(found))
        return
    out.print(f"generation {found.generation}, {mode}", markup=False)
    print_table(
        ["rank", "score", "title", "published", "url"],
        [(h.rank, h.score, h.title, h.published_at, h.url) for h in found.hits],
    )


def recency(
    context: typer.Context,
    switch: Annotated[str | None, typer.Argument(help="off: rank by words alone, at once; on: again with age")] = None,
    reason: Annotated[str, typer.Option(help="kept with the switch")] = "asked for by command",
    renew: Annotated[bool, typer.Option(help="measure what rises now first")] = False,
    as_json: Json = False,
) -> None:
    """Which words rise and so find today's articles first; switch that off and on."""
    from pipeline import daily, serving

    ctx = opened(context)
    if switch not in (None, "off", "on"):
        raise UsageError(f"{switch!r} is no switch: write off or on, or nothing to see what is lifted now")
    if renew:
        with shown() as progress:
            daily.renew_trends(ctx, progress)
    if switch is not None:
        serving.set_recency(ctx, switch == "on", reason)
    now = serving.recency(ctx)
    if as_json:
        print_json(plain(now))
        return
    if now.off is not None:
        out.print(f"recency is off ({now.off}): `garam recency on` switches it on", markup=False)
    out.print(f"strength {now.strength:g}, {now.days:g} days; {now.as_of or 'nothing served'}", markup=False)
    if now.note:
        out.print(now.note, markup=False)
    print_table(
        ["word", "gate", "stories of 24 hours", "expected", "outlets", "tokens"],
        [(w["word"], w["gate"], w["stories"], w["expected"], w["outlets"], " ".join(w["tokens"])) for w in now.words],
    )


def add_commands(app: typer.Typer) -> None:
    """Register this module's commands."""
    for command in (deploy, rollback, resume, rebuild, prune, search, recency):
        app.command()(command)
