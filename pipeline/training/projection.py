"""Fitting a projection (`pipeline.encoder.projection`) to an encoder that no longer moves.

Only a matrix is trained, on pooled states that are kept (`pipeline.training.wholes`). It starts from a ridge regression
of the model's own vectors of titles on their tokens, so that the sum of a title's rows is about its dense vector, and
goes on with in-batch negatives over the lexical floor (and styles, where there are any), where each text comes with
neighbours of its own: the other tellings of its event. In the end each term gets a threshold, so that it fires in about
as many texts as it is worth: often asked, often there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config.training import TrainingConfig
from pipeline.encoder.lexical import LexicalFloor
from pipeline.encoder.projection import Projection
from pipeline.errors import ConfigError
from pipeline.progress import Progress
from pipeline.training import losses
from pipeline.training.student import Student
from pipeline.training.wholes import Pairs, Wholes, batches, read, steps_of

HARD, RATE = 3, 1e-2
"""Neighbours that come with each text drawn for a batch, and the largest step size."""
LEAST_QUERIES = 3
"""Queries that a term has to be in to get a row."""
START = 80.0
"""What a cosine of 1 is worth in score at the start."""
FREQUENCY_POWER = 1.5
"""A term fires in a share of texts that grows with this power of the share of queries it is in."""
SAMPLE = 3000
"""Texts that the thresholds are taken from."""


def check(settings: TrainingConfig, lexical: LexicalFloor | None) -> None:
    """Raises ConfigError where a projection is wanted that cannot be had."""
    if settings.projection_epochs and lexical is None:
        raise ConfigError(
            "training.projection_epochs needs encoder.lexical_floor above 0: a projection is fitted over the floor"
        )
    if settings.projection_epochs and settings.query_terms:
        raise ConfigError(
            "training.projection_epochs is for queries that no model reads: set it or training.query_terms to 0"
        )


def fit(student: Student, pairs: Pairs, wholes: Wholes, progress: Progress) -> tuple[Projection, dict[str, Any]]:
    """The projection, and figures of it for the card. The same calls give the same projection on one device."""
    encoder, settings, texts = student.encoder, student.settings, wholes.texts
    titles = read(student, pairs.asked, wholes.layers[-1:], "queries read as wholes", progress)
    frequency = np.bincount(pairs.queries.indices, minlength=pairs.queries.shape[1])
    terms = np.flatnonzero((frequency >= LEAST_QUERIES) & ~encoder.blocked)
    rows = torch.zeros(len(terms), texts.shape[1], device=encoder.device)
    rows[:, -wholes.width :] = START * torch.from_numpy(_start(pairs.queries[:, terms], titles.cpu().numpy())).to(rows)
    rows, loss = _train(rows, terms, wholes, pairs, settings, progress)
    share = frequency[terms] / max(1, pairs.queries.shape[0])
    bias = -_thresholds(texts, rows, share, settings.projection_terms)
    rows, bias = wholes.raw(settings.projection_weight * rows, settings.projection_weight * bias)
    projection = Projection(wholes.layers, torch.from_numpy(terms), rows.cpu(), bias.cpu()).to(encoder.device)
    return projection, {"layers": list(wholes.layers), "terms": len(terms), "loss": round(loss, 4)}


def _start(queries: sp.csr_matrix, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (n, H) whose weighted sum over a query's terms is about its vector: ridge regression of ``vectors`` (Q, H)
    on ``queries`` (Q, n)."""
    from sklearn.linear_model import Ridge

    ridge = Ridge(alpha=1.0, solver="sparse_cg", max_iter=60)
    ridge.fit(queries, vectors)
    return np.ascontiguousarray(np.atleast_2d(ridge.coef_).T, np.float32)


def _train(
    start: Tensor, terms: NDArray[np.int64], wholes: Wholes, pairs: Pairs, settings: TrainingConfig, progress: Progress
) -> tuple[Tensor, float]:
    """The trained rows (n, K) and the last epoch's mean loss."""
    rows = torch.nn.Parameter(start)
    optimizer = torch.optim.AdamW([rows], lr=RATE, weight_decay=0.0, fused=True)
    place = np.full(pairs.queries.shape[1], -1)
    place[terms] = np.arange(len(terms))
    every = steps_of(pairs)
    steps = settings.projection_epochs * every
    seen: list[float] = []
    for step, examples in enumerate(batches(pairs, wholes.nearest, settings.projection_epochs, HARD, settings.seed)):
        scores = _scores(rows, place, wholes.texts, pairs, examples)
        loss = losses.in_batch_negatives_loss(
            scores, torch.arange(len(examples), device=scores.device), temperature=settings.temperature,
            weight=torch.from_numpy(pairs.weights[examples]).to(scores.device),
        )  # fmt: skip
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
        optimizer.step()
        seen.append(float(loss.detach()))
        progress(f"projection: loss {seen[-1]:.3g}", step + 1, steps)
    return rows.detach(), float(np.mean(seen[-every:]))


def _scores(rows: Tensor, place: NDArray[np.int64], texts: Tensor, pairs: Pairs, examples: NDArray[np.int64]) -> Tensor:
    """Scores (B, B) of a batch's queries against its texts: the floor and what the rows say."""
    queries, answers = pairs.queries[examples], pairs.positives[examples]
    own = np.unique(queries.indices)
    weights = torch.from_numpy(queries[:, own].toarray()).to(rows.device)
    floor = torch.from_numpy(pairs.floor[answers][:, own].toarray()).to(rows.device)
    known = torch.from_numpy(place[own] >= 0).to(rows.device)
    held = rows[torch.from_numpy(place[own][place[own] >= 0]).to(rows.device)]
    said = texts[torch.from_numpy(answers).to(rows.device)] @ held.T
    return weights @ floor.T + weights[:, known] @ said.T


def _thresholds(texts: Tensor, rows: Tensor, share: NDArray[np.float64], budget: float) -> Tensor:
    """What each term's logit (n,) has to pass, so that ``budget`` terms are active in a text in all.

    A term fires in ``min(1, factor * share ** FREQUENCY_POWER)`` of the texts, ``share`` (n,) of the queries having it:
    room goes where it is asked for. A constant taken off a term's weight in all texts changes no ranking; what is
    lost are differences among the texts below it.
    """
    worth = share**FREQUENCY_POWER
    low, high = 0.0, 1.0 / max(float(worth.min(initial=1.0)), 1e-12)
    for _ in range(60):
        factor = (low + high) / 2
        low, high = (low, factor) if np.minimum(1.0, factor * worth).sum() > budget else (factor, high)
    rate = np.minimum(1.0, low * worth)
    picked = torch.linspace(0, len(texts) - 1, min(SAMPLE, len(texts)), device=texts.device).long()
    said = (texts[picked] @ rows.T).sort(dim=0).values
    at = np.clip(np.floor((1 - rate) * len(said)), 0, len(said) - 1).astype(np.int64)
    return said[torch.from_numpy(at).to(said.device), torch.arange(len(rate), device=said.device)]
