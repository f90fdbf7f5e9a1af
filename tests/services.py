"""Real services for tests: one stack for a test session, in a folder of its own, gone when the session ends."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from pathlib import Path

import psycopg2
from psycopg2 import sql

from localstack import folders, postgres, processes, stack
from localstack.context import Options
from localstack.state import StateFolder

PREFIX = "garam-test-"
# Nothing of a test has to survive a crash.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class SessionStack:
    """A stack that grows with what tests ask for, and ends with the session."""

    def __init__(self) -> None:
        # Not below pytest's own folder: under root, nobody else may enter that one.
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))

    def start(self, component: str) -> None:
        """Have this component run."""
        stack.up([component], folder=self.folder, options=Options(postgres_settings=FAST))

    def postgres_url(self, database: str = "postgres") -> str:
        """The superuser's URL of a database."""
        here = StateFolder(self.folder)
        state = here.load()
        assert state is not None
        return postgres.url(state.ports[postgres.NAME], "postgres", here.secret("postgres"), database)

    def opensearch_url(self) -> str:
        """The address of OpenSearch."""
        url = stack.status(folder=self.folder).opensearch_url
        assert url is not None
        return url

    def stop(self) -> None:
        """End everything and remove every file."""
        remove_stack(self.folder)


def remove_stack(folder: Path) -> None:
    """End the stack of a state folder and remove its files."""
    stack.down(folder=folder)
    for path in (folder, folders.outside_root(folder)):
        shutil.rmtree(path, ignore_errors=True)


def remove_abandoned() -> None:
    """End the stacks of test sessions that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and processes.start_time(int(pid)) is None:
            remove_stack(folder)


def libpq(url: str) -> str:
    """The URL as libpq understands it: without SQLAlchemy's driver."""
    return url.replace("postgresql+psycopg2://", "postgresql://", 1)


def create_database(server_url: str) -> str:
    """A fresh, empty database; returns its URL."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    _execute(server_url, sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    return server_url.rpartition("/")[0] + f"/{name}"


def drop_database(server_url: str, url: str) -> None:
    """Remove it, whoever is still connected."""
    name = url.rpartition("/")[2]
    _execute(server_url, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _execute(server_url: str, statement: sql.Composed) -> None:
    connection = psycopg2.connect(libpq(server_url))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
