"""The artifact store: immutable folders whose names contain the hash of their content.

An artifact is a folder of files plus ``manifest.json`` (relative path -> SHA-256 and size). Its name is
``<kind>-<first 20 hex digits of the manifest's SHA-256>``, so the same content has the same name, a second
``put`` is free, and what was half written never has a name. The store is a local folder or any fsspec URL
(``s3://bucket/garam``); remote artifacts are verified and cached on first use.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import BadInputError, CorruptArtifactError, UnavailableError, UsageError

MANIFEST = "manifest.json"
_NAME = re.compile(r"[a-z][a-z0-9_-]*-[0-9a-f]{20}")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _manifest(folder: Path) -> bytes:
    files = {
        path.relative_to(folder).as_posix(): {"sha256": file_sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    if not files:
        raise BadInputError(f"{folder} holds no file: an empty artifact is never stored")
    return json.dumps(files, sort_keys=True, ensure_ascii=False, indent=1).encode()


def _sync(folder: Path) -> None:
    """Make a folder's files durable before it gets its name (a power cut must not leave a name without bytes)."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())


class Artifacts:
    """An artifact store at ``root`` (a folder or an fsspec URL); ``cache`` holds copies of remote artifacts."""

    def __init__(self, root: str | Path, cache: Path | None = None) -> None:
        self.root = str(root)
        self._remote: Any = None
        if "://" in self.root and not self.root.startswith("file://"):
            import fsspec  # only where a remote store is configured

            self._remote, self._prefix = fsspec.core.url_to_fs(self.root)
            self._folder = cache or Path(tempfile.gettempdir()) / "garam-artifacts"
        else:
            self._folder = Path(self.root.removeprefix("file://"))
        self._folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A temporary folder on the store's own disk (so that ``put`` is a rename), removed at the end."""
        with tempfile.TemporaryDirectory(prefix=".scratch-", dir=self._folder, ignore_cleanup_errors=True) as name:
            yield Path(name)

    def put(self, source: Path, kind: str) -> str:
        """Store the folder (or single file) ``source`` and return its name; ``source`` itself is left alone."""
        with self.scratch() as work:
            staged = work / "artifact"
            if source.is_dir():
                shutil.copytree(source, staged, copy_function=_link_or_copy)
            else:
                staged.mkdir()
                _link_or_copy(str(source), str(staged / source.name))
            (staged / MANIFEST).unlink(missing_ok=True)
            manifest = _manifest(staged)
            name = f"{kind}-{hashlib.sha256(manifest).hexdigest()[:20]}"
            (staged / MANIFEST).write_bytes(manifest)
            target = self._folder / name
            if target.exists():
                os.utime(target / MANIFEST)  # wanted again: `stored` gives its age, and prune goes by it
            else:
                _sync(staged)
                try:
                    staged.rename(target)
                except OSError:
                    # Somebody else stored the same content between the check and the rename.
                    if not target.exists():
                        raise
            if self._remote is not None:
                self._upload(name, target)
        return name

    def put_json(self, value: Any, kind: str, filename: str = "value.json") -> str:
        """Store one JSON value as an artifact of a single file."""
        with self.scratch() as work:
            (work / filename).write_text(json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1, default=str))
            return self.put(work / filename, kind)

    def get(self, name: str) -> Path:
        """The local folder of an artifact; a remote one is downloaded and verified first."""
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not the name of an artifact (kind-hash)")
        target = self._folder / name
        if not (target / MANIFEST).exists():
            if self._remote is None:
                raise BadInputError(f"artifact {name} is not in {self.root}: it was pruned or never made there")
            self._download(name, target)
        return target

    def verify(self, name: str) -> None:
        """Check every byte of an artifact against its name."""
        folder = self.get(name)
        manifest = _manifest(folder)
        if hashlib.sha256(manifest).hexdigest()[:20] != name.rsplit("-", 1)[1]:
            raise CorruptArtifactError(f"artifact {name} was changed after it was stored: delete it and make it again")

    def has(self, name: str) -> bool:
        """Whether the artifact can be had."""
        if (self._folder / name / MANIFEST).exists():
            return True
        return self._remote is not None and bool(self._remote.exists(f"{self._prefix}/{name}/{MANIFEST}"))

    def names(self, kind: str | None = None) -> list[str]:
        """Names of the artifacts held locally, sorted; ``kind`` narrows them."""
        found = (p.name for p in self._folder.iterdir() if _NAME.fullmatch(p.name))
        return sorted(n for n in found if kind is None or n.rsplit("-", 1)[0] == kind)

    def stored(self) -> dict[str, dt.datetime]:
        """Every artifact of the store, remote ones too, and when it was put there."""
        if self._remote is None:
            return {
                name: dt.datetime.fromtimestamp((self._folder / name / MANIFEST).stat().st_mtime, dt.UTC)
                for name in self.names()
            }
        found = {}
        for path in self._remote.glob(f"{self._prefix}/*/{MANIFEST}"):
            name = str(path).rsplit("/", 2)[-2]
            if _NAME.fullmatch(name):
                made = self._remote.modified(path)
                found[name] = made if made.tzinfo else made.replace(tzinfo=dt.UTC)
        return found

    def remove(self, name: str) -> None:
        """Forget an artifact here and remotely (prune calls this; nothing else does)."""
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not the name of an artifact (kind-hash)")
        shutil.rmtree(self._folder / name, ignore_errors=True)
        if self._remote is not None and self._remote.exists(f"{self._prefix}/{name}"):
            self._remote.rm(f"{self._prefix}/{name}", recursive=True)

    def _upload(self, name: str, folder: Path) -> None:
        if self._remote.exists(f"{self._prefix}/{name}/{MANIFEST}"):
            return
        try:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.name != MANIFEST:
                    self._remote.put_file(str(path), f"{self._prefix}/{name}/{path.relative_to(folder).as_posix()}")
            # The manifest goes last: its presence says that all the rest is there.
            self._remote.put_file(str(folder / MANIFEST), f"{self._prefix}/{name}/{MANIFEST}")
        except OSError as error:
            raise UnavailableError(f"the artifact store {self.root} did not take {name}: {error}") from error

    def _download(self, name: str, target: Path) -> None:
        with self.scratch() as work:
            staged = work / "artifact"
            try:
                manifest = self._remote.cat_file(f"{self._prefix}/{name}/{MANIFEST}")
                for relative in json.loads(manifest):
                    (staged / relative).parent.mkdir(parents=True, exist_ok=True)
                    self._remote.get_file(f"{self._prefix}/{name}/{relative}", str(staged / relative))
            except FileNotFoundError as error:
                raise BadInputError(f"artifact {name} is not in {self.root}") from error
            except OSError as error:
                raise UnavailableError(f"the artifact store {self.root} did not give {name}: {error}") from error
            if _manifest(staged) != manifest or hashlib.sha256(manifest).hexdigest()[:20] != name.rsplit("-", 1)[1]:
                raise CorruptArtifactError(f"artifact {name} in {self.root} does not agree with its name")
            (staged / MANIFEST).write_bytes(manifest)
            if not target.exists():
                staged.rename(target)


def _link_or_copy(source: str, target: str) -> str:
    # Copy, never hard-link: a later write through the source's name would change the stored bytes.
    return str(shutil.copyfile(source, target))
