"""What is downloaded is checked, kept, and continued; the server here is real, on loopback."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from localstack import maven, opensearch_home
from localstack.maven import Artifact
from pipeline.errors import ConfigError, CorruptArtifactError, UnavailableError

JAR = b"not really a jar"


def silent(_: str) -> None:
    pass


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a Maven repository that Garam is told to use."""
    root = tmp_path / "repository"
    root.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("GARAM_MAVEN", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(maven.time, "sleep", lambda _: None)
    yield root
    server.shutdown()
    server.server_close()


def publish(repository: Path, name: str, content: bytes = JAR) -> Artifact:
    folder = repository / "org" / "example" / name / "1.0"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-1.0.jar").write_bytes(content)
    (folder / f"{name}-1.0.jar.sha1").write_text(hashlib.sha1(content).hexdigest())
    return Artifact("lib", f"org.example:{name}:1.0", hashlib.sha256(JAR).hexdigest())


def test_a_right_artifact_is_kept_under_its_hash(repository: Path, tmp_path: Path) -> None:
    one = publish(repository, "one")
    paths = maven.fetch([one], tmp_path / "store", silent)
    assert paths[one].read_bytes() == JAR
    (repository / "org").rename(repository / "gone")
    assert maven.fetch([one], tmp_path / "store", silent) == paths, "a second time, nothing is asked for"


def test_a_wrong_checksum_is_refused_and_not_kept(repository: Path, tmp_path: Path) -> None:
    one = publish(repository, "one", JAR + b"!")
    with pytest.raises(CorruptArtifactError, match=r"org.example:one:1.0 was downloaded with SHA-256 .* but the lock"):
        maven.fetch([one], tmp_path / "store", silent)
    assert list((tmp_path / "store").iterdir()) == []


def test_what_is_not_there_is_one_sentence(repository: Path, tmp_path: Path) -> None:
    missing = Artifact("lib", "org.example:none:1.0", "0" * 64)
    with pytest.raises(UnavailableError, match=r"org.example:none:1.0 could not be downloaded from Maven Central"):
        maven.fetch([missing], tmp_path / "store", silent)


def test_a_build_that_failed_leaves_no_home_and_keeps_what_it_has(repository: Path, tmp_path: Path) -> None:
    one, two = publish(repository, "one"), publish(repository, "two")
    (repository / "org/example/two/1.0/two-1.0.jar").unlink()
    lock = tmp_path / "lock.tsv"
    lines = [f"{part.folder}\t{part.coordinate}\t{part.sha256}" for part in (one, two)]
    lock.write_text("\n".join(["folder\tcoordinate\tsha256", *lines]))
    with pytest.raises(UnavailableError, match=r"org.example:two:1.0 could not be downloaded"):
        opensearch_home.build(tmp_path / "cache", silent, lock)
    assert not list((tmp_path / "cache").glob("opensearch-3*")), "half a home is no home"


def test_a_cache_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be made .*; set GARAM_CACHE to a writable folder"):
        maven.fetch([], tmp_path / "file" / "cache", silent)


def test_the_lock_has_a_hash_for_everything() -> None:
    artifacts = maven.read_lock(opensearch_home.LOCK)
    assert len(artifacts) == 120
    assert all(len(one.sha256) == 64 for one in artifacts)
    assert len({(one.folder, one.filename) for one in artifacts}) == 120
