"""The static query table, and the learned terms of a document that follow from it.

The dense vector of a query is approximated by the weighted sum of one row for each of its tokens, so no model has to
read queries. The rows are learned by ridge regression (`pipeline.training.sums`). The score of a query and a passage
is then the query's table vector times the passage's dense vector, which is a sum over the query's tokens: each token's
share of it can be stored in an inverted index. A document keeps the shares that are unusually high for their token:

    z = max over the document's windows of (vector . row);   weight = gain * relu(z - threshold)

``threshold`` is a quantile of the token's own z over recent texts. For a document of one window this is a linear layer
with a bias and a ReLU, as which other programs load it (`pipeline.encoder.folder`).
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
WINDOW_BATCH = 512

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class QueryTable:
    """``rows`` (V, H) in the space of the dense encoder; ``thresholds`` (V,), infinite for a token that never becomes
    a learned term; ``gain``, the weight of one unit of z above its threshold."""

    rows: Floats
    thresholds: Floats
    gain: float

    def with_gain(self, gain: float) -> QueryTable:
        """The same table with another gain."""
        return replace(self, gain=gain)

    def scores(self, vectors: Floats, starts: NDArray[np.int64]) -> Floats:
        """z (n, V) of n texts. The windows of text i are ``vectors[starts[i]:starts[i + 1]]`` (windows, H).

        Every text has at least one window.
        """
        z = np.asarray(vectors, np.float32) @ self.rows.T
        if len(z) == len(starts) - 1:
            return np.asarray(z, np.float32)
        return np.asarray(np.maximum.reduceat(z, starts[:-1], axis=0), np.float32)

    def terms(self, vectors: Floats, starts: NDArray[np.int64], max_terms: int) -> sp.csr_matrix:
        """Weights (n, V) float32 of the learned terms of n texts, at most ``max_terms`` a text (the heaviest).

        ``vectors`` and ``starts`` as in `scores`. Texts are processed in batches of about 512 windows.
        """
        batches, first, texts = [], 0, len(starts) - 1
        while first < texts:
            last = int(np.searchsorted(starts, starts[first] + WINDOW_BATCH, side="right")) - 1
            last = min(max(last, first + 1), texts)
            batch = starts[first : last + 1]
            z = self.scores(vectors[batch[0] : batch[-1]], batch - batch[0])
            top = torch.from_numpy(z - self.thresholds).topk(min(max_terms, z.shape[1]), dim=1)
            values, columns = self.gain * top.values.numpy(), top.indices.numpy()
            rows, ranks = np.nonzero(values > 0)
            data = (values[rows, ranks].astype(np.float32), (rows, columns[rows, ranks]))
            batches.append(sp.csr_matrix(data, shape=z.shape))
            first = last
        if not batches:
            return sp.csr_matrix(np.zeros((0, len(self.rows)), np.float32))
        return sp.csr_matrix(sp.vstack(batches, format="csr"))

    def linear(self) -> tuple[Floats, Floats]:
        """The table as a linear layer in front of a ReLU: weight (V, H) and bias (V,)."""
        bias = -self.gain * np.minimum(self.thresholds, 1e4)  # infinity would give NaN in other programs
        return np.asarray(self.gain * self.rows, np.float32), bias.astype(np.float32)

    def write(self, folder: Path) -> None:
        """Save it as ``table.safetensors``."""
        arrays = {"rows": self.rows, "thresholds": self.thresholds}
        save_file({k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()} |
                  {"gain": np.array([self.gain], np.float64)}, str(folder / FILE))  # fmt: skip

    @classmethod
    def read(cls, folder: Path, vocabulary_size: int, width: int) -> QueryTable | None:
        """The table in ``folder``, of shape (``vocabulary_size``, ``width``); None where there is none.

        Raises CorruptArtifactError where it cannot be read or has another shape.
        """
        file = folder / FILE
        if not file.exists():
            return None
        try:
            arrays = load_file(str(file))
            table = cls(arrays["rows"], arrays["thresholds"], float(arrays["gain"][0]))
        except Exception as error:  # safetensors' own error class is not importable by name
            raise CorruptArtifactError(f"{file} cannot be read: save the encoder again.") from error
        if (table.rows.shape, table.thresholds.shape) != ((vocabulary_size, width), (vocabulary_size,)):
            raise CorruptArtifactError(f"{file} belongs to another encoder: save it again.")
        return table
