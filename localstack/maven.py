"""Downloading the artifacts of a lock from Maven Central, each checked against its SHA-256."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from localstack.state import Progress
from pipeline.errors import ConfigError, CorruptArtifactError, UnavailableError

TIMEOUT_S = 120
TRIES = 3
AT_ONCE = 8


@dataclass(frozen=True)
class Artifact:
    """One line of the lock: where it goes, what it is called, what its bytes must hash to."""

    folder: str
    coordinate: str  # group:artifact:version[:classifier][@packaging]
    sha256: str

    @property
    def packaging(self) -> str:
        """The file's type: jar or zip."""
        return self.coordinate.partition("@")[2] or "jar"

    @property
    def filename(self) -> str:
        """The file's name in a Maven repository."""
        _, name, version, *classifier = self.coordinate.partition("@")[0].split(":")
        return "-".join([name, version, *classifier]) + f".{self.packaging}"


def read_lock(path: Path) -> list[Artifact]:
    """The artifacts of a lock file (tab separated, with a header)."""
    with path.open(newline="") as file:
        return [Artifact(*row) for row in list(csv.reader(file, delimiter="\t"))[1:]]


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(artifacts: Iterable[Artifact], store: Path, progress: Progress) -> dict[Artifact, Path]:
    """Have every artifact in ``store``, under the hash of its content, and say where.

    What is already there is not downloaded again: an interrupted run continues.

    Raises:
        UnavailableError: one cannot be downloaded.
        CorruptArtifactError: the bytes of one are not those of the lock.
    """
    wanted = list(artifacts)
    paths = {one: store / f"{one.sha256}.{one.packaging}" for one in wanted}
    todo = [one for one in wanted if not paths[one].exists()]
    try:
        store.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"The cache {store} cannot be made ({error.strerror}); set GARAM_CACHE to a writable folder."
        raise ConfigError(message) from error
    # It warns of checksum files that some mirrors lack; ours is the check that counts.
    logging.getLogger("jgo").setLevel(logging.ERROR)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(_fetch_one, one, paths[one]) for one in todo]
        try:
            for number, done in enumerate(as_completed(running), 1):
                done.result()
                if number % 20 == 0 or number == len(running):
                    progress(f"downloaded {number} of {len(running)} parts")
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return paths


def _fetch_one(one: Artifact, target: Path) -> None:
    # In a folder of its own: jgo writes in place, so what an interrupted download leaves would pass for the whole.
    for attempt in range(1, TRIES + 1):
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="part-") as scratch:
            try:
                path = _download(one, Path(scratch))
            except Exception as error:  # whatever its HTTP library raises
                if attempt == TRIES:
                    raise UnavailableError(
                        f"{one.coordinate} could not be downloaded from Maven Central"
                        f" ({type(error).__name__}: {error}); OpenSearch needs it once: connect this machine,"
                        " or set GARAM_MAVEN to a mirror's address."
                    ) from error
                time.sleep(attempt)
                continue
            found = sha256(path)
            if found != one.sha256:
                raise CorruptArtifactError(
                    f"{one.coordinate} was downloaded with SHA-256 {found}, but the lock says {one.sha256}:"
                    " it was not used; look at who answers for Maven Central here."
                )
            with contextlib.suppress(OSError):
                path.chmod(0o644)
            shutil.move(path, target)
            return


def _download(one: Artifact, folder: Path) -> Path:
    from jgo.maven import MavenContext

    mirror = os.environ.get("GARAM_MAVEN")
    context = MavenContext(repo_cache=folder, timeout=TIMEOUT_S, remote_repos={"mirror": mirror} if mirror else None)
    group, name, version, *classifier = one.coordinate.partition("@")[0].split(":")
    component = context.project(group, name).at_version(version)
    artifact = component.artifact(classifier=classifier[0] if classifier else "", packaging=one.packaging)
    path = context.resolver.download(artifact)
    if path is None:
        raise FileNotFoundError("no such artifact")
    return Path(path)
