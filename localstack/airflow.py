"""Airflow 3 on loopback: API server, scheduler, DAG processor, triggerer, and an Edge worker for the GPU queue.

Started part by part, not by ``airflow standalone``: that one listens on every interface and has no Edge worker. Nor
do the log servers of scheduler and triggerer run: they listen everywhere, and here all logs lie in one folder.
"""

from __future__ import annotations

import base64
import importlib.metadata
import json
import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localstack import ports, postgres, processes
from localstack.context import Context
from localstack.state import StackState, StateFolder
from localstack.users import ServiceUser
from pipeline.addresses import REPOSITORY
from pipeline.errors import ConfigError, UnavailableError

API, WORKER = "airflow-api", "airflow-worker"
PARTS: dict[str, list[str]] = {
    API: ["api-server"],
    "airflow-scheduler": ["scheduler", "--skip-serve-logs"],
    "airflow-dag-processor": ["dag-processor"],
    "airflow-triggerer": ["triggerer", "--skip-serve-logs"],
}
NAME = "airflow"
QUEUE = "gpu"
USERNAME = "admin"
READY_S = 180.0
PARALLELISM = 4  # tasks at once; the default of 32 forks 32 workers
HEARTBEAT_TIMEOUT_S = 90  # a task whose process was killed is tried again after this

SETTINGS = {
    "CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "CORE__EXECUTOR": "LocalExecutor,airflow.providers.edge3.executors.EdgeExecutor",
    "CORE__LOAD_EXAMPLES": "False",
    "CORE__PARALLELISM": str(PARALLELISM),
    # The machine's own name may resolve to an address that nobody listens on.
    "CORE__HOSTNAME_CALLABLE": "localstack.ports.loopback",
    "API__HOST": ports.LOOPBACK,
    "API__WORKERS": "1",
    "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT_S),
    "EDGE__API_ENABLED": "True",
    "EDGE__JOB_POLL_INTERVAL": "1",
    "EDGE__HEARTBEAT_INTERVAL": "10",
    "USAGE_DATA_COLLECTION__ENABLED": "False",
}
# What the worker on the GPU queue must not be told: it reads and writes artifacts, nothing else.
KEPT_FROM_WORKER = ("PG", "GARAM_DATABASE", "GARAM_OPENSEARCH", "GARAM_STATE", "OPENAI_API_KEY")


def url(port: int) -> str:
    """The address of UI and API."""
    return f"http://{ports.LOOPBACK}:{port}"


def launch(context: Context) -> None:
    """Start what is not running, except the worker: that one needs the API server.

    Raises:
        ConfigError: the DAG folder is missing.
        UnavailableError: Airflow's database cannot be prepared.
    """
    folder, state = context.folder, context.state
    _remember_configuration(state)
    context.claim_ports(API, NAME)
    environment = _environment(context)
    home = Path(environment["AIRFLOW_HOME"])
    home.mkdir(mode=0o700, exist_ok=True)
    _prepare_database(context, environment)
    for name, arguments in PARTS.items():
        context.ensure(_spec(folder, name, arguments, home, environment))


def finish(context: Context) -> None:
    """Wait until Airflow is well, start the worker, and wait until it has reported.

    Raises:
        UnavailableError: a part ended, or is not well in time.
    """
    folder, state = context.folder, context.state
    base = url(state.ports[NAME])
    processes.wait_ready("Airflow's API server", state.processes[API], lambda: _unreachable(base), READY_S)
    if not context.runs(WORKER):
        # A name is refused while a worker of that name seems alive, which one that was killed does for a while.
        state.done["worker-name"] = f"garam-{QUEUE}-{secrets.token_hex(3)}"
    name = state.done["worker-name"]
    environment = _worker_environment(context)
    home = Path(environment["AIRFLOW_HOME"])
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    artifacts = home.parent / "artifacts"
    if not artifacts.is_symlink():
        artifacts.symlink_to(folder.path / "artifacts")
    if not context.runs(WORKER):
        for stale in home.glob("*.pid"):
            stale.unlink()
    arguments = ["edge", "worker", "-q", QUEUE, "-c", "1", "-H", name]
    context.ensure(_spec(folder, WORKER, arguments, home, environment))
    for part in (*PARTS, WORKER):
        record = state.processes[part]
        processes.wait_ready(part, record, lambda part=part: missing(folder, state, part), READY_S)  # type: ignore[misc]


def missing(folder: StateFolder, state: StackState, part: str) -> str | None:
    """What is wrong with a part; None when nothing is."""
    if part == WORKER:
        return _worker_missing(folder, state)
    health = _health(url(state.ports[NAME]))
    if health is None:
        return "the API server does not answer"
    key = {API: "metadatabase"}.get(part, part.removeprefix("airflow-").replace("-", "_"))
    said = health.get(key, {}).get("status")
    return None if said == "healthy" else f"Airflow says that it is {said or 'not there'}"


def _spec(
    folder: StateFolder, name: str, arguments: list[str], home: Path, environment: Mapping[str, str]
) -> processes.Spec:
    return processes.Spec(
        name=name,
        command=[sys.executable, "-m", "airflow", *arguments],
        cwd=home,
        log=folder.path / "logs" / f"{name}.log",
        stack=folder.path,
        user=ServiceUser(None),
        env=dict(environment),
        inherit=_for_worker if name == WORKER else _for_airflow,
    )


def _for_airflow(key: str) -> bool:
    # AIRFLOW__*: settings of another Airflow of the same user. GARAM_*__*: see _remember_configuration.
    return not key.startswith("AIRFLOW") and not _is_configuration(key)


def _for_worker(key: str) -> bool:
    return _for_airflow(key) and not key.startswith(KEPT_FROM_WORKER) and "PASSWORD" not in key


def _is_configuration(key: str) -> bool:
    return key == "GARAM_CONFIG" or (key.startswith("GARAM_") and "__" in key)


def _remember_configuration(state: StackState) -> None:
    """Which ``config.yaml`` and overrides the tasks see: those of this call, if it names any, else the last ones.

    So that a bare ``garam up`` after a crash goes on with what the loop was running with.
    """
    said = {key: value for key, value in os.environ.items() if _is_configuration(key)}
    if "GARAM_CONFIG" in said:
        said["GARAM_CONFIG"] = str(Path(said["GARAM_CONFIG"]).expanduser().absolute())
    if said:
        state.configuration = said
    elif not state.configuration:
        here = next((one for one in (Path.cwd(), REPOSITORY) if (one / "config.yaml").exists()), None)
        state.configuration = {"GARAM_CONFIG": str(here / "config.yaml")} if here else {}


def _shared_environment(context: Context, home: Path) -> dict[str, str]:
    """What Airflow and its worker have in common."""
    folder, options, port = context.folder, context.options, context.state.ports[NAME]
    dags = Path(options.dags or REPOSITORY / "dags")
    if not dags.is_dir():
        raise ConfigError(f"There is no DAG folder {dags}.")
    settings = {
        **SETTINGS,
        "CORE__DAGS_FOLDER": str(dags),
        "CORE__PLUGINS_FOLDER": str(options.plugins or REPOSITORY / "plugins"),
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__EXECUTION_API_SERVER_URL": f"{url(port)}/execution/",
        # A machine that sleeps for a while must not end the worker, whose request is then too old.
        "API_AUTH__JWT_LEEWAY": "3600",
        "SCHEDULER__USE_JOB_SCHEDULE": str(options.schedule),
        "LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "API__PORT": str(port),
        "API__BASE_URL": url(port),
        "API_AUTH__JWT_SECRET": folder.secret("airflow-jwt", lambda: secrets.token_hex(64)),
        "EDGE__API_URL": f"{url(port)}/edge_worker/v1/rpcapi",
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    python_path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return {
        **{f"AIRFLOW__{key}": value for key, value in settings.items()},
        "AIRFLOW_HOME": str(home),
        "PATH": path,
        "PYTHONPATH": python_path,
        "PYTHONUNBUFFERED": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # a training step takes five times as long beside other work without it
        "SPT_NOENV": "1",  # titles of processes must not overwrite the environment: strays are found by it
        "NO_PROXY": ",".join(filter(None, [ports.LOOPBACK, "localhost", os.environ.get("NO_PROXY")])),
        **context.state.configuration,
        **options.environment,
    }


def _environment(context: Context) -> dict[str, str]:
    folder, port = context.folder, context.state.ports[postgres.NAME]
    database = postgres.url(port, NAME, folder.secret("postgres-airflow"), NAME)
    return {
        **_shared_environment(context, folder.path / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__CORE__FERNET_KEY": folder.secret("airflow-fernet", _fernet_key),
        "AIRFLOW__API__SECRET_KEY": folder.secret("airflow-session"),
        "GARAM_STATE": str(folder.path),
    }


def _worker_environment(context: Context) -> dict[str, str]:
    # A state folder of its own, with nothing in it but the way to the artifacts: the addresses and passwords of the
    # services are not to be found from there. The database is one that would not open if anything asked for it.
    own = context.folder.path / "worker"
    return {
        **_shared_environment(context, own / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nonexistent/garam-worker-has-no-database.db",
        "GARAM_STATE": str(own),
    }


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _new_login(password: str) -> list[str]:
    """Airflow's arguments that make the login."""
    user = ["users", "create", "--username", USERNAME, "--role", "Admin", "--email", "admin@localhost"]
    # In one argument: a password that begins with a dash is an option otherwise.
    return [*user, "--firstname", "Garam", "--lastname", "Admin", f"--password={password}"]


def _prepare_database(context: Context, environment: dict[str, str]) -> None:
    """Migrate Airflow's database and make the login, once for each version of Airflow."""
    version = importlib.metadata.version("apache-airflow-core")
    if context.state.done.get("airflow-database") == version:
        return
    context.progress(f"preparing the database of Airflow {version}")
    password = context.folder.secret("airflow-admin")
    user = _new_login(password)
    log = context.folder.path / "logs" / "airflow-database.log"
    inherited = {key: value for key, value in os.environ.items() if _for_airflow(key)}
    # Without it the list of plugins, and so the link to Garam's page, is for the roles Op and Admin alone.
    readers = ["roles", "add-perms", "Viewer", "User", "-a", "can_read", "-r", "Plugins"]
    for arguments in (["db", "migrate"], user, readers):
        with log.open("ab") as file:
            done = subprocess.run(
                [sys.executable, "-m", "airflow", *arguments],
                cwd=environment["AIRFLOW_HOME"],
                env={**inherited, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise UnavailableError(
                f"Airflow's database could not be prepared: {processes.last_words(log)} (log: {log})."
            )
    context.state.done["airflow-database"] = version
    context.folder.save(context.state)


def _health(base: str) -> dict[str, Any] | None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{base}/api/v2/monitor/health", timeout=5) as response:
            said: dict[str, Any] = json.load(response)
            return said
    except (OSError, ValueError):
        return None


def _unreachable(base: str) -> str | None:
    return "it does not answer" if _health(base) is None else None


def _worker_missing(folder: StateFolder, state: StackState) -> str | None:
    """Whether the worker has reported, as Airflow's own table says: the API asks for a login to tell."""
    import psycopg2

    name, port = state.done.get("worker-name", ""), state.ports[postgres.NAME]
    query = "SELECT state, last_update > now() - interval '60 seconds' FROM edge_worker WHERE worker_name = %s"
    try:
        connection = psycopg2.connect(postgres.dsn(port, NAME, folder.secret("postgres-airflow"), NAME))
        try:
            with connection.cursor() as cursor:
                cursor.execute(query, (name,))
                row = cursor.fetchone()
        finally:
            connection.close()
    except psycopg2.Error as error:
        return str(error).strip().splitlines()[-1]
    if row is None:
        return "it has not reported to the API server yet"
    well = row[0] in ("idle", "running", "starting") and row[1]
    return None if well else f"its last report says {row[0]}" + ("" if row[1] else ", over a minute ago")
