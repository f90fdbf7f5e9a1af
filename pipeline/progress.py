"""How long work tells how far it is: one callable, whoever listens (terminal, Airflow log, nobody)."""

from __future__ import annotations

from collections.abc import Callable

# (what is being done, how many are done, how many there are; 0 when unknown)
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """The progress of work that nobody watches."""
