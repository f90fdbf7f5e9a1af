"""The static query table, and the terms that a text gets by it.

A query is a bag of tokens, and its dense vector nearly the weighted sum of one row a token: that table is learned
(`pipeline.training.table`), so no model reads queries. A text then gets, for each token of the vocabulary, the product
of its dense vector with that token's row, and keeps what is unusually high for that token:

    z = max over windows of (e(window) - mean) . row;   weight = gain * relu(z - threshold)

The score of a query is then its table vector times the text's dense vector, cut to the terms that matter: a dense
retriever served by an inverted index. ``mean`` is the mean vector of texts, ``threshold`` a quantile of the token's own
z over recent texts. The form is a linear layer with a bias and ReLU, which other programs can load
(`pipeline.encoder.folder`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from pipeline.errors import CorruptArtifactError

FILE = "table.safetensors"
_WINDOWS_AT_ONCE = 512

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class QueryTable:
    """``rows`` (V, H) and ``mean`` (H,) in the dense encoder's space; ``thresholds`` (V,), infinite for a token that
    never becomes a term; ``gain``, the weight of one unit of z above its threshold."""

    rows: Floats
    mean: Floats
    thresholds: Floats
    gain: float

    def with_gain(self, gain: float) -> QueryTable:
        """The same table with another gain."""
        return replace(self, gain=gain)

    def scores(self, vectors: Floats, starts: NDArray[np.int64]) -> Floats:
        """z (n, V) of n texts: ``vectors`` (windows, H), those of text i from ``starts[i]`` to ``starts[i + 1]``.

        Every text has a window at least.
        """
        z = (np.asarray(vectors, np.float32) - self.mean) @ self.rows.T
        if len(z) == len(starts) - 1:
            return np.asarray(z, np.float32)
        return np.asarray(np.maximum.reduceat(z, starts[:-1], axis=0), np.float32)

    def terms(self, vectors: Floats, starts: NDArray[np.int64], most: int) -> sp.csr_matrix:
        """Weights (n, V) float32 of n texts' learned terms, the ``most`` heaviest of each; arguments as `scores`."""
        pieces, first, texts = [], 0, len(starts) - 1
        while first < texts:
            last = int(np.searchsorted(starts, starts[first] + _WINDOWS_AT_ONCE, side="right")) - 1
            last = min(max(last, first + 1), texts)
            part = starts[first : last + 1]
            z = self.scores(vectors[part[0] : part[-1]], part - part[0])
            heavy = torch.from_numpy(z - self.thresholds).topk(min(most, z.shape[1]), dim=1)
            values, columns = self.gain * heavy.values.numpy(), heavy.indices.numpy()
            rows, places = np.nonzero(values > 0)
            data = (values[rows, places].astype(np.float32), (rows, columns[rows, places]))
            pieces.append(sp.csr_matrix(data, shape=z.shape))
            first = last
        if not pieces:
            return sp.csr_matrix(np.zeros((0, len(self.rows)), np.float32))
        return sp.csr_matrix(sp.vstack(pieces, format="csr"))

    def linear(self) -> tuple[Floats, Floats]:
        """The same as a linear layer before a ReLU: weight (V, H) and bias (V,)."""
        bias = -self.gain * (self.rows @ self.mean + np.minimum(self.thresholds, 1e4))
        return np.asarray(self.gain * self.rows, np.float32), bias.astype(np.float32)

    def write(self, folder: Path) -> None:
        """Save it as ``table.safetensors``."""
        arrays = {"rows": self.rows, "mean": self.mean, "thresholds": self.thresholds}
        save_file({k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()} |
                  {"gain": np.array([self.gain], np.float64)}, str(folder / FILE))  # fmt: skip

    @classmethod
    def read(cls, folder: Path, size: int, width: int) -> QueryTable | None:
        """The table of an encoder with ``size`` tokens and vectors of ``width`` numbers; None where it has none.

        Raises CorruptArtifactError where it cannot be read or belongs to another encoder.
        """
        file = folder / FILE
        if not file.exists():
            return None
        try:
            held = load_file(str(file))
            table = cls(held["rows"], held["mean"], held["thresholds"], float(held["gain"][0]))
        except Exception as error:  # safetensors' own error class is not importable by name
            raise CorruptArtifactError(f"{file} cannot be read: save the encoder again.") from error
        if (table.rows.shape, table.mean.shape, table.thresholds.shape) != ((size, width), (width,), (size,)):
            raise CorruptArtifactError(f"{file} belongs to another encoder: save it again.")
        return table
