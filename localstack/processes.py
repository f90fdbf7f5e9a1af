"""Starting, watching and ending the processes of the stack.

Each runs in a session of its own and carries ``GARAM_STACK=<state folder>#<name>`` in its environment, as do its
children: so all of them can be found again, even when their parent or our record of them is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from localstack.state import ProcessRecord
from localstack.users import ServiceUser
from pipeline.errors import UnavailableError

MARK = "GARAM_STACK"


def mark(stack: Path, name: str = "") -> str:
    """What the processes of this stack carry in their environment; without ``name``, how it begins."""
    return f"{stack}#{name}"


@dataclass(frozen=True)
class Spec:
    """How a process is to run. ``inherit`` says what else it takes from our environment."""

    name: str
    command: list[str]
    cwd: Path
    log: Path
    stack: Path
    user: ServiceUser
    env: dict[str, str] = field(default_factory=dict)
    inherit: Callable[[str], bool] = lambda key: True
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def fingerprint(self) -> str:
        """Changes when the process would have to be started anew to be as this spec says."""
        said = json.dumps([self.command, str(self.cwd), self.env], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def environment(self) -> dict[str, str]:
        """The environment that the process gets."""
        kept = {key: value for key, value in os.environ.items() if self.inherit(key)}
        return {**kept, **self.env, MARK: mark(self.stack, self.name)}


def start_time(pid: int) -> str | None:
    """When the process began, as an opaque mark; None when there is no such process, or only its remains."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        # Ticks since boot do not move when somebody sets the clock; psutil's seconds do.
        with contextlib.suppress(OSError, IndexError):
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def is_alive(record: ProcessRecord | None) -> bool:
    """Whether the very process of this record still runs."""
    return record is not None and start_time(record.pid) == record.started


def start(spec: Spec) -> ProcessRecord:
    """Start the process in a session of its own, with both outputs appended to its log.

    Raises:
        UnavailableError: it cannot be executed.
    """
    spec.log.parent.mkdir(parents=True, exist_ok=True)
    with spec.log.open("ab") as log:
        try:
            child = subprocess.Popen(
                spec.command,
                cwd=spec.cwd,
                env=spec.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **spec.user.popen,
            )
        except OSError as error:
            raise UnavailableError(f"{spec.name} cannot be started: {error}.") from error
    # The stack outlives us: without this, Python would warn that the child is still running.
    child.returncode = 0
    return ProcessRecord(child.pid, start_time(child.pid) or "gone", spec.fingerprint, str(spec.log), spec.stop_signal)


def last_words(log: Path, lines: int = 1) -> str:
    """The end of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            said = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        said = []
    return " | ".join(said[-lines:]) or "it said nothing"


def wait_ready(name: str, record: ProcessRecord, ready: Callable[[], str | None], timeout_s: float) -> None:
    """Ask ``ready`` until it returns None; otherwise it returns what is still missing.

    Raises:
        UnavailableError: the process ended, or is not ready after ``timeout_s`` seconds.
    """
    end = time.monotonic() + timeout_s
    while True:
        missing = ready()
        if missing is None:
            return
        log = Path(record.log)
        if not is_alive(record):
            raise UnavailableError(f"{name} ended while starting: {last_words(log)} (log: {log}).")
        if time.monotonic() > end:
            raise UnavailableError(f"{name} was not ready after {timeout_s:.0f} s: {missing} (log: {log}).")
        time.sleep(0.2)


def members(records: Iterable[ProcessRecord]) -> list[psutil.Process]:
    """The processes of these records' groups, also of those whose leader is gone."""
    leaders = {record.pid: record for record in records}
    found = []
    for process in psutil.process_iter():
        try:
            record = leaders.get(os.getpgid(process.pid))
            # A leader's pid is not given away while its group lives, but may have been afterwards.
            if record is not None and start_time(record.pid) in (None, record.started):
                found.append(process)
        except (OSError, psutil.Error):
            continue
    return found


def marked(stack: Path, name: str = "", postgres_data: Path | None = None) -> list[psutil.Process]:
    """Every process of a stack, or of one of its parts, but ourselves.

    PostgreSQL overwrites its environment with its title: it is known by the folder that it works in.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            carried = process.environ().get(MARK, "")
            ours = carried == mark(stack, name) if name else carried.startswith(mark(stack))
            if ours or (postgres_data is not None and _works_in(process, postgres_data)):
                found.append(process)
    return found


def _works_in(process: psutil.Process, postgres_data: Path) -> bool:
    return process.name() == "postgres" and process.cwd().removesuffix(" (deleted)") == str(postgres_data)


def stop(records: Iterable[ProcessRecord], grace_s: float) -> None:
    """Ask all of them to end, together; after ``grace_s`` seconds end what is left of their groups."""
    alive = [record for record in records if is_alive(record)]
    for record in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, record.stop_signal)
    end = time.monotonic() + grace_s
    while time.monotonic() < end and any(is_alive(record) for record in alive):
        time.sleep(0.05)
    end_now(members(alive))


def end_now(processes: list[psutil.Process]) -> None:
    """Kill these processes and wait until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=5)


def family(record: ProcessRecord) -> list[psutil.Process]:
    """The process and all that descend from it."""
    try:
        process = psutil.Process(record.pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def memory_mb(processes: list[psutil.Process]) -> float:
    """Memory in MiB, where pages that several processes share count once if the system can tell."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            full = process.memory_full_info()
            total += getattr(full, "pss", 0) or full.rss
    return total / 2**20
