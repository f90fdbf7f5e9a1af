"""Standard output for tables and reports."""

from __future__ import annotations

from rich.console import Console

FILE_WIDTH = 140  # columns; rich's default of 80 would break every cell


def console() -> Console:
    """Standard output, as wide as the terminal, or `FILE_WIDTH` columns when it is a file or a pipe."""
    made = Console(highlight=False)
    if not made.is_terminal:
        made.width = FILE_WIDTH
    return made
