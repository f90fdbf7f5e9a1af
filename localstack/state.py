"""What a local stack remembers: ports, processes, passwords. One folder, safe to delete when the stack is down."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import BusyError, ConfigError

Progress = Callable[[str], None]
FORMAT = 1


@dataclass
class ProcessRecord:
    """A process we started. ``started`` tells it from a later one that was given the same pid."""

    pid: int
    started: str
    fingerprint: str
    log: str
    stop_signal: int = signal.SIGTERM


@dataclass
class StackState:
    """The content of ``stack.json``."""

    id: str
    service_root: str
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, ProcessRecord] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)  # one-off work, with the version it was done for
    options: dict[str, Any] = field(default_factory=dict)
    configuration: dict[str, str] = field(default_factory=dict)  # GARAM_CONFIG and overrides, as tasks see them


class StateFolder:
    """The state folder on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "stack.json"

    def create(self) -> None:
        """Make the folder. Others may pass through it (services run as another user under root), not list it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for name in ("secrets", "logs"):
                (self.path / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"The state folder {self.path} cannot be made ({error.strerror}); set GARAM_STATE to a writable folder."
            ) from error

    def load(self) -> StackState | None:
        """What was saved, or None when there is nothing.

        Raises:
            ConfigError: the file is there but not ours to read.
        """
        try:
            raw: dict[str, Any] = json.loads(self.file.read_text())
            if raw.pop("format") != FORMAT:
                raise ValueError("another format")
            raw["processes"] = {name: ProcessRecord(**record) for name, record in raw["processes"].items()}
            return StackState(**raw)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{self.file} cannot be read ({error}); run `garam down`, then delete {self.path}."
            ) from error

    def save(self, state: StackState) -> None:
        """Write the state whole or not at all."""
        scratch = self.file.with_suffix(f".{os.getpid()}.tmp")
        scratch.write_text(json.dumps({"format": FORMAT, **asdict(state)}, indent=2) + "\n")
        scratch.chmod(0o600)
        scratch.replace(self.file)

    def secret_file(self, name: str) -> Path:
        """Where the secret of that name lies."""
        return self.path / "secrets" / name

    def secret(self, name: str, make: Callable[[], str] = lambda: secrets.token_urlsafe(24)) -> str:
        """A secret that is generated once and then stays. The file can be read by its owner only."""
        path = self.secret_file(name)
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            value = make()
            scratch = path.with_suffix(".tmp")
            scratch.unlink(missing_ok=True)
            with os.fdopen(os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(value + "\n")
            scratch.replace(path)
            return value


@contextmanager
def file_lock(path: Path, progress: Progress, patience_s: float, what: str) -> Iterator[None]:
    """Hold an exclusive lock on ``path``.

    Raises:
        BusyError: somebody else held it for ``patience_s`` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    end, told = time.monotonic() + patience_s, False
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise BusyError(
                        f"Another garam command has been {what} for {patience_s:.0f} s; try again when it is done."
                    ) from None
                if not told:
                    progress(f"waiting for another garam command that is {what}")
                    told = True
                time.sleep(0.2)
        yield
