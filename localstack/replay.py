"""The replay server as part of the stack: the past as feeds on loopback, on a port that is remembered.

Started only where it was asked for (`Options.replay`); a bare ``garam up`` after a crash brings it back.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

from localstack import ports, processes
from localstack.context import Context
from localstack.state import StateFolder
from localstack.users import ServiceUser
from pipeline.errors import UnavailableError

NAME = "replay"
READY_S = 60.0


def url(port: int) -> str:
    """The address of its index."""
    return f"http://{ports.LOOPBACK}:{port}/"


def launch(context: Context) -> None:
    """Run `Options.replay`, with ``--port`` and ``--token-file`` added, and wait until it responds."""
    folder, state = context.folder, context.state
    if not context.runs(NAME):
        ports.choose(state.ports, NAME)
    port = state.ports[NAME]
    token = folder.secret_file(NAME)
    folder.secret(NAME)
    command = [sys.executable, "-m", *context.options.replay]
    spec = processes.Spec(
        name=NAME,
        command=[*command, "--port", str(port), "--token-file", str(token)],
        cwd=folder.path,
        log=folder.path / "logs" / f"{NAME}.log",
        stack=folder.path,
        user=ServiceUser(None),
    )
    record = context.ensure(spec)
    processes.wait_ready("The replay server", record, lambda: missing(port), READY_S)


def missing(port: int) -> str | None:
    """What is wrong with it; None when nothing is."""
    try:
        with urllib.request.urlopen(url(port), timeout=5):  # noqa: S310 - an address of ours
            return None
    except OSError as error:
        return f"it does not answer ({error})"


def set_clock(folder: Path, port: int, clock: str) -> None:
    """Let the feeds show what was published by ``clock`` (a day, or a time with zone)."""
    token = StateFolder(folder).secret(NAME)
    request = urllib.request.Request(  # noqa: S310 - an address of ours
        f"{url(port)}clock",
        data=json.dumps({"clock": clock}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310
            pass
    except urllib.error.URLError as error:
        raise UnavailableError(f"the replay server did not take its clock ({error}): run `garam up`") from error
