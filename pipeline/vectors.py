"""Document vectors as an artifact: sparse rows keyed by the text they encode.

Keyed by content, so that one model never encodes the same text twice: evaluation, the anchor set and serving
share rows, and a champion's rows are there again when the next candidate is judged against it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from pipeline.errors import CorruptArtifactError


def text_key(text: str) -> str:
    """Identity of a text: the first 32 hex digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Vectors:
    """``matrix`` (n, V) float32 CSR, row i encodes the text whose `text_key` is ``keys[i]`` with ``model``."""

    model: str  # the model artifact's name
    keys: list[str]
    matrix: sp.csr_matrix

    @cached_property
    def _row(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys)}

    def missing(self, texts: Sequence[str]) -> list[str]:
        """The texts that have no row, each once, in their order."""
        return list({key: text for text in texts if (key := text_key(text)) not in self._row}.values())

    def rows(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Rows for the texts, in their order; KeyError when one was never encoded."""
        return self.matrix[[self._row[text_key(text)] for text in texts]]

    def with_rows(self, texts: Sequence[str], matrix: sp.csr_matrix) -> Vectors:
        """These vectors and new rows for ``texts``."""
        stacked = sp.vstack([self.matrix, matrix], format="csr") if self.keys else matrix.tocsr()
        return Vectors(self.model, self.keys + [text_key(text) for text in texts], stacked)

    def write(self, folder: Path) -> None:
        """Files of the artifact; the caller stores the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(
            folder / "vectors.npz",
            data=self.matrix.data.astype(np.float32),
            indices=self.matrix.indices.astype(np.int32),
            indptr=self.matrix.indptr.astype(np.int64),
            shape=np.array(self.matrix.shape),
        )
        meta = {"model": self.model, "keys": self.keys}
        (folder / "vectors.json").write_text(json.dumps(meta), encoding="utf-8")

    @classmethod
    def empty(cls, model: str, vocabulary: int) -> Vectors:
        """No rows yet."""
        return cls(model, [], sp.csr_matrix(np.zeros((0, vocabulary), np.float32)))

    @classmethod
    def read(cls, folder: Path) -> Vectors:
        """The vectors stored in an artifact's folder."""
        try:
            meta = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))
            with np.load(folder / "vectors.npz", allow_pickle=False) as held:
                matrix = sp.csr_matrix((held["data"], held["indices"], held["indptr"]), shape=tuple(held["shape"]))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise CorruptArtifactError(f"{folder} holds no readable document vectors ({error})") from error
        if matrix.shape[0] != len(meta["keys"]):
            raise CorruptArtifactError(f"{folder}: {matrix.shape[0]} rows for {len(meta['keys'])} keys")
        return cls(meta["model"], meta["keys"], matrix)
