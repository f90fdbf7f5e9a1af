"""Which user the services run as. PostgreSQL and OpenSearch refuse to run as root."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOBODY = 65534  # "nobody" on Linux and macOS alike in effect: no user is created for us


@dataclass(frozen=True)
class ServiceUser:
    """The user of the services; ``uid`` is None when that is the one who calls."""

    uid: int | None

    @property
    def popen(self) -> dict[str, Any]:
        """Arguments that make ``subprocess`` start something as this user."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.uid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give the folder to this user."""
        if self.uid is not None:
            os.chown(path, self.uid, self.uid)

    def folder(self, path: Path) -> Path:
        """Make a folder that only this user (and root) can look into."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.own(path)
        return path

    def can_enter(self, folder: Path) -> bool:
        """Whether this user can use what lies in ``folder``. Asked of the system: modes alone miss ACLs and mounts."""
        if self.uid is None:
            return os.access(folder, os.X_OK)
        probe = ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]
        result = subprocess.run(probe, cwd="/", capture_output=True, check=False, **self.popen)
        return result.returncode == 0


def service_user() -> ServiceUser:
    """Root's services run as ``nobody``, everybody else's as themselves."""
    return ServiceUser(NOBODY if os.geteuid() == 0 else None)
