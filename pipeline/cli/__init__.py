"""``garam``: the command line. Every command is a function that the DAGs call too; here they get arguments and a face.

Exit codes: 0 done, 1 refused or failed, 2 wrong use. What is asked with ``--json`` is printed as one JSON value on
standard output; progress and errors go to standard error.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli import learning, models, news, serving, stack
from pipeline.errors import GaramError

app = typer.Typer(
    name="garam",
    help="Garam (가람) keeps Korean search fresh: news in, a better model behind the search alias out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", help="configuration file; else GARAM_CONFIG, else ./config.yaml")
    ] = None,
) -> None:
    """Options of every command."""
    context.obj = config


for module in (stack, news, learning, models, serving):
    module.add_commands(app)


def main() -> None:
    """The console command ``garam``: a known error is one sentence, never a traceback."""
    try:
        app()
    except GaramError as error:
        print(f"garam: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("garam: stopped; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
