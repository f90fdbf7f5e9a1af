"""``garam up | status | down | migrate | config | demo``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.cli.output import Json, opened, out, print_json, print_table
from pipeline.progress import elapsed_lines


def _show(info: Any, as_json: bool) -> None:
    said = info.to_json()
    if as_json:
        print_json(said)
        return
    for key, value in said.items():
        if value is not None and key != "components":
            out.print(f"{key.replace('_', ' '):24} {value}", markup=False)
    rows = [(c.name, c.health, c.pid, f"{c.memory_mb:.0f} MiB", c.log) for c in info.components]
    print_table(["component", "health", "pid", "memory", "log"], rows)


def up(
    context: typer.Context,
    only: Annotated[
        str | None, typer.Option(help="comma-separated part of the stack: postgres,opensearch,airflow")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start Postgres, OpenSearch, Airflow and a GPU-queue worker on loopback; repair what is dead."""
    from localstack import stack

    info = stack.up(only.split(",") if only else stack.COMPONENTS, elapsed_lines())
    if any(component.name == "postgres" for component in info.components):
        opened(context, migrate=True)
    _show(info, as_json)
    if info.airflow_url and not as_json:
        out.print(stack.SCHEDULES, markup=False)


def status(as_json: Json = False) -> None:
    """Say what runs, where, and how well; exit code 1 when something is not well."""
    from localstack import stack

    info = stack.status()
    _show(info, as_json)
    if not info.healthy:
        raise typer.Exit(1)


def down() -> None:
    """Stop every process of the local stack; data stay."""
    from localstack import stack

    stack.down(elapsed_lines())


def migrate(context: typer.Context) -> None:
    """Bring the database's tables to this version (safe to repeat)."""
    opened(context, migrate=True)


def config(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="every key, not only those that people touch")] = False,
) -> None:
    """Print the configuration as YAML: each key, its meaning, and where its value comes from."""
    from pipeline.config import load_with_origins, render

    loaded, origins = load_with_origins(context.obj)
    typer.echo(render(loaded, every=every, origins=origins), nl=False)


def demo(
    context: typer.Context,
    as_json: Json = False,
) -> None:
    """One whole turn of the service on real Korean speeches of 2020, watched in the Airflow UI."""
    from demo.run import run

    run(context.obj, as_json=as_json)


def add_commands(app: typer.Typer) -> None:
    """Register this module's commands."""
    for command in (up, status, down, migrate, config, demo):
        app.command()(command)
