"""The folders of downloads and of the services' files, also where the services run as another user."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

from localstack.users import ServiceUser
from pipeline.errors import ConfigError

ROOT_CACHE = Path("/var/cache/garam")
ELSEWHERE = Path("/var/tmp")  # noqa: S108  (see service_root: what lies there is checked to be ours)


def cache_folder() -> Path:
    """The folder of downloads, kept when the state folder is deleted: ``$GARAM_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("GARAM_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "garam"


def cache(user: ServiceUser) -> Path:
    """The cache, in a place that ``user`` can enter: root's home usually cannot be entered by others.

    Raises:
        ConfigError: it cannot be made, or entered.
    """
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not user.can_enter(folder):
            if "GARAM_CACHE" in os.environ:
                raise ConfigError(
                    f"GARAM_CACHE is {folder}, which the services' user (uid {user.uid}) cannot enter; choose another."
                )
            folder = ROOT_CACHE
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
    except OSError as error:
        message = f"The cache {folder} cannot be made ({error.strerror}); set GARAM_CACHE to a writable folder."
        raise ConfigError(message) from error
    return folder


def outside_root(state_folder: Path) -> Path:
    """Where services' files go when the state folder cannot be entered by their user."""
    return ELSEWHERE / f"garam-{hashlib.sha256(str(state_folder).encode()).hexdigest()[:12]}"


def service_root(state_folder: Path, identity: str, user: ServiceUser) -> Path:
    """Make the folder of the services' files for a new state: in the state folder, if ``user`` can get there.

    Files of an earlier state in that place are removed: with its folder their passwords are lost.

    Raises:
        ConfigError: somebody else owns the place.
    """
    inside = user.can_enter(state_folder)
    root = state_folder / "services" if inside else outside_root(state_folder)
    try:
        if root.is_symlink() or (root.exists() and root.stat().st_uid != os.geteuid()):
            raise ConfigError(f"{root} belongs to somebody else; remove it, or choose another folder by GARAM_STATE.")
        if root.exists():
            shutil.rmtree(root)
        root.mkdir(mode=0o711)
        root.chmod(0o711)
        (root / "owner").write_text(f"{state_folder}\n{identity}\n")
        if stat.S_IMODE(root.stat().st_mode) & stat.S_IWOTH:
            raise ConfigError(f"{root} can be written to by everybody; choose another folder by GARAM_STATE.")
    except OSError as error:
        raise ConfigError(f"{root} cannot be made ({error.strerror}); choose another folder by GARAM_STATE.") from error
    return root
