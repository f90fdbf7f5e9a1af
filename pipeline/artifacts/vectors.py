"""Dense vectors of texts' windows as artifacts, keyed by the text they encode.

Keyed by content, so that no text is encoded twice: made once a text and dense encoder, whatever tables are learned over
them; learning, evaluation and serving share them. A document's sparse vector is a product of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CorruptArtifactError

SMALL, MANY = 4096, 16
"""Texts below which an artifact of dense vectors is small, and how many small ones are put together into one."""


def text_key(text: str) -> str:
    """Identity of a text: the first 32 hex digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class DenseVectors:
    """``matrix`` (windows, H) float16 of the windows of n texts: those of the text whose `text_key` is ``keys[i]`` from
    ``starts[i]`` to ``starts[i + 1]``. ``encoder`` names the dense encoder and its windows
    (`pipeline.encoder.Encoder.dense_identity`)."""

    encoder: str
    keys: list[str]
    starts: NDArray[np.int64]
    matrix: NDArray[np.float16]

    @classmethod
    def of(
        cls, encoder: str, texts: Sequence[str], starts: NDArray[np.int64], vectors: NDArray[np.floating]
    ) -> DenseVectors:
        """Vectors of texts; ``vectors`` (windows, H) of any precision."""
        keys = [text_key(text) for text in texts]
        return cls(encoder, keys, np.asarray(starts, np.int64), np.asarray(vectors, np.float16))

    @classmethod
    def join(cls, parts: Sequence[DenseVectors]) -> DenseVectors:
        """All of some vectors of one encoder, one at least; a text that several have is there several times."""
        sizes = np.concatenate([np.diff(part.starts) for part in parts])
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        keys = [key for part in parts for key in part.keys]
        return cls(parts[0].encoder, keys, starts, np.concatenate([part.matrix for part in parts]))

    @cached_property
    def _row(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}

    def missing(self, texts: Sequence[str]) -> list[str]:
        """The texts that have no vectors, each once, in their order."""
        return list({key: text for text in texts if (key := text_key(text)) not in self._row}.values())

    def rows(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Vectors (windows, H) float32 of the texts, in their order, and where each text's start (n + 1,); KeyError
        when one was never encoded."""
        return self._take([self._row[text_key(text)] for text in texts])

    def _take(self, rows: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        chosen = np.asarray(rows, np.int64)
        sizes = np.diff(self.starts)[chosen]
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        places = np.repeat(self.starts[:-1][chosen] - starts[:-1], sizes) + np.arange(starts[-1])
        return np.asarray(self.matrix[places], np.float32), starts

    def only(self, texts: Sequence[str]) -> DenseVectors:
        """The vectors of those of the texts that have some, each once."""
        wanted = dict.fromkeys(key for text in texts if (key := text_key(text)) in self._row)
        return self._keep(list(wanted))

    def without(self, keys: Collection[str]) -> DenseVectors:
        """The vectors but those of the texts with these `text_key`s."""
        return self._keep([key for key in self._row if key not in keys])

    def _keep(self, keys: list[str]) -> DenseVectors:
        vectors, starts = self._take([self._row[key] for key in keys])
        return DenseVectors(self.encoder, keys, starts, vectors.astype(np.float16))

    def write(self, folder: Path) -> None:
        """Files of the artifact: ``dense.json`` and two arrays, which are read without loading them into memory."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "windows.npy", self.matrix)
        np.save(folder / "starts.npy", self.starts)
        (folder / "dense.json").write_text(json.dumps({"encoder": self.encoder, "keys": self.keys}), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> DenseVectors:
        """The vectors stored in an artifact's folder."""
        try:
            meta = json.loads((folder / "dense.json").read_text(encoding="utf-8"))
            starts = np.load(folder / "starts.npy", allow_pickle=False)
            matrix = np.load(folder / "windows.npy", allow_pickle=False, mmap_mode="r")
            encoder, keys = str(meta["encoder"]), list(meta["keys"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise CorruptArtifactError(f"{folder} holds no readable dense vectors ({error})") from error
        if len(starts) != len(keys) + 1 or starts[-1] != len(matrix):
            raise CorruptArtifactError(f"{folder}: {len(matrix)} windows do not fit {len(keys)} texts")
        return cls(encoder, keys, starts, matrix)


def to_merge(sizes: Mapping[str, int]) -> list[str]:
    """Which artifacts to put into the next one, of those kept (name -> texts): the small ones, once they are many."""
    small = [name for name, texts in sizes.items() if texts < SMALL]
    return small if len(small) >= MANY else []


class KeptVectors:
    """All vectors that are kept of one dense encoder, in several artifacts; arrays stay on disk until they are asked
    for. ``parts`` may share texts: the newest part's count."""

    def __init__(self, encoder: str, parts: Iterable[DenseVectors] = ()) -> None:
        self.encoder = encoder
        self._parts: list[DenseVectors] = []
        self._part: dict[str, int] = {}
        for part in parts:
            self.add(part)

    def __len__(self) -> int:
        return len(self._part)

    def add(self, part: DenseVectors) -> None:
        """Have these, too; those of another encoder are left out."""
        if part.encoder == self.encoder:
            self._part.update(dict.fromkeys(part.keys, len(self._parts)))
            self._parts.append(part)

    def missing(self, texts: Iterable[str]) -> list[str]:
        """The texts that have no vectors, each once, in their order."""
        return list({key: text for text in texts if (key := text_key(text)) not in self._part}.values())

    def only(self, texts: Iterable[str]) -> DenseVectors | None:
        """The vectors of those of the texts that have some; None where none has."""
        wanted: dict[int, list[str]] = {}
        for text in texts:
            part = self._part.get(text_key(text))
            if part is not None:
                wanted.setdefault(part, []).append(text)
        if not wanted:
            return None
        return DenseVectors.join([self._parts[number].only(some) for number, some in sorted(wanted.items())])
