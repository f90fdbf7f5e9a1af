"""What the query table is learned from, as sums over texts: exact for any set of them, whatever their order.

With X (n, V) the pseudo queries as bags of tokens (rows of length 1) and Y (n, H) their dense vectors, ridge regression
needs X'X, X'Y, the column sums of X and of Y, and n, and nothing else. All five are sums over queries, so over texts
and over days: a day costs its new texts, an as-of is the sum of its batches, forgetting is a factor a day, a late
article one more batch, and a removed one a batch fewer.
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
    """``gram`` X'X (V, V), ``cross`` X'Y (V, H), ``tokens`` the column sums of X (V,), ``target`` those of Y (H,), all
    float64, of ``queries`` pseudo queries (a weighted number where days have faded)."""

    gram: sp.csr_matrix
    cross: NDArray[np.float64]
    tokens: NDArray[np.float64]
    target: NDArray[np.float64]
    queries: float

    @classmethod
    def of(cls, bags: sp.csr_matrix, vectors: NDArray[np.floating]) -> Sums:
        """The sums of n queries: ``bags`` (n, V) with rows of length 1, ``vectors`` (n, H)."""
        exact, targets = bags.astype(np.float64), np.asarray(vectors, np.float64)
        return cls(
            sp.csr_matrix(exact.T @ exact),
            np.asarray(exact.T @ targets),
            np.asarray(exact.sum(0), np.float64).ravel(),
            targets.sum(0),
            float(len(targets)),
        )

    @classmethod
    def total(cls, parts: Iterable[tuple[float, Sums]], size: int, width: int) -> Sums:
        """The weighted sum of some parts over V = ``size`` tokens and H = ``width`` numbers."""
        gram, cross = sp.csr_matrix((size, size), dtype=np.float64), np.zeros((size, width))
        tokens, target, queries = np.zeros(size), np.zeros(width), 0.0
        waiting: list[sp.csr_matrix] = []
        for weight, part in parts:
            waiting.append(weight * part.gram)
            cross += weight * part.cross
            tokens += weight * part.tokens
            target += weight * part.target
            queries += weight * part.queries
            if len(waiting) == 16:  # adding to a large matrix costs its size: small ones are added up first
                gram, waiting = gram + sum(waiting[1:], waiting[0]), []
        if waiting:
            gram = gram + sum(waiting[1:], waiting[0])
        return cls(sp.csr_matrix(gram), cross, tokens, target, queries)

    def write(self, folder: Path) -> None:
        """Files of the artifact: the rows of ``cross`` that are not 0, and the rest whole."""
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
        """The sums stored in an artifact's folder."""
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
    most_rounds: int = 100,
) -> tuple[NDArray[np.float32], int]:
    """The query table W (V, H) that minimises ``|Y - mean - X W|^2 + ridge |W - prior|^2``, and how many rounds it
    took; ``mean`` is Y's.

    The normal equations ``(X'X + ridge) W = X'Y - x mean' + ridge prior`` by conjugate gradients (Hestenes and Stiefel
    1952) with their diagonal as preconditioner (some tokens are in most queries, most in few), all H columns at once
    with a step of their own, from ``start`` (by default the prior) until the residual of every column is below
    ``tolerance`` times its right side. A token that is in no query keeps its prior.
    """
    mean = sums.target / max(sums.queries, 1e-12)
    used = np.flatnonzero(sums.tokens)
    gram = sp.csr_matrix(sums.gram[used][:, used] + ridge * sp.identity(len(used), format="csr"))
    scale = (1 / gram.diagonal())[:, None]
    right = sums.cross[used] - np.outer(sums.tokens[used], mean) + ridge * prior[used]
    table = np.array((prior if start is None else start)[used], np.float64)
    residual = right - gram @ table
    step_to = scale * residual
    direction, norm = step_to.copy(), (residual * step_to).sum(0)
    enough = tolerance**2 * np.maximum((right * scale * right).sum(0), 1e-20)
    rounds = 0
    while rounds < most_rounds and (norm > enough).any():
        image = gram @ direction
        step = norm / np.maximum((direction * image).sum(0), 1e-20)
        table += step * direction
        residual -= step * image
        np.multiply(scale, residual, out=step_to)
        before, norm = norm, (residual * step_to).sum(0)
        direction *= norm / np.maximum(before, 1e-20)
        direction += step_to
        rounds += 1
    whole = np.array(prior, np.float32)
    whole[used] = table
    return whole, rounds
