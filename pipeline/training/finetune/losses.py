"""Losses as functions of scores and document weights; `pipeline.training.finetune.objective` adds them up.

Scores are dot products of queries and documents, (Q, D) or (Q,). Document weights are (D, V), non-negative. Every
function returns a scalar. Formulas: in-batch negatives (InfoNCE, van den Oord et al. 2018), FLOPS (Paria et al. 2020).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def in_batch_negatives_loss(
    scores: Tensor, positive: Tensor, *, temperature: float = 1.0, excluded: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Mean softmax cross-entropy of each query's positive against all documents of the batch.

    ``scores`` (Q, D); ``positive`` (Q,), the column of each query's positive; ``excluded`` (Q, D), true for documents
    that are not negatives because they are relevant, too; ``weight`` (Q,). ``temperature`` divides the scores before
    the softmax: about 0.05 suits cosines, 1 or more the unbounded dot products of sparse vectors.
    """
    logits = scores / temperature
    if excluded is not None:
        is_positive = F.one_hot(positive, scores.shape[1]).bool()
        logits = logits.masked_fill(excluded & ~is_positive, -torch.inf)
    return _mean(F.cross_entropy(logits, positive, reduction="none"), weight)


def margin_ranking_loss(
    positive: Tensor, negative: Tensor, *, margin: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Mean of ``relu(margin - positive + negative)`` over queries; scores (Q,) and (Q,), ``margin`` in score units."""
    return _mean(F.relu(margin - positive + negative), weight)


def contrastive_loss_with_hard_negatives(
    positive: Tensor, negatives: Tensor, *, temperature: float = 1.0, triplet_margin: float = 0.0,
    present: Tensor | None = None, weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Mean softmax cross-entropy of the positive against the hard negatives of its query, optionally with a triplet
    term.

    Scores ``positive`` (Q,) and ``negatives`` (Q, N); ``present`` (Q, N), false for padding; ``weight`` (Q,). With a
    ``triplet_margin`` (score units) ``relu(triplet_margin - positive + hardest negative)`` is added.
    """
    if present is not None:
        negatives = negatives.masked_fill(~present, -torch.inf)
    logits = torch.cat([positive.unsqueeze(1), negatives], dim=1) / temperature
    losses = torch.logsumexp(logits, dim=1) - logits[:, 0]
    if triplet_margin > 0:
        losses = losses + F.relu(triplet_margin - positive + negatives.amax(dim=1))
    return _mean(losses, weight)


def kl_distillation(
    scores: Tensor, teacher: Tensor, *, temperature: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """``KL(softmax(teacher) || softmax(scores / temperature))``, mean over queries; ``scores`` and ``teacher`` (Q, D).

    Documents with a teacher score of -inf are left out.
    """
    masked = torch.isneginf(teacher)
    log_student = F.log_softmax((scores / temperature).masked_fill(masked, -torch.inf), dim=1)
    log_teacher = F.log_softmax(teacher, dim=1)
    difference = (log_teacher - log_student).masked_fill(masked, 0.0)
    return _mean((log_teacher.exp() * difference).sum(1), weight)


def teacher_scores(*scores: Tensor, scale: float) -> Tensor:
    """The ensemble of several teachers (Q, D): each is min-max scaled per query, then averaged and times ``scale``."""
    scaled = []
    for teacher in scores:
        low, high = teacher.amin(1, keepdim=True), teacher.amax(1, keepdim=True)
        scaled.append((teacher - low) / (high - low).clamp_min(1e-6))
    return torch.stack(scaled).mean(0) * scale


def flops(weights: Tensor) -> Tensor:
    """``sum_j (mean over documents of w_j)^2`` of (D, V) weights: smooth bound on the cost of a dot product (FLOPS)."""
    return weights.mean(0).square().sum()


def quadratic_ramp(step: int, ramp_steps: int) -> float:
    """Factor of the sparsity weight at a step: ``min(1, step / ramp_steps)^2``; 1 without a ramp."""
    return 1.0 if ramp_steps <= 0 else min(1.0, step / ramp_steps) ** 2


def _mean(losses: Tensor, weight: Tensor | None) -> Tensor:
    return losses.mean() if weight is None else (losses * weight).sum() / weight.sum().clamp_min(1e-12)
