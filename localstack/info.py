"""What ``garam status`` tells."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class ComponentInfo:
    """One process of the stack. ``health``: "ok", "stopped", or what is wrong."""

    name: str
    health: str
    pid: int | None = None
    memory_mb: float = 0.0
    log: str | None = None


@dataclass
class StackInfo:
    """Where everything is. Addresses are None for what is not running. Passwords lie in the named files."""

    state_folder: str
    service_root: str | None = None
    postgres_url: str | None = None
    opensearch_url: str | None = None
    replay_url: str | None = None
    airflow_url: str | None = None
    airflow_username: str | None = None
    airflow_password_file: str | None = None
    components: list[ComponentInfo] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether there are components, and all are well."""
        return bool(self.components) and all(one.health == "ok" for one in self.components)

    def to_json(self) -> dict[str, Any]:
        """The same as plain data, with the database's password left out: this gets printed and logged."""
        said = asdict(self)
        if self.postgres_url:
            head, _, tail = self.postgres_url.partition("@")
            said["postgres_url"] = f"{head.rpartition(':')[0]}:***@{tail}"
        said["healthy"] = self.healthy
        said["memory_mb"] = round(sum(one.memory_mb for one in self.components), 1)
        return said
