"""``python -m localstack up | status | down``: the local stack without the rest of Garam."""

from __future__ import annotations

import argparse
import json
import sys

from localstack import stack
from pipeline.errors import GaramError
from pipeline.progress import elapsed_lines


def main() -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m localstack", description="The local stack, on loopback.")
    parser.add_argument("action", choices=["up", "status", "down"])
    parser.add_argument("--json", action="store_true", help="say it as JSON")
    parser.add_argument("--only", help=f"a comma-separated part of {','.join(stack.COMPONENTS)}")
    arguments = parser.parse_args()
    progress = elapsed_lines()
    try:
        if arguments.action == "down":
            stack.down(progress)
            return 0
        if arguments.action == "up":
            names = arguments.only.split(",") if arguments.only else stack.COMPONENTS
            info = stack.up(names, progress)
        else:
            info = stack.status()
    except GaramError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    said = info.to_json()
    if arguments.json:
        print(json.dumps(said, indent=2))
        return 0
    for key, value in said.items():
        if value is not None and key != "components":
            print(f"{key:24} {value}")
    for one in info.components:
        print(f"{one.name:24} {one.health}, {one.memory_mb:.0f} MiB, pid {one.pid}, log {one.log}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
