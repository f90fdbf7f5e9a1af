"""The state folder, and the addresses of the database and of OpenSearch.

An address comes from its environment variable; without one, from `FILE` in the state folder, which the local stack
writes when it starts. The GPU worker's state folder has no such file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from pipeline.errors import UnavailableError

REPOSITORY = Path(__file__).resolve().parents[1]
FILE = "addresses.json"  # {"database": SQLAlchemy URL with the password, "opensearch": URL}


def state_folder() -> Path:
    """The folder with all local state: ``$GARAM_STATE``, or ``.state`` in the repository."""
    chosen = os.environ.get("GARAM_STATE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = REPOSITORY if (REPOSITORY / "pyproject.toml").exists() else Path.cwd()
    return base / ".state"


def database_url() -> str:
    """The SQLAlchemy URL of Garam's database: ``$GARAM_DATABASE_URL``, or the local stack's.

    Raises:
        UnavailableError: neither is there.
    """
    return _address("GARAM_DATABASE_URL", "database", "No database is known")


def opensearch_url() -> str:
    """The URL of OpenSearch: ``$GARAM_OPENSEARCH_URL``, or the local stack's.

    Raises:
        UnavailableError: neither is there.
    """
    return _address("GARAM_OPENSEARCH_URL", "opensearch", "No OpenSearch is known")


def _address(variable: str, service: str, problem: str) -> str:
    chosen = os.environ.get(variable)
    if chosen:
        return chosen
    try:
        return str(json.loads((state_folder() / FILE).read_text())[service])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnavailableError(f"{problem}: run `garam up`, or set {variable}.") from error


def write_addresses(folder: Path, addresses: dict[str, str]) -> None:
    """Write the addresses of a local stack into its state folder, for its owner only; an empty dict removes them."""
    path = folder / FILE
    if not addresses:
        path.unlink(missing_ok=True)
        return
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        json.dump(addresses, file, indent=2)
    scratch.replace(path)
