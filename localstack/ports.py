"""Free ports on loopback, remembered from one start to the next."""

from __future__ import annotations

import random
import socket

from pipeline.errors import UnavailableError

LOOPBACK = "127.0.0.1"
# Below the range from which Linux takes ports for outgoing connections, so that none of those gets in the way later.
RANGE = range(20000, 32000)


def loopback() -> str:
    """The host name that Airflow's components report (``core.hostname_callable``)."""
    return LOOPBACK


def is_free(port: int) -> bool:
    """Whether somebody could listen on this port of loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def choose(ports: dict[str, int], name: str) -> int:
    """A free port for ``name``: the one it had, else another, which is then remembered in ``ports``."""
    had = ports.get(name)
    if had is not None and is_free(had):
        return had
    taken = set(ports.values())
    for port in random.sample(RANGE, 200):
        if port not in taken and is_free(port):
            ports[name] = port
            return port
    raise UnavailableError(f"No free port was found on {LOOPBACK} between {RANGE.start} and {RANGE.stop - 1}.")
