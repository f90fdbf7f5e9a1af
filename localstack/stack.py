"""The whole local stack: ``up``, ``status``, ``down``."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

from localstack import airflow, folders, java, opensearch, opensearch_home, postgres, processes, replay
from localstack.context import Context, Options
from localstack.info import ComponentInfo, StackInfo
from localstack.state import Progress, StackState, StateFolder, file_lock
from localstack.users import service_user
from pipeline.addresses import state_folder, write_addresses
from pipeline.errors import ConfigError, UsageError

__all__ = ["COMPONENTS", "SCHEDULES", "ComponentInfo", "Options", "StackInfo", "down", "status", "up"]

COMPONENTS = ("postgres", "opensearch", "airflow")
# What uses a service ends before it.
STOP_ORDER = (("airflow-worker",), ("airflow",), ("opensearch", "postgres", "replay"))  # how their names begin
SCHEDULES = (
    "Schedules are on: crawl_news every 30 minutes, learn_daily at 00:20 and retrain_daily at 00:40 in Seoul. "
    "To hold one, pause its DAG in the Airflow UI; `garam down` stops everything."
)
LOCK_PATIENCE_S = 900.0
GRACE_S = 20.0


def _silent(_: str) -> None:
    """Say nothing."""


def up(
    components: Iterable[str] = COMPONENTS,
    progress: Progress = _silent,
    options: Options | None = None,
    folder: Path | None = None,
) -> StackInfo:
    """Start what is not running, repair what is dead, and return when all of it can be used.

    ``options`` are remembered; None keeps those of the last time. ``folder`` is the state folder, by default the one
    of ``GARAM_STATE`` or the repository.

    Raises:
        UsageError: no such component.
        ConfigError: the state folder, the cache or a setting is wrong.
        UnavailableError: something did not start or could not be downloaded.
        BusyError: another ``up`` or ``down`` takes very long.
    """
    wanted = _checked(components)
    here = StateFolder(folder or state_folder())
    here.create()
    with file_lock(here.path / "lock", progress, LOCK_PATIENCE_S, "starting or stopping the stack"):
        context = _open(here, progress, options)
        # Each is launched before any other is waited for, as far as they do not need one another.
        if "postgres" in wanted or "airflow" in wanted:
            _start_postgres(context)
        if "opensearch" in wanted:
            _launch_opensearch(context)
        write_addresses(here.path, _addresses(context))
        if "airflow" in wanted:
            airflow.launch(context)
        if context.options.replay:
            replay.launch(context)
        if "opensearch" in wanted:
            _await_opensearch(context)
        if "airflow" in wanted:
            airflow.finish(context)
        return _info(here, context.state)


def down(progress: Progress = _silent, folder: Path | None = None) -> None:
    """End every process of the stack, also those that lost their parent. Data stay."""
    here = StateFolder(folder or state_folder())
    if not here.path.exists():
        _end_strays(here, None)
        return
    here.create()
    with file_lock(here.path / "lock", progress, LOCK_PATIENCE_S, "starting or stopping the stack"):
        try:
            state = here.load()
        except ConfigError as error:
            progress(str(error))
            state = None
        if state is not None:
            for names in STOP_ORDER:
                going = {name: record for name, record in state.processes.items() if name.startswith(names)}
                if any(processes.is_alive(record) for record in going.values()):
                    progress(f"stopping {' and '.join(names)}")
                processes.stop(going.values(), GRACE_S)
                for name in going:
                    processes.end_now(processes.marked(here.path, name))
            state.processes.clear()
            here.save(state)
        write_addresses(here.path, {})
        _end_strays(here, state)


def status(folder: Path | None = None) -> StackInfo:
    """What runs, where, and how well. Starts nothing and waits for nobody."""
    here = StateFolder(folder or state_folder())
    return _info(here, here.load())


def _checked(components: Iterable[str]) -> tuple[str, ...]:
    wanted = tuple(components)
    for name in wanted:
        if name not in COMPONENTS:
            raise UsageError(f"There is no component {name!r}; there are {', '.join(COMPONENTS)}.")
    return wanted


def _open(folder: StateFolder, progress: Progress, options: Options | None) -> Context:
    """The state, made anew when there is none; then nothing of an earlier stack of this folder may still run."""
    state, user = folder.load(), service_user()
    if state is None or not Path(state.service_root).exists():
        _end_strays(folder, state)
        identity = secrets.token_hex(8)
        root = folders.service_root(folder.path, identity, user)
        had = state.ports if state else {}
        state = StackState(id=identity, service_root=str(root), ports=had)
    if options is not None:
        state.options = options.to_json()
    folder.save(state)
    return Context(
        folder=folder,
        state=state,
        user=user,
        root=Path(state.service_root),
        cache=folders.cache(user),
        progress=progress,
        options=Options.from_json(state.options),
    )


def _start_postgres(context: Context) -> None:
    folder, state = context.folder, context.state
    data = postgres.data_folder(context.root)
    if not context.runs(postgres.NAME):
        context.claim_ports(postgres.NAME, postgres.NAME, postgres_data=data)
        postgres.forget_dead_server(context.root)
    port, password = state.ports[postgres.NAME], folder.secret("postgres")
    bin_folder = postgres.binaries(context.user, context.cache)
    postgres.initialise(context.root, bin_folder, password, context.user)
    settings = context.options.postgres_settings
    spec = postgres.spec(folder, context.root, bin_folder, port, context.user, settings)
    record = context.ensure(spec, postgres_data=data)
    processes.wait_ready("PostgreSQL", record, lambda: postgres.missing(port, password), postgres.READY_S)
    postgres.ensure_databases(folder, port)


def _launch_opensearch(context: Context) -> None:
    home = opensearch_home.build(context.cache, context.progress)
    found = java.find(context.user, context.cache, context.progress)
    context.claim_ports(opensearch.NAME, opensearch.NAME, "opensearch-transport")
    opensearch.configure(context.root, context.state.ports, context.user)
    context.ensure(opensearch.spec(context.folder, context.root, home, found, context.user))


def _await_opensearch(context: Context) -> None:
    base = opensearch.url(context.state.ports[opensearch.NAME])
    record = context.state.processes[opensearch.NAME]
    processes.wait_ready("OpenSearch", record, lambda: opensearch.missing(base), opensearch.READY_S)


def _addresses(context: Context) -> dict[str, str]:
    """The addresses of what has been started, as `pipeline.addresses` reads them."""
    state, addresses = context.state, {}
    if postgres.NAME in state.processes:
        addresses["database"] = _database_url(context.folder, state)
    if opensearch.NAME in state.processes:
        addresses["opensearch"] = opensearch.url(state.ports[opensearch.NAME])
    return addresses


def _database_url(folder: StateFolder, state: StackState) -> str:
    return postgres.url(state.ports[postgres.NAME], "garam", folder.secret("postgres-garam"), "garam")


def _end_strays(folder: StateFolder, state: StackState | None) -> None:
    """End what carries this stack's mark, whether or not there is a record of it."""
    roots = [Path(state.service_root)] if state else [folder.path / "services", folders.outside_root(folder.path)]
    for root in roots:
        processes.end_now(processes.marked(folder.path, postgres_data=postgres.data_folder(root)))


def _info(folder: StateFolder, state: StackState | None) -> StackInfo:
    info = StackInfo(state_folder=str(folder.path))
    if state is None:
        return info
    info.service_root = state.service_root
    for name, record in state.processes.items():
        running = processes.is_alive(record)
        one = ComponentInfo(name, "ok" if running else "stopped", log=record.log)
        if running:
            one.pid = record.pid
            one.memory_mb = round(processes.memory_mb(processes.family(record)), 1)
            one.health = _health(folder, state, name) or "ok"
        info.components.append(one)
    if postgres.NAME in state.processes:
        info.postgres_url = _database_url(folder, state)
    if opensearch.NAME in state.processes:
        info.opensearch_url = opensearch.url(state.ports[opensearch.NAME])
    if replay.NAME in state.processes:
        info.replay_url = replay.url(state.ports[replay.NAME])
    if airflow.API in state.processes:
        info.airflow_url = airflow.url(state.ports[airflow.NAME])
        info.airflow_username = airflow.USERNAME
        info.airflow_password_file = str(folder.secret_file("airflow-admin"))
    return info


def _health(folder: StateFolder, state: StackState, name: str) -> str | None:
    """What is wrong with a running component; None when nothing is."""
    if name == postgres.NAME:
        return postgres.missing(state.ports[name], folder.secret("postgres"))
    if name == opensearch.NAME:
        return opensearch.missing(opensearch.url(state.ports[name]))
    if name == replay.NAME:
        return replay.missing(state.ports[name])
    return airflow.missing(folder, state, name)
