"""Progress: bars on a terminal, a few lines in a log."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.progress import LogProgress, shown

ROOT = Path(__file__).parents[3]


def test_a_log_gets_few_lines() -> None:
    lines: list[str] = []
    report = LogProgress(lines.append)
    for done in range(1001):
        report(f"encoding: {done}", done, 1000)
    report("encoding: 1000", 1000, 1000)
    report("rows", 5000, 0)
    report("connecting", 0, 0)
    assert lines == ["encoding: 0: 0 of 1,000", "encoding: 1000: 1,000 of 1,000", "rows: 5,000", "connecting"]


def test_a_file_gets_lines_and_no_bars(capsys: pytest.CaptureFixture[str]) -> None:
    with shown() as report:
        for done in range(100):
            report("encoding", done + 1, 100)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 2
    assert "\x1b" not in captured.err


def test_a_terminal_gets_bars_that_an_error_ends() -> None:
    code = """
from pipeline.progress import shown
try:
    with shown() as report:
        report("encode [bold]x[/bold]", 1, 2)
        report("rows", 12, 0)
        raise ValueError
except ValueError:
    print("the result")
"""
    main, terminal = pty.openpty()
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=terminal, check=True, cwd=ROOT,
                          env=os.environ | {"TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": str(ROOT)})  # fmt: skip
    os.close(terminal)
    written = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # how Linux ends a pseudo terminal
            break
        if not part:
            break
        written += part
    os.close(main)
    shown_text = written.decode()
    assert done.stdout == b"the result\n", "standard output is left alone"
    assert "encode [bold]x[/bold]" in shown_text
    assert "1/2" in shown_text
    assert "12/?" in shown_text
    assert shown_text.rstrip().endswith("\x1b[?25h"), "the cursor is back"
