"""Java is found where it is, and its absence is told in a sentence."""

from __future__ import annotations

from pathlib import Path

import cjdk
import pytest

from localstack import java
from localstack.users import ServiceUser
from pipeline.errors import ConfigError, UnavailableError

ME = ServiceUser(None)


def silent(_: str) -> None:
    pass


@pytest.fixture(autouse=True)
def _no_java_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENSEARCH_JAVA_HOME", "JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(java.shutil, "which", lambda _: None)
    monkeypatch.setattr(java, "FOLDERS", (tmp_path / "jvm",))


def install(home: Path, said: str) -> Path:
    """A program that says what a Java of that version says."""
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{said}\"' >&2\n")
    program.chmod(0o755)
    return home


@pytest.mark.parametrize(("said", "number"), [("1.8.0_402", 8), ("17.0.15", 17), ("25", 25), ("21.0.2-ea", 21)])
def test_versions_are_understood(tmp_path: Path, said: str, number: int) -> None:
    assert java.version(install(tmp_path / "java", said), ME) == number


def test_the_first_that_is_new_enough_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(install(tmp_path / "old", "17.0.15")))
    found = install(tmp_path / "jvm" / "temurin-25", "25.0.1")
    assert java.find(ME, tmp_path, silent) == found


def test_a_chosen_one_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_JAVA_HOME", str(install(tmp_path / "old", "17.0.15")))
    with pytest.raises(ConfigError, match=r"has Java 17; OpenSearch needs 21 or newer\.$"):
        java.find(ME, tmp_path, silent)


def test_none_at_all_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**_: object) -> Path:
        raise ConnectionError("no route")

    monkeypatch.setattr(cjdk, "java_home", offline)
    old = install(tmp_path / "jvm" / "java-17", "17.0.15")
    with pytest.raises(
        UnavailableError, match=rf"needs Java 21 or newer: found 17 in {old}, .*OPENSEARCH_JAVA_HOME\.$"
    ):
        java.find(ME, tmp_path, silent)
