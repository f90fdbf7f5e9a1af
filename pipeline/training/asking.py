"""The queries of a batch: their own tokens' weights, and in a bi-encoder what the model itself says of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from pipeline.encoder.encoder import added_terms
from pipeline.training.student import Columns, Student


@dataclass(frozen=True)
class Asked:
    """Queries on the output dimensions of a step: ``weights`` (Q, C) on ``columns``.

    In a bi-encoder ``learned`` (Q, V) is what the model says of them, a leaf whose gradient ``backward`` carries on
    into the model.
    """

    columns: Columns
    weights: Tensor
    learned: Tensor | None = None
    _graph: Tensor | None = None

    def backward(self, processes: int) -> None:
        """Carry the gradient of ``learned`` into the model; every one of ``processes`` asks all queries, and their
        gradients are added up."""
        if self.learned is not None and self._graph is not None and self.learned.grad is not None:
            self._graph.backward(self.learned.grad / processes)  # type: ignore[no-untyped-call]


def ask(student: Student, own: sp.csr_matrix, tokens: Sequence[Sequence[int]], draw: random.Random) -> Asked:
    """The queries of a batch: ``own`` (Q, V) weights of their tokens, ``tokens`` their ids with special ones."""
    device = student.encoder.device
    graph = student.learned_queries(tokens) if student.settings.query_terms else None
    if graph is None:
        columns = student.columns(own.indices, draw)
        return Asked(columns, torch.from_numpy(own[:, columns.ids].toarray()).to(device))
    learned = graph.detach().requires_grad_()
    added = _added(student, own, learned)
    fire = (added.detach() > 0).any(dim=0).nonzero().squeeze(1).cpu().numpy()
    columns = student.columns(np.concatenate([own.indices, fire]), draw)
    weights = torch.from_numpy(own[:, columns.ids].toarray()).to(device)
    ids = torch.from_numpy(columns.ids).to(device)
    return Asked(columns, weights + added[:, ids], learned, graph)


def answered(student: Student, own: sp.csr_matrix, tokens: Sequence[Sequence[int]]) -> sp.csr_matrix:
    """The queries (Q, V) as they are served, without gradients; see `ask`."""
    if not student.settings.query_terms:
        return own
    with torch.no_grad():
        added = _added(student, own, student.learned_queries(tokens))
    return sp.csr_matrix(own + sp.csr_matrix(added.cpu().numpy()))


def _added(student: Student, own: sp.csr_matrix, learned: Tensor) -> Tensor:
    """What the student adds to queries (Q, V) whose tokens weigh ``own``, given what it says of them."""
    held = torch.from_numpy(own.toarray()).to(learned.device) > 0
    weights = torch.from_numpy(student.encoder.query_weights).to(learned.device)
    return added_terms(learned, held, weights, student.settings.query_terms)
