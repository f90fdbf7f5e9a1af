"""A model as a ranker: its documents, made of kept dense vectors where they are, and its queries."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.artifacts.vectors import DenseVectors, KeptVectors
from pipeline.context import Context
from pipeline.kept import encode_missing, keep, lacking
from pipeline.progress import Progress, silent

if TYPE_CHECKING:
    from pipeline.encoder import Encoder, MaskedLMEncoder


class Ranker:
    """A model of a folder, with the query weights it is served with; a masked language model from elsewhere, too.

    ``dense`` has what is kept of its dense encoder; a text that has no vectors there is encoded once, and remembered
    there. ``made`` are the vectors that were made here.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        dense: KeptVectors | None = None,
        query_weights: NDArray[np.float32] | None = None,
        progress: Progress = silent,
    ) -> None:
        self.name = name
        self.query_weights = query_weights
        self.made: list[DenseVectors] = []
        self._folder = folder
        self._progress = progress
        self._encoded: set[str] = set()
        if dense is not None:
            self.dense = dense

    @property
    def encoded(self) -> int:
        """Documents that had to be encoded here."""
        return len(self._encoded)

    @cached_property
    def _loaded(self) -> Encoder | MaskedLMEncoder:
        from pipeline.encoder import load_any

        return load_any(self._folder)

    @cached_property
    def encoder(self) -> Encoder | MaskedLMEncoder:
        """The model, with the term statistics that it is asked with."""
        return self._loaded

    @property
    def own(self) -> Encoder | None:
        """The same where it is an encoder of ours; None for a masked language model."""
        from pipeline.encoder import Encoder

        return self.encoder if isinstance(self.encoder, Encoder) else None

    @cached_property
    def dense(self) -> KeptVectors:
        """The dense vectors that are known, of an encoder of ours."""
        assert self.own is not None
        return KeptVectors(self.own.dense_identity)

    def over(self, corpus: Sequence[str]) -> Ranker:
        """The same model for the search of another corpus than ours: with the term statistics of these texts, as BM25
        takes them from its index. Dense vectors do not depend on them, and are shared."""
        from pipeline.encoder.statistics import corpus_statistics

        statistics = corpus_statistics(self.encoder, corpus)
        other = copy.copy(self)
        other.encoder = copy.copy(self.encoder)
        if (own := other.own) is not None:
            own.set_statistics(statistics)
            other.dense = self.dense
        other.query_weights = statistics.query_weights
        return other

    @property
    def weights(self) -> NDArray[np.float32]:
        """The query weights (V,) that it is asked with."""
        return self.encoder.query_weights if self.query_weights is None else self.query_weights

    def queries(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Queries as rows (n, V)."""
        return self.encoder.encode_queries(texts, self.weights)

    def lacking(self, texts: Sequence[str]) -> list[str]:
        """The texts that would have to be encoded here, each once."""
        return list(dict.fromkeys(texts)) if self.own is None else lacking(self.own, self.dense, texts)

    def documents(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Documents as rows (n, V), in the order of the texts."""
        from pipeline.encoder import Encoder

        def report(done: int, total: int) -> None:
            self._progress(f"encode documents with {self.name}", done, total)

        if not isinstance(self._loaded, Encoder):
            self._encoded.update(texts)
            return self.encoder.encode_documents(texts, progress=report)
        made = encode_missing(self._loaded, self.dense, texts, report)
        if made is not None:
            self._encoded.update(made.keys)
            self.made.append(made)
        return self.encoder.encode_documents(texts, dense=self.dense.only(texts))

    def floor(self, texts: Sequence[str]) -> sp.csr_matrix | None:
        """The documents' lexical floor alone (n, V); None where the model has none."""
        return None if self.own is None else self.own.lexical_floor(texts)


def keep_made(ctx: Context, rankers: Iterable[Ranker]) -> None:
    """Keep the dense vectors that rankers made, in one artifact a dense encoder."""
    parts: dict[str, list[DenseVectors]] = {}
    for ranker in rankers:
        for part in ranker.made:
            parts.setdefault(part.encoder, []).append(part)
        ranker.made.clear()
    for some in parts.values():
        keep(ctx, DenseVectors.join(some))
