"""What a stage works with: configuration, store, artifacts, cluster; each opened when first used.

A context is a context manager that closes what was opened. Processes that live on (Airflow's API server) use it so.

The GPU worker builds the same object and never touches ``store`` or ``cluster``: it holds no address of either.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from pipeline.addresses import database_url, opensearch_url, state_folder
from pipeline.artifacts import Artifacts
from pipeline.config import Config, load

if TYPE_CHECKING:
    from pipeline.search import Cluster
    from pipeline.store import Store


@dataclass(frozen=True)
class Context:
    """One installation of Garam, as seen by a command, a task, a request or a test."""

    config: Config

    @classmethod
    def open(cls, config: Path | str | None = None) -> Context:
        """The context of a configuration file (see `pipeline.config.load` for how it is found)."""
        return cls(load(config))

    def __enter__(self) -> Context:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the database and the cluster, where they were opened."""
        for name in ("store", "cluster"):
            if name in self.__dict__:
                self.__dict__[name].close()

    @cached_property
    def artifacts(self) -> Artifacts:
        """The artifact store."""
        return Artifacts(self.config.storage.artifacts or state_folder() / "artifacts")

    @cached_property
    def store(self) -> Store:
        """The database, migrated by whoever set it up."""
        from pipeline.store import Store

        return Store(database_url())

    @cached_property
    def cluster(self) -> Cluster:
        """OpenSearch."""
        from pipeline.search import Cluster

        return Cluster(opensearch_url())
