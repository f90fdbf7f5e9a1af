"""Processes are started once, told apart from strangers, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from localstack import processes
from localstack.processes import Spec
from localstack.users import ServiceUser
from pipeline.errors import UnavailableError

# Starts a child in a session of its own, says its pid, and ignores the polite signal.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def spec(tmp_path: Path) -> Iterator[Spec]:
    yield Spec(
        name="thing",
        command=[sys.executable, "-c", "import time; time.sleep(600)"],
        cwd=tmp_path,
        log=tmp_path / "logs" / "thing.log",
        stack=tmp_path,
        user=ServiceUser(None),
    )
    processes.end_now(processes.marked(tmp_path))


def alive(pid: int) -> bool:
    return processes.start_time(pid) is not None


def test_a_started_process_is_found_and_stopped(spec: Spec) -> None:
    record = processes.start(spec)
    assert processes.is_alive(record)
    assert [found.pid for found in processes.marked(spec.stack)] == [record.pid]
    assert processes.marked(spec.stack, "another") == []
    processes.stop([record], grace_s=5)
    assert not processes.is_alive(record)


def test_a_stranger_with_the_pid_of_ours_is_left_alone(spec: Spec) -> None:
    record = processes.start(spec)
    stale = replace(record, started="12345")
    assert not processes.is_alive(stale)
    processes.stop([stale], grace_s=1)
    assert alive(record.pid)


def test_a_stubborn_process_and_its_strayed_child_end(spec: Spec) -> None:
    record = processes.start(replace(spec, command=[sys.executable, "-c", STUBBORN]))
    end = time.monotonic() + 20
    while not spec.log.read_text().strip() and time.monotonic() < end:
        time.sleep(0.05)
    child = int(spec.log.read_text())
    processes.stop([record], grace_s=0.5)
    assert not processes.is_alive(record)
    assert alive(child), "it left the group, so only its mark tells that it is ours"
    processes.end_now(processes.marked(spec.stack, "thing"))
    assert not alive(child)


def test_the_mark_of_one_stack_does_not_match_another_with_a_longer_path(spec: Spec) -> None:
    record = processes.start(replace(spec, stack=Path(f"{spec.stack}2")))
    assert processes.marked(spec.stack) == []
    os.kill(record.pid, signal.SIGKILL)


def test_a_zombie_counts_as_dead(spec: Spec) -> None:
    record = processes.start(spec)
    os.kill(record.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert psutil.pid_exists(record.pid), "this process has not waited for its child"
    assert not processes.is_alive(record)


def test_a_process_that_dies_at_once_is_reported_with_its_last_words(spec: Spec) -> None:
    record = processes.start(replace(spec, command=[sys.executable, "-c", "raise SystemExit('no licence')"]))
    with pytest.raises(UnavailableError, match=r"Thing ended while starting: no licence \(log: .*thing.log\)\.$"):
        processes.wait_ready("Thing", record, lambda: "it does not answer", timeout_s=20)


def test_a_process_that_never_gets_ready_is_reported_with_what_is_missing(spec: Spec) -> None:
    record = processes.start(spec)
    with pytest.raises(UnavailableError, match=r"Thing was not ready after 1 s: it does not answer"):
        processes.wait_ready("Thing", record, lambda: "it does not answer", timeout_s=1)


def test_a_command_that_does_not_exist_is_one_sentence(spec: Spec) -> None:
    with pytest.raises(UnavailableError, match="thing cannot be started"):
        processes.start(replace(spec, command=["/nonexistent/program"]))
