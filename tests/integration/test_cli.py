"""The command line: help everywhere, exit codes, one sentence for every error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = [
    "up", "status", "down", "migrate", "demo", "crawl", "feeds", "import", "forget", "rederive", "base", "learn",
    "trends", "series", "synonyms", "dataset", "retrain", "models", "decision", "deploy", "rollback", "resume",
    "rebuild", "prune", "search",
]  # fmt: skip


def garam(*arguments: str, state: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the console command as a user would, with an empty state folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GARAM_")}
    return subprocess.run(
        [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        env=kept | {"GARAM_STATE": str(state)} | environment,
        timeout=120,
        check=False,
    )


def test_help_lists_every_command(tmp_path: Path) -> None:
    done = garam("--help", state=tmp_path)
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"  {command} " in done.stdout, command


@pytest.mark.parametrize("command", ["learn", "import", "search", "deploy", "series"])
def test_each_command_has_help(command: str, tmp_path: Path) -> None:
    done = garam(command, "--help", state=tmp_path)
    assert done.returncode == 0
    assert "Usage:" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["learn", "--day", "어제"], 2, "YYYY-MM-DD"),
        (["learn"], 2, "--day"),
        (["nonsense"], 2, "nonsense"),
        (["search", "금리", "--bm25", "--hybrid"], 2, "not both"),
        (["--config", "none.yaml", "models"], 2, "none.yaml"),
        (["models"], 1, "garam up"),
        (["status"], 1, ""),
    ],
)
def test_exit_codes_and_sentences(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = garam(*arguments, state=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_override_is_wrong_use(tmp_path: Path) -> None:
    done = garam("models", state=tmp_path, GARAM_TRAINING__SED="3")
    assert done.returncode == 2
    assert "did you mean seed" in done.stderr


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    done = garam("models", state=tmp_path, GARAM_DATABASE_URL="postgresql://nobody:x@127.0.0.1:9/garam")
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
