"""``garam base | learn | trends | series | drift | weights | synonyms | dataset | retrain``."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.asof import SEOUL, parse_day
from pipeline.cli.output import (
    Day,
    Instant,
    Json,
    opened,
    plain,
    print_facts,
    print_json,
    print_table,
)
from pipeline.errors import UsageError
from pipeline.progress import shown

if TYPE_CHECKING:
    from pipeline.daily import Learned
    from pipeline.store.statistics import Trend
    from pipeline.temporal import ExplainedWeights

First = Annotated[dt.date, typer.Option("--from", parser=parse_day, metavar="D", help="first day")]
Last = Annotated[dt.date, typer.Option("--to", parser=parse_day, metavar="D", help="last day")]
Plot = Annotated[Path | None, typer.Option("--plot", help="also draw it to this .png or .svg file")]


def base(
    context: typer.Context,
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="train its dense encoder for training.fine_tuning.steps")
    ] = False,
    grow: Annotated[bool, typer.Option("--grow", help="give trending words that it cuts into pieces tokens")] = False,
) -> None:
    """Build the base (vocabulary and dense encoder) from the articles known now, unless it is there."""
    from pipeline import daily
    from pipeline.store import models

    ctx = opened(context)
    if fine_tune and grow:
        raise UsageError("name one of --fine-tune and --grow: each makes a base of its own")
    action = "fine_tune" if fine_tune else "grow_base" if grow else "build_base"
    with shown() as progress:
        number = daily.build_base(ctx, action, progress)
    with ctx.store.begin() as conn:
        card = models.get(conn, number).card
    typer.echo(f"base {number}: " + ", ".join(f"{name} {card[name]}" for name in ("source", "tokens") if name in card))
    if card.get("new"):
        typer.echo("new tokens: " + " ".join(card["new"]))


def learn(context: typer.Context, day: Day, known_by: Instant = None, as_json: Json = False) -> None:
    """Counts, statistics, query weights and synonyms of a day; bit-identical for the same day and time."""
    from pipeline import daily

    with shown() as progress:
        learned = daily.learn(opened(context), day, known_by, progress)
    said = _exact(learned)
    print_json(said) if as_json else print_facts(said)


def _exact(made: Learned | ExplainedWeights) -> dict[str, Any]:
    """What was made, with every digit of its ``known_by``: typed in again it has to name the same as-of."""
    return {**plain(made), "known_by": made.known_by.astimezone(SEOUL).isoformat()}


def trends(
    context: typer.Context,
    day: Day,
    known_by: Instant = None,
    korean: Annotated[bool, typer.Option("--korean", help="explain in Korean")] = False,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """What the news talks about more than before, with the evidence; new words apart."""
    from pipeline import temporal

    ctx = opened(context)
    found = temporal.trends(ctx, day, known_by)
    if not found:
        typer.echo(f"no trends of {day}: {temporal.no_trends(ctx, day, known_by)}", err=True)
    if as_json:
        print_json(found)
    for what, new in (("trends", False), ("new words", True)):
        told = [] if as_json else [t for t in found if t.is_new == new]
        rows = [(t.rank, t.word, t.z, t.q_value, _told(t, korean=korean)) for t in told]
        if rows:
            print_table(["rank", "word", "z", "q", "evidence"], rows, title=f"{what} of {day}")
    if found and plot is not None:  # last: a picture that cannot be drawn takes nothing else away
        temporal.plot_trends(found, plot, title=f"Trends of {day}")


def _told(trend: Trend, *, korean: bool) -> str:
    """The evidence as a sentence, with the first title that tells of it below."""
    from pipeline import temporal

    sentence = temporal.korean(trend) if korean else str(trend.evidence["sentence"])
    first = next(iter(trend.evidence["examples"]), None)
    return f"{sentence}\n「{first['title']}」 ({first['outlet']})" if first else sentence


def series(
    context: typer.Context,
    words: Annotated[list[str], typer.Argument(help="one word or more")],
    first: First,
    last: Last,
    known_by: Instant = None,
    plot: Plot = None,
    as_json: Json = False,
) -> None:
    """How often words were used, day by day."""
    from pipeline import temporal

    found = temporal.series(opened(context), words, first, last, known_by)
    by_word: dict[str, dict[dt.date, int]] = {}
    for row in found:
        by_word.setdefault(row.word, {})[row.day] = row.stories
    days = sorted({row.day for row in found})
    lacking = (last - first).days + 1 - len(days)
    if not days:
        typer.echo(f"no article from {first} to {last} has been counted: the series is empty", err=True)
    elif lacking:
        typer.echo(f"{lacking} of the {lacking + len(days)} days have no article and are left out", err=True)
    for word, held in by_word.items():
        if not any(held.values()):
            typer.echo(f"{word} is in no article of these days", err=True)
    if as_json:
        print_json(found)
    elif days:
        print_table(["day", *by_word], [(str(day), *(held.get(day, 0) for held in by_word.values())) for day in days])
    if plot is not None and days:
        temporal.plot_series(found, plot)


def drift(context: typer.Context, first: First, last: Last, plot: Plot = None, as_json: Json = False) -> None:
    """How much the language of the news moved, for each day that was learned."""
    from pipeline import temporal

    found = temporal.drift_of_days(opened(context), first, last)
    if not found:
        typer.echo(f"no day from {first} to {last} has been learned: `garam learn --day DAY` does it", err=True)
    if as_json:
        print_json([{"day": day, **drift} for day, drift in found])
    elif found:
        shown = ("divergence", "usual_divergence", "divergence_z", "unseen_share", "tokens_per_word", "level", "reason")
        headers = ["day", *(name.replace("_", " ") for name in shown)]
        print_table(headers, [(str(day), *(drift[name] for name in shown)) for day, drift in found])
    if found and plot is not None:
        temporal.plot_drift(found, plot)


def weights(
    context: typer.Context,
    day: Day,
    words: Annotated[
        list[str] | None, typer.Argument(help="words to explain, or tokens as the vocabulary writes them")
    ] = None,
    known_by: Instant = None,
    as_json: Json = False,
) -> None:
    """The query weights of a day, and why the tokens of words weigh what they weigh."""
    from pipeline import temporal

    found = temporal.explain_weights(opened(context), day, words or (), known_by)
    said = _exact(found)
    if as_json:
        print_json(said)
        return
    if not found.tokens:
        print_facts({name: value for name, value in said.items() if name != "tokens"})
        return
    rows = [(t.word, t.token, t.weight, t.idf, t.boost, t.sentence) for t in found.tokens]
    title = f"query weights {found.id} of {day} ({found.status})"
    print_table(["word", "token", "weight", "idf", "boost", "why"], rows, title=title)


def synonyms(context: typer.Context, day: Day, as_json: Json = False) -> None:
    """The synonym groups that hold on a day, with confidence and evidence, and how their validation went."""
    from pipeline.store import synonyms as rows

    with opened(context).store.begin() as conn:
        groups, run = rows.groups(conn, day), rows.run_for(conn, day)
    if as_json:
        print_json(groups)
        return
    print_table(["words", "confidence"], [(" = ".join(g.words), g.confidence) for g in groups])
    for sentence in run.sentences if run else []:
        typer.echo(sentence)


def dataset(
    context: typer.Context,
    day: Day,
    known_by: Instant = None,
    output: Annotated[Path | None, typer.Option(help="also copy the training set to this folder")] = None,
    as_json: Json = False,
) -> None:
    """Build a day's training set and the query sets that will judge what is trained on it."""
    from pipeline import daily
    from pipeline import dataset as stage
    from pipeline.store import datasets

    ctx = opened(context)
    with shown() as progress:
        training_set_id = stage.build(ctx, daily.settle(ctx, day, known_by), progress=progress)
    with ctx.store.begin() as conn:
        row = datasets.training_set(conn, training_set_id)
    if output is not None:
        import shutil

        shutil.copytree(ctx.artifacts.get(row.artifact), output, dirs_exist_ok=True)
    said = {"id": row.id, "artifact": row.artifact, "query_sets": row.query_set_ids, **row.report}
    print_json(said) if as_json else print_facts(said)


def retrain(
    context: typer.Context,
    day: Day,
    deploy: Annotated[bool, typer.Option(help="deploy when the gate says so")] = True,
    as_json: Json = False,
) -> None:
    """Train a day's model here, judge it and, if it is better, deploy it (what the DAG does on the GPU worker)."""
    from pipeline import daily

    with shown() as progress:
        done = daily.retrain(opened(context), day, progress, deploy=deploy)
    print_json(done) if as_json else print_facts(done)


def add_commands(app: typer.Typer) -> None:
    """Register this module's commands."""
    for command in (base, learn, trends, series, drift, weights, synonyms, dataset, retrain):
        app.command()(command)
