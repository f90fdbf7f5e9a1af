"""``garam models | decision``."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.cli.output import Json, opened, print_json, print_table


def models(context: typer.Context, as_json: Json = False) -> None:
    """The models, newest first: base, head and champion are named."""
    from pipeline.store import models as rows

    with opened(context).store.begin() as conn:
        every = rows.all_models(conn)
        base, champion = rows.base(conn), rows.champion(conn)
        head = rows.head(conn, base.vocabulary_hash) if base else None
    marks = {
        row.id: [name for name, marked in (("base", base), ("head", head), ("champion", champion)) if marked == row]
        + ["unhealthy"] * (row.unhealthy_at is not None)
        for row in every
    }
    if as_json:
        print_json(
            [
                {
                    "id": m.id,
                    "artifact": m.artifact,
                    "kind": m.kind,
                    "day": m.day,
                    "parent": m.parent_id,
                    "is": marks[m.id],
                    "unhealthy_at": m.unhealthy_at,
                    "unhealthy_why": m.unhealthy_why,
                    "created_at": m.created_at,
                }
                for m in every
            ]
        )
        return
    shown = [(m.id, m.artifact, m.day or "", m.parent_id, marks[m.id], m.created_at) for m in every]
    print_table(["model", "artifact", "day", "parent", "is", "made"], shown)


def decision(
    context: typer.Context, model: Annotated[int, typer.Argument(help="the model's id")], as_json: Json = False
) -> None:
    """The gate's verdict on a model, every rule with its numbers."""
    from pipeline import evaluation
    from pipeline.store import evaluations

    with opened(context).store.begin() as conn:
        found = evaluations.newest_decision(conn, model)
    if as_json:
        print_json(found)
    else:
        typer.echo(evaluation.render_decision(found))


def add_commands(app: typer.Typer) -> None:
    """Register this module's commands."""
    app.command()(models)
    app.command()(decision)
