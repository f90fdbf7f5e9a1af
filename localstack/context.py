"""What every step of ``up`` needs to know."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from localstack import ports, processes
from localstack.state import ProcessRecord, Progress, StackState, StateFolder
from localstack.users import ServiceUser

RESTART_GRACE_S = 20.0
PORT_RELEASE_S = 5.0


@dataclass(frozen=True)
class Options:
    """Choices about the stack that are remembered with it.

    ``dags`` and ``plugins`` are folders (None: the repository's); ``schedule``: DAGs run by their timetables, not only
    when triggered; ``replay``: a server of feeds that runs beside the services (module and arguments after
    ``python -m``; empty: none); ``environment`` goes to Airflow's processes (the worker on the GPU queue included);
    ``postgres_settings`` to the server.
    """

    dags: str | None = None
    plugins: str | None = None
    schedule: bool = True
    replay: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)
    postgres_settings: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Options:
        """From plain data."""
        return cls(**said)


@dataclass
class Context:
    """The stack that is being started."""

    folder: StateFolder
    state: StackState
    user: ServiceUser
    root: Path
    cache: Path
    progress: Progress
    options: Options

    def runs(self, name: str) -> bool:
        """Whether the process of that name is alive."""
        return processes.is_alive(self.state.processes.get(name))

    def claim_ports(self, process: str, *names: str, postgres_data: Path | None = None) -> None:
        """Choose the ports of a process that is not running, once nothing that it left behind holds them."""
        if self.runs(process):
            return
        processes.end_now(processes.marked(self.folder.path, process, postgres_data))
        had = process in self.state.processes
        for name in names:
            # One that was killed lets go of its port only when the last of its threads is gone.
            end = time.monotonic() + (PORT_RELEASE_S if had else 0.0)
            while name in self.state.ports and not ports.is_free(self.state.ports[name]) and time.monotonic() < end:
                time.sleep(0.1)
            ports.choose(self.state.ports, name)

    def ensure(self, spec: processes.Spec, postgres_data: Path | None = None) -> ProcessRecord:
        """Have the process run as ``spec`` says. One that runs otherwise is restarted; strays of a dead one end first.

        Raises:
            UnavailableError: it cannot be executed.
        """
        record = self.state.processes.get(spec.name)
        if record is not None and processes.is_alive(record):
            if record.fingerprint == spec.fingerprint:
                return record
            self.progress(f"restarting {spec.name}: its settings have changed")
            processes.stop([record], RESTART_GRACE_S)
        elif record is not None:
            self.progress(f"{spec.name} is not running any more: starting it again")
        else:
            self.progress(f"starting {spec.name}")
        processes.end_now(processes.marked(self.folder.path, spec.name, postgres_data))
        record = processes.start(spec)
        self.state.processes[spec.name] = record
        self.folder.save(self.state)
        return record
