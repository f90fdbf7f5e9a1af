"""Where the local stack keeps things. Standard library only: every part of Garam may ask."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def state_folder() -> Path:
    """The one folder that holds all state of a local stack: ``$GARAM_STATE``, or ``.state`` in the repository."""
    chosen = os.environ.get("GARAM_STATE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = REPOSITORY if (REPOSITORY / "pyproject.toml").exists() else Path.cwd()
    return base / ".state"


def cache_folder() -> Path:
    """Where downloads are kept when the state folder is deleted: ``$GARAM_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("GARAM_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "garam"
