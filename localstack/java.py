"""Finding a Java that OpenSearch 3 can run on: 21 or newer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from localstack.state import Progress
from localstack.users import ServiceUser
from pipeline.errors import ConfigError, UnavailableError

OLDEST = 21
FOLDERS = (Path("/usr/lib/jvm"), Path("/Library/Java/JavaVirtualMachines"))


def version(home: Path, user: ServiceUser) -> int | None:
    """The major version of the Java in ``home``; None when ``user`` cannot run one there."""
    try:
        command = [str(home / "bin" / "java"), "-version"]
        said = subprocess.run(
            command, cwd="/", capture_output=True, text=True, check=False, timeout=30, **user.popen
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(match[1]) if match else None


def _homes() -> Iterator[Path]:
    if "JAVA_HOME" in os.environ:
        yield Path(os.environ["JAVA_HOME"])
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path).resolve().parents[1]
    for folder in FOLDERS:
        # Newest names last in the alphabet, as a rule; any that is new enough will do.
        for home in sorted(folder.glob("*"), reverse=True):
            yield home / "Contents" / "Home" if (home / "Contents" / "Home").exists() else home


def find(user: ServiceUser, cache: Path, progress: Progress) -> Path:
    """The home of a Java that ``user`` can run. When there is none, one is downloaded into ``cache``.

    Raises:
        ConfigError: ``OPENSEARCH_JAVA_HOME`` names one that will not do.
        UnavailableError: there is none, and none could be downloaded.
    """
    chosen = os.environ.get("OPENSEARCH_JAVA_HOME")
    if chosen:
        found = version(Path(chosen), user)
        if found is None or found < OLDEST:
            what = f"Java {found}" if found else "no Java that can be run"
            raise ConfigError(
                f"OPENSEARCH_JAVA_HOME is {chosen}, which has {what}; OpenSearch needs {OLDEST} or newer."
            )
        return Path(chosen)
    seen: dict[Path, int] = {}
    for home in _homes():
        found = version(home, user)
        if found is not None and found >= OLDEST:
            return home
        if found is not None:
            seen[home] = found
    return _download(cache, seen, progress)


def _download(cache: Path, seen: dict[Path, int], progress: Progress) -> Path:
    progress(f"no Java {OLDEST} or newer is installed: downloading one")
    try:
        import cjdk

        return Path(cjdk.java_home(vendor="temurin", version=str(OLDEST), cache_dir=cache / "java"))
    except Exception as error:  # it raises whatever its HTTP library raises
        instead = ", ".join(f"{number} in {home}" for home, number in seen.items()) or "none"
        raise UnavailableError(
            f"OpenSearch needs Java {OLDEST} or newer: found {instead}, and none could be downloaded; install one"
            " (Debian: openjdk-21-jre-headless) or set OPENSEARCH_JAVA_HOME."
        ) from error
