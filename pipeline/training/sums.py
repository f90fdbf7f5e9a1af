"""Ridge regression of the query table from sufficient statistics that add up over days.

X (n, V) are the pseudo queries as bags of tokens (rows of unit length), Y (n, H) their dense vectors. Ridge regression
needs only X'X, X'Y, the column sums of X and Y, and n. All five are sums over queries, so they are computed once for
each day and added up: training costs the new texts only, decay is a factor for each day, a late article adds a batch,
and a removed article drops one.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.errors import CorruptArtifactError


@dataclass(frozen=True)
class Sums:
    """The sufficient statistics of n pseudo queries, float64.

    Attributes: ``gram`` X'X (V, V), ``cross`` X'Y (V, H), ``tokens`` column sums of X (V,), ``target`` column sums of Y
    (H,), ``queries`` n (not an integer where days are decayed).
    """

    gram: sp.csr_matrix
    cross: NDArray[np.float64]
    tokens: NDArray[np.float64]
    target: NDArray[np.float64]
    queries: float

    @classmethod
    def of(cls, bags: sp.csr_matrix, vectors: NDArray[np.floating]) -> Sums:
        """The sums of n queries: ``bags`` (n, V) with rows of unit length, ``vectors`` (n, H)."""
        inputs, targets = bags.astype(np.float64), np.asarray(vectors, np.float64)
        return cls(
            sp.csr_matrix(inputs.T @ inputs),
            np.asarray(inputs.T @ targets),
            np.asarray(inputs.sum(0), np.float64).ravel(),
            targets.sum(0),
            float(len(targets)),
        )

    @classmethod
    def total(cls, parts: Iterable[tuple[float, Sums]], size: int, width: int) -> Sums:
        """The sum of ``parts``, (weight, sums) each, with V = ``size`` and H = ``width``."""
        gram, cross = sp.csr_matrix((size, size), dtype=np.float64), np.zeros((size, width))
        tokens, target, queries = np.zeros(size), np.zeros(width), 0.0
        pending: list[sp.csr_matrix] = []
        for weight, part in parts:
            pending.append(weight * part.gram)
            cross += weight * part.cross
            tokens += weight * part.tokens
            target += weight * part.target
            queries += weight * part.queries
            if len(pending) == 16:  # adding to the large total costs its size, so small matrices are added up first
                gram, pending = gram + sum(pending[1:], pending[0]), []
        if pending:
            gram = gram + sum(pending[1:], pending[0])
        return cls(sp.csr_matrix(gram), cross, tokens, target, queries)

    def write(self, folder: Path) -> None:
        """Write the files of the artifact; of ``cross`` only the rows that are not 0."""
        folder.mkdir(parents=True, exist_ok=True)
        used = np.flatnonzero(self.tokens)
        np.savez(
            folder / "sums.npz",
            data=self.gram.data,
            indices=self.gram.indices.astype(np.int32),
            indptr=self.gram.indptr.astype(np.int64),
            used=used.astype(np.int32),
            cross=self.cross[used].astype(np.float32),
            tokens=self.tokens[used],
            target=self.target,
        )
        sizes = {"tokens": len(self.tokens), "width": len(self.target), "queries": self.queries}
        (folder / "sums.json").write_text(json.dumps(sizes), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Sums:
        """Read the files of an artifact. Raises CorruptArtifactError where they cannot be read."""
        try:
            sizes = json.loads((folder / "sums.json").read_text(encoding="utf-8"))
            size, width = int(sizes["tokens"]), int(sizes["width"])
            with np.load(folder / "sums.npz", allow_pickle=False) as arrays:
                gram = sp.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=(size, size))
                cross, tokens = np.zeros((size, width)), np.zeros(size)
                cross[arrays["used"]], tokens[arrays["used"]] = arrays["cross"], arrays["tokens"]
                return cls(gram, cross, tokens, arrays["target"], float(sizes["queries"]))
        except (OSError, KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
            raise CorruptArtifactError(f"{folder} holds no readable sums ({error})") from error


def solve(
    sums: Sums,
    prior: NDArray[np.floating],
    ridge: float,
    *,
    start: NDArray[np.floating] | None = None,
    tolerance: float = 1e-4,
    max_iterations: int = 100,
) -> tuple[NDArray[np.float32], int]:
    """The query table W (V, H) that minimises ``|Y - mean - X W|^2 + ridge |W - prior|^2``, and the number of
    iterations; ``mean`` (H,) is the mean of Y.

    Solves the normal equations ``(X'X + ridge I) W = X'Y - x mean' + ridge prior``, with x the column sums of X, by
    conjugate gradients (Hestenes and Stiefel 1952). The preconditioner is the diagonal (Jacobi), because token
    frequencies differ by orders of magnitude. The H columns are solved at once, each with its own step size, from
    ``start`` (default: ``prior``) until the residual of each is below ``tolerance`` times its right-hand side. A token
    that occurs in no query keeps its prior.
    """
    mean = sums.target / max(sums.queries, 1e-12)
    used = np.flatnonzero(sums.tokens)
    gram = sp.csr_matrix(sums.gram[used][:, used] + ridge * sp.identity(len(used), format="csr"))
    preconditioner = (1 / gram.diagonal())[:, None]
    right = sums.cross[used] - np.outer(sums.tokens[used], mean) + ridge * prior[used]
    table = np.array((prior if start is None else start)[used], np.float64)
    residual = right - gram @ table
    preconditioned = preconditioner * residual
    direction, norm = preconditioned.copy(), (residual * preconditioned).sum(0)
    limit = tolerance**2 * np.maximum((right * preconditioner * right).sum(0), 1e-20)
    iterations = 0
    while iterations < max_iterations and (norm > limit).any():
        image = gram @ direction
        step = norm / np.maximum((direction * image).sum(0), 1e-20)
        table += step * direction
        residual -= step * image
        np.multiply(preconditioner, residual, out=preconditioned)
        previous, norm = norm, (residual * preconditioned).sum(0)
        direction *= norm / np.maximum(previous, 1e-20)
        direction += preconditioned
        iterations += 1
    solution = np.array(prior, np.float32)
    solution[used] = table
    return solution, iterations
