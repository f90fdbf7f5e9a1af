"""A model as a ranker: its document vectors, taken from artifacts where they are, and its queries."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.artifacts import Artifacts
from pipeline.config.encoder import EncoderConfig
from pipeline.errors import CorruptArtifactError
from pipeline.progress import Progress, silent
from pipeline.vectors import Vectors

if TYPE_CHECKING:
    from pipeline.encoder import Encoder


def read_weights(artifacts: Artifacts, name: str) -> NDArray[np.float32]:
    """The weights (V,) of a ``weights`` artifact."""
    file = artifacts.get(name) / "weights.npy"
    try:
        return np.asarray(np.load(file, allow_pickle=False), np.float32)
    except (OSError, ValueError) as error:
        raise CorruptArtifactError(f"{file} holds no readable query weights ({error})") from error


class Ranker:
    """A model of an artifact or a folder, with the query weights it is served with.

    Vectors that were made elsewhere (by the training job) are used when they name this model; a text that has none is
    encoded here, once.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        vectors: Sequence[Vectors] = (),
        query_weights: NDArray[np.float32] | None = None,
        config: EncoderConfig,
        progress: Progress = silent,
    ) -> None:
        self.name = name
        self._folder = folder
        self.query_weights = query_weights
        self._config = config
        self._progress = progress
        self._vectors = [held for held in vectors if held.model == name and held.keys]
        self.encoded = 0  # documents that had to be encoded here

    @cached_property
    def encoder(self) -> Encoder:
        """The model itself: loaded for its tokenizer, its query weights and texts without a vector."""
        from pipeline.encoder import Encoder

        return Encoder.load(self._folder, max_length=self._config.max_length, lexical=self._config.lexical)

    def over(self, corpus: Sequence[str]) -> Ranker:
        """The same model for the search of another corpus than ours: with the term statistics of these texts, as BM25
        takes them from its index. Its vectors are made anew, for the lexical floor depends on the average length."""
        from pipeline.encoder.statistics import corpus_statistics

        known = corpus_statistics(self.encoder, corpus)
        config = self._config.model_copy(update={"average_length": known.average_length})
        other = Ranker(
            self.name, self._folder, query_weights=known.query_weights, config=config, progress=self._progress
        )
        other.encoder = copy.copy(self.encoder)  # the model itself is loaded once
        other.encoder.lexical = config.lexical
        return other

    @property
    def weights(self) -> NDArray[np.float32]:
        """The query weights (V,) that it is asked with."""
        return self.encoder.query_weights if self.query_weights is None else self.query_weights

    def queries(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Queries as rows (n, V)."""
        return self.encoder.encode_queries(texts, self.weights)

    def lacking(self, texts: Sequence[str]) -> list[str]:
        """The texts that would have to be encoded here."""
        missing = list(texts)
        for part in self._vectors:
            missing = part.missing(missing)
        return missing

    def documents(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Documents as rows (n, V), in the order of the texts."""
        parts = list(self._vectors)
        missing = self.lacking(list(dict.fromkeys(texts)))
        if missing:
            made = self.encoder.encode_documents(
                missing,
                batch_size=self._config.batch_size,
                max_added=self._config.max_added,
                progress=lambda done, total: self._progress(f"encode documents with {self.name}", done, total),
            )
            self.encoded += len(missing)
            fresh = Vectors.empty(self.name, made.shape[1]).with_rows(missing, made)
            self._vectors.append(fresh)
            parts.append(fresh)
        return _gather(parts, texts)


def _gather(parts: Sequence[Vectors], texts: Sequence[str]) -> sp.csr_matrix:
    """Rows of the texts from several vectors, in the texts' order."""
    place: NDArray[np.int64] = np.full(len(texts), -1, np.int64)
    pieces: list[sp.csr_matrix] = []
    stacked = 0
    for part in parts:
        open_rows = np.flatnonzero(place < 0).tolist()
        lacking = set(part.missing([texts[row] for row in open_rows]))
        rows = [row for row in open_rows if texts[row] not in lacking]
        if rows:
            pieces.append(part.rows([texts[row] for row in rows]))
            place[rows] = np.arange(stacked, stacked + len(rows))
            stacked += len(rows)
    return (
        sp.vstack(pieces, format="csr")[place]
        if pieces
        else sp.csr_matrix((0, parts[0].matrix.shape[1] if parts else 1))
    )


def read_vectors(artifacts: Artifacts, names: Sequence[str | None]) -> list[Vectors]:
    """The vectors artifacts of these names that can still be had (pruned ones are made again)."""
    return [Vectors.read(artifacts.get(name)) for name in names if name and artifacts.has(name)]
