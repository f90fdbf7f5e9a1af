"""How the rest of Garam finds its services. Standard library only, so that anything may import it.

The environment comes first; else what the local stack of the state folder says about itself.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.errors import UnavailableError
from pipeline.local.paths import state_folder

LOOPBACK = "127.0.0.1"


def database_url() -> str:
    """The SQLAlchemy URL of Garam's database.

    Raises:
        UnavailableError: nobody says where it is.
    """
    chosen = os.environ.get("GARAM_DATABASE_URL")
    if chosen:
        return chosen
    folder = state_folder()
    port = _port(folder, "postgres")
    try:
        password = (folder / "secrets" / "postgres-garam").read_text().strip()
    except OSError:
        password = ""
    if port is None or not password:
        raise UnavailableError("No database is known: run `garam up`, or set GARAM_DATABASE_URL.")
    return f"postgresql+psycopg2://garam:{quote(password, safe='')}@{LOOPBACK}:{port}/garam"


def opensearch_url() -> str:
    """The address of OpenSearch.

    Raises:
        UnavailableError: nobody says where it is.
    """
    chosen = os.environ.get("GARAM_OPENSEARCH_URL")
    if chosen:
        return chosen
    port = _port(state_folder(), "opensearch")
    if port is None:
        raise UnavailableError("No OpenSearch is known: run `garam up`, or set GARAM_OPENSEARCH_URL.")
    return f"http://{LOOPBACK}:{port}"


def _port(folder: Path, service: str) -> int | None:
    try:
        state: dict[str, Any] = json.loads((folder / "stack.json").read_text())
        # A port alone was only chosen: the service has been started when there is a process as well.
        return int(state["ports"][service]) if service in state["processes"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def loopback() -> str:
    """The name under which Airflow's parts of the local stack find one another."""
    return LOOPBACK
