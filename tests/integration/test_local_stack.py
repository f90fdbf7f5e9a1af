"""The local stack: started twice without harm, repaired, stopped without leftovers. PostgreSQL stands for all here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from localstack import folders, ports, postgres, processes, stack
from localstack.context import Options
from localstack.state import StateFolder
from pipeline import addresses
from pipeline.errors import ConfigError, UnavailableError, UsageError
from tests.services import FAST, libpq, remove_stack

ONLY = ["postgres"]
REPOSITORY = Path(__file__).resolve().parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The state folder of a stack for one test, which is also where commands look for it."""
    base = Path(tempfile.mkdtemp(prefix="garam-launch-"))
    base.chmod(0o755)
    monkeypatch.setenv("GARAM_STATE", str(base / "state"))
    yield base / "state"
    remove_stack(base / "state")
    shutil.rmtree(base, ignore_errors=True)


def up() -> stack.StackInfo:
    return stack.up(ONLY, options=Options(postgres_settings=FAST))


def ask(url: str, statement: str) -> object:
    connection = psycopg2.connect(libpq(url))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone() if cursor.description else None
    finally:
        connection.close()


def pid(folder: Path) -> int:
    state = StateFolder(folder).load()
    assert state is not None
    return state.processes["postgres"].pid


def leftovers(folder: Path) -> list[int]:
    roots = (folder / "services", folders.outside_root(folder))
    return [one.pid for root in roots for one in processes.marked(folder, "", postgres.data_folder(root))]


def test_up_twice_is_one_stack_and_quick(folder: Path) -> None:
    first = up()
    began = time.monotonic()
    second = up()
    assert time.monotonic() - began < 3
    assert first.healthy
    assert [one.pid for one in first.components] == [one.pid for one in second.components]
    assert second.components[0].memory_mb > 5


def test_down_leaves_no_process_and_keeps_data_and_port(folder: Path) -> None:
    url = up().postgres_url
    assert url is not None
    ask(url, "CREATE TABLE kept AS SELECT 1 AS one")
    stack.down()
    assert leftovers(folder) == []
    assert stack.status().components == []
    stack.down()  # a second time: nothing to do
    assert up().postgres_url == url
    assert ask(url, "SELECT one FROM kept") == (1,)


def test_what_was_killed_is_repaired(folder: Path) -> None:
    url = up().postgres_url
    assert url is not None
    before = pid(folder)
    os.kill(before, signal.SIGKILL)
    time.sleep(0.2)
    info = stack.status()
    assert [one.health for one in info.components] == ["stopped"]
    assert not info.healthy
    assert up().healthy
    assert pid(folder) != before
    assert ask(url, "SELECT 1") == (1,)


def test_down_after_a_kill_leaves_nothing(folder: Path) -> None:
    up()
    os.kill(pid(folder), signal.SIGKILL)
    stack.down()
    assert leftovers(folder) == []


def test_a_pid_that_somebody_else_has_now_is_not_touched(folder: Path) -> None:
    up()
    stack.down()
    here = StateFolder(folder)
    state = here.load()
    assert state is not None
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        state.processes["postgres"] = processes.ProcessRecord(stranger.pid, "1", "f", str(folder / "logs" / "x.log"))
        here.save(state)
        assert up().healthy
        stack.down()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_port_taken_by_somebody_else_is_chosen_anew(folder: Path) -> None:
    first = up().postgres_url
    stack.down()
    state = StateFolder(folder).load()
    assert state is not None
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind((ports.LOOPBACK, state.ports["postgres"]))
        squatter.listen()
        second = up()
    assert second.healthy
    assert second.postgres_url != first


def test_deleting_the_folder_of_a_running_stack_does_no_harm(folder: Path) -> None:
    up()
    before = pid(folder)
    shutil.rmtree(folder, ignore_errors=True)
    assert up().healthy
    assert processes.start_time(before) is None, "the one whose files are gone was ended"


def test_two_at_once_make_one_stack(folder: Path) -> None:
    command = [sys.executable, "-m", "localstack", "up", "--only", "postgres", "--json"]
    running = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) for _ in range(2)]
    said = [json.loads(one.communicate(timeout=120)[0]) for one in running]
    assert [one.returncode for one in running] == [0, 0]
    assert said[0]["components"][0]["pid"] == said[1]["components"][0]["pid"]


def test_changed_settings_restart_it(folder: Path) -> None:
    up()
    before = pid(folder)
    info = stack.up(ONLY, options=Options(postgres_settings={**FAST, "work_mem": "9MB"}))
    assert pid(folder) != before
    assert info.postgres_url is not None
    assert ask(info.postgres_url, "SHOW work_mem") == ("9MB",)
    stack.up(ONLY)
    assert ask(info.postgres_url, "SHOW work_mem") == ("9MB",), "options are remembered"


def test_secrets_can_be_read_by_their_owner_only(folder: Path) -> None:
    up()
    files = [folder / "stack.json", *(folder / "secrets").iterdir()]
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}
    assert len({one.read_text() for one in files}) == len(files)


def test_it_listens_on_loopback_only(folder: Path) -> None:
    up()
    listening = [one for one in psutil.Process(pid(folder)).net_connections("all") if one.status == "LISTEN"]
    assert [one.laddr[0] for one in listening] == ["127.0.0.1"]


def test_the_rest_of_garam_finds_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnavailableError, match="run `garam up`, or set GARAM_DATABASE_URL"):
        addresses.database_url()
    url = up().postgres_url
    assert addresses.database_url() == url
    with pytest.raises(UnavailableError, match="run `garam up`, or set GARAM_OPENSEARCH_URL"):
        addresses.opensearch_url()
    monkeypatch.setenv("GARAM_DATABASE_URL", "postgresql://elsewhere/garam")
    assert addresses.database_url() == "postgresql://elsewhere/garam"


def test_the_password_is_not_printed(folder: Path) -> None:
    url = up().postgres_url
    assert url is not None
    password = url.partition("@")[0].rpartition(":")[2]
    assert password not in json.dumps(stack.status().to_json())


def test_a_spoilt_state_file_is_one_sentence_and_down_still_works(folder: Path) -> None:
    up()
    (folder / "stack.json").write_text("{")
    with pytest.raises(ConfigError, match=r"stack.json cannot be read .*; run `garam down`, then delete .*\.$"):
        up()
    stack.down()
    assert leftovers(folder) == []


def test_a_component_that_does_not_exist_is_wrong_use(folder: Path) -> None:
    with pytest.raises(UsageError, match="There is no component 'mysql'"):
        stack.up(["mysql"])


def test_a_folder_that_cannot_be_made_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GARAM_STATE", "/proc/nowhere")
    with pytest.raises(ConfigError, match="The state folder /proc/nowhere cannot be made"):
        up()


@as_root
def test_root_starts_services_as_nobody(folder: Path) -> None:
    up()
    assert (Path("/proc") / str(pid(folder))).stat().st_uid == 65534


@as_root
def test_a_folder_that_others_cannot_enter_gets_its_data_elsewhere(folder: Path) -> None:
    folder.parent.chmod(0o700)
    info = up()
    assert info.healthy
    assert info.service_root == str(folders.outside_root(folder))
    stack.down()
    assert leftovers(folder) == []


@as_root
def test_an_unprivileged_user_can_do_it_too(folder: Path) -> None:
    python = _python_of_nobody()
    if python is None:
        pytest.skip("no Python with these packages can be run by another user here")
    folder.parent.chmod(0o777)
    environment = {**os.environ, **PACKAGES, "GARAM_CACHE": str(folder.parent / "cache")}
    done: dict[str, subprocess.CompletedProcess[str]] = {}
    for action in ("up", "status", "down"):
        command = [python, "-m", "localstack", action, "--only", "postgres", "--json"]
        done[action] = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, **_NOBODY
        )
        assert done[action].returncode == 0, done[action].stderr
    assert json.loads(done["status"].stdout)["healthy"]
    assert leftovers(folder) == []


_NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}
# The environment's interpreter may lie in root's home; another of the same version can use its packages.
PACKAGES = {"PYTHONPATH": sysconfig.get_path("purelib"), "PYTHONDONTWRITEBYTECODE": "1"}


def _python_of_nobody() -> str | None:
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        command = [python, "-c", "import localstack.stack"]
        try:
            done = subprocess.run(
                command, cwd=REPOSITORY, env={**os.environ, **PACKAGES}, capture_output=True, check=False, **_NOBODY
            )
        except OSError:
            continue
        if done.returncode == 0:
            return python
    return None
