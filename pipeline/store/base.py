"""Opening the database, its migrations, its locks and its clock."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.errors import BusyError, ConfigError, DatabaseAwayError

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"

# The lock that makes "known by T" exact, see `settle`.
_CLOCK_LOCK = "garam.clock"


def lock_key(name: str) -> int:
    """A signed 64-bit advisory lock key for a readable name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def writing(conn: Connection) -> dt.datetime:
    """The time to stamp on rows that this transaction makes known (``first_seen_at``, ``counted_at`` ...).

    Holds the clock's lock, shared, until the transaction ends: `settle` waits for it. So no row ever becomes
    visible with a time that an as-of has already passed.
    """
    conn.execute(sa.text("SELECT pg_advisory_xact_lock_shared(:k)"), {"k": lock_key(_CLOCK_LOCK)})
    return cast(dt.datetime, conn.execute(sa.text("SELECT clock_timestamp()")).scalar_one())


def settle(conn: Connection) -> dt.datetime:
    """A time T such that everything stamped at or before T is committed: the ``known_by`` of a new as-of.

    Waits for the transactions that are writing, holds up new ones only for the moment it takes to read the clock.
    Call it at the start of a transaction of its own.
    """
    conn.execute(sa.text("SELECT pg_advisory_xact_lock(:k)"), {"k": lock_key(_CLOCK_LOCK)})
    return cast(dt.datetime, conn.execute(sa.text("SELECT clock_timestamp()")).scalar_one())


class Store:
    """A Postgres database with Garam's schema.

    ``begin`` gives a transaction. Modules beside this one take its connection as their first argument.
    """

    def __init__(self, url: str) -> None:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() != "postgresql":
            raise ConfigError("the database must be PostgreSQL: write its URL as postgresql://user:password@host/name")
        self.url = parsed.set(drivername="postgresql+psycopg2")
        self.engine = sa.create_engine(
            self.url,
            pool_pre_ping=True,
            pool_size=4,
            connect_args={"connect_timeout": 10, "application_name": "garam", "options": "-c timezone=UTC"},
        )

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction; see `answering` for its errors, which the callers' callers retry."""
        with self.answering(), self.engine.begin() as conn:
            yield conn

    @contextmanager
    def answering(self) -> Iterator[None]:
        """A database that does not answer, or goes away under the block, is a DatabaseAwayError."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            # A server that is killed shows itself in any of these, by what the driver was doing then.
            if isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError)) or error.connection_invalidated:
                raise DatabaseAwayError(
                    f"the database at {self.url.host}:{self.url.port} does not answer ({_first_line(error)}): "
                    "start it with `garam up` or check GARAM_DATABASE_URL"
                ) from error
            if "UndefinedTable" in type(error.orig).__name__:
                raise ConfigError("the database has no tables of Garam yet: run `garam migrate`") from error
            raise

    def settle(self) -> dt.datetime:
        """`settle` in a transaction of its own."""
        with self.begin() as conn:
            return settle(conn)

    @contextmanager
    def lock(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Hold a named lock for as long as the block runs; it ends with the process, also by ``kill -9``.

        Raises BusyError at once when ``wait`` is false and somebody holds it.
        """
        with self.answering():
            conn = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with conn:
            with self.answering():
                if wait:
                    conn.execute(sa.text("SELECT pg_advisory_lock(:k)"), {"k": lock_key(name)})
                elif not conn.execute(sa.text("SELECT pg_try_advisory_lock(:k)"), {"k": lock_key(name)}).scalar_one():
                    raise BusyError(f"{name} is being worked on by somebody else: wait for it to end")
            try:
                yield
            finally:
                with suppress(sa.exc.DBAPIError):  # a database that went away has let go of it already
                    conn.execute(sa.text("SELECT pg_advisory_unlock(:k)"), {"k": lock_key(name)})

    def migrate(self, revision: str = "head") -> None:
        """Bring the schema up to a version; safe when two do it at once, free when nothing is new."""
        from alembic import command

        with self.lock("garam.migrate"), self.begin() as conn:
            config = _alembic_config()
            config.attributes["connection"] = conn
            command.upgrade(config, revision)

    def close(self) -> None:
        """Give the pooled connections back."""
        self.engine.dispose()


def _alembic_config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", error)).strip().splitlines()[0]
