"""Progress of long work: the protocol, and its two renderers, for terminals and for logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# (description, done, total). A total of 0 is unknown; with 0 done it is a message. The part of the description before a
# colon identifies the step, the rest may change from call to call.
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Ignores the progress."""


class LogProgress:
    """Lines for a log: at most one in ``every_s`` seconds for each step, and one when it is complete."""

    def __init__(self, write: Callable[[str], None], every_s: float = 10.0) -> None:
        self._write, self._every_s = write, every_s
        self._written: dict[
            str, tuple[float, bool]
        ] = {}  # when each step was last written, and whether it was complete

    def __call__(self, what: str, done: int, total: int) -> None:
        step, complete, now = what.partition(":")[0], bool(total) and done >= total, time.monotonic()
        last, was_complete = self._written.get(step, (-self._every_s, False))
        if now - last < self._every_s and (was_complete or not complete):
            return
        self._written[step] = now, complete
        count = f": {done:,} of {total:,}" if total else f": {done:,}" if done else ""
        self._write(f"{what}{count}")


@contextmanager
def shown() -> Iterator[Progress]:
    """Progress on standard error: bars on a terminal, otherwise lines (`LogProgress`).

    The bars end with the block, whether it succeeds or fails. Write to standard output after it.
    """
    if not sys.stderr.isatty():
        yield LogProgress(elapsed_lines())
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}", markup=False),  # names from feeds and models are no markup
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
    )
    tasks: dict[str, bars.TaskID] = {}
    with bars.Progress(*columns, console=Console(stderr=True), redirect_stdout=False, redirect_stderr=False) as display:

        def report(what: str, done: int, total: int) -> None:
            step = what.partition(":")[0]
            if not done and not total:
                display.console.print(what, markup=False, highlight=False)
                return
            if step not in tasks:
                tasks[step] = display.add_task(what, total=None)
            display.update(tasks[step], description=what, completed=done, total=total or None)

        yield report


def elapsed_lines() -> Callable[[str], None]:
    """A function that prints a line to standard error, preceded by the seconds since this call."""
    began = time.monotonic()

    def write(line: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {line}", file=sys.stderr, flush=True)

    return write
