"""Losses as small functions of scores and weights; the trainer adds up what the configuration weighs.

Scores are dot products of queries and documents, (Q, D) or (Q,). Document weights are (D, V), non-negative. Every
function returns a scalar. Formulas: in-batch negatives (van den Oord et al. 2018), MarginMSE (Hofstätter et al.
2020), FLOPS (Paria et al. 2020), DF-FLOPS (arXiv 2505.15070).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def in_batch_negatives_loss(
    scores: Tensor, positive: Tensor, *, temperature: float = 1.0, excluded: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Mean cross-entropy of each query's positive against every document of the batch.

    ``scores`` (Q, D), ``positive`` (Q,) column of each query's document, ``excluded`` (Q, D) true where a document is
    no negative (it answers the query too), ``weight`` (Q,). Temperature: 0.05 is for cosines; dot products of sparse
    vectors are unbounded and want 1 or more.
    """
    logits = scores / temperature
    if excluded is not None:
        own = F.one_hot(positive, scores.shape[1]).bool()
        logits = logits.masked_fill(excluded & ~own, -torch.inf)
    return _mean(F.cross_entropy(logits, positive, reduction="none"), weight)


def margin_ranking_loss(
    positive: Tensor, negative: Tensor, *, margin: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Mean of ``relu(margin - positive + negative)``; (Q,) against (Q,) scores, ``margin`` in score units."""
    return _mean(F.relu(margin - positive + negative), weight)


def contrastive_loss_with_hard_negatives(
    positive: Tensor, negatives: Tensor, *, temperature: float = 1.0, triplet_margin: float = 0.0,
    present: Tensor | None = None, weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Cross-entropy of the positive against the query's own negatives, optionally with a triplet term.

    ``positive`` (Q,), ``negatives`` (Q, N), ``present`` (Q, N) false where a query has fewer negatives. With a
    ``triplet_margin`` (score units) the mean of ``relu(margin - positive + hardest negative)`` is added.
    """
    if present is not None:
        negatives = negatives.masked_fill(~present, -torch.inf)
    logits = torch.cat([positive.unsqueeze(1), negatives], dim=1) / temperature
    losses = torch.logsumexp(logits, dim=1) - logits[:, 0]
    if triplet_margin > 0:
        losses = losses + F.relu(triplet_margin - positive + negatives.amax(dim=1))
    return _mean(losses, weight)


def margin_mse(positive: Tensor, negatives: Tensor, teacher_positive: Tensor, teacher_negatives: Tensor) -> Tensor:
    """Mean squared difference of the student's and the teacher's margins; (Q,), (Q, N), (Q,), (Q, N)."""
    return F.mse_loss(positive.unsqueeze(1) - negatives, teacher_positive.unsqueeze(1) - teacher_negatives)


def kl_distillation(
    scores: Tensor, teacher: Tensor, *, temperature: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """``KL(softmax(teacher) || softmax(scores / temperature))``, mean over queries; both (Q, D).

    -inf in ``teacher`` leaves a document out.
    """
    left_out = torch.isneginf(teacher)
    log_student = F.log_softmax((scores / temperature).masked_fill(left_out, -torch.inf), dim=1)
    log_teacher = F.log_softmax(teacher, dim=1)
    difference = (log_teacher - log_student).masked_fill(left_out, 0.0)
    return _mean((log_teacher.exp() * difference).sum(1), weight)


def teacher_scores(*scores: Tensor, scale: float) -> Tensor:
    """Several teachers as one: each min-max scaled per query over the candidates, averaged, times ``scale``; (Q, D)."""
    scaled = []
    for one in scores:
        low, high = one.amin(1, keepdim=True), one.amax(1, keepdim=True)
        scaled.append((one - low) / (high - low).clamp_min(1e-6))
    return torch.stack(scaled).mean(0) * scale


def flops(weights: Tensor) -> Tensor:
    """``sum_j (mean over documents of w_j)^2``: the expected products of two random documents. (D, V) -> ()."""
    return weights.mean(0).square().sum()


def df_flops(weights: Tensor, df_share: Tensor, *, alpha: float = 0.1, beta: float = 5.0) -> Tensor:
    """``sum_j (a_j * mean of w_j)^2`` with ``a_j = 1 / (1 + (x_j^(log_alpha 2) - 1)^beta)``, x_j = df_j / |C|.

    Terms that are in many documents cost more: a rises from 0 to 1 and is 1/2 at ``x = alpha``. ``df_share`` (V,).
    """
    # x ** (log_alpha 2) is 2 at x = alpha, 1 at x = 1 and grows without bound towards 0: the activation is then 0.
    x = df_share.clamp(1e-12, 1.0).pow(math.log(2) / math.log(alpha))
    activation = 1.0 / (1.0 + (x - 1.0).clamp_min(0.0).pow(beta))
    return (activation * weights.mean(0)).square().sum()


def quadratic_ramp(step: int, ramp_steps: int) -> float:
    """``min(1, step / ramp_steps)^2``: how much of the sparsity weight applies; 1 when there is no ramp."""
    return 1.0 if ramp_steps <= 0 else min(1.0, step / ramp_steps) ** 2


def _mean(losses: Tensor, weight: Tensor | None) -> Tensor:
    return losses.mean() if weight is None else (losses * weight).sum() / weight.sum().clamp_min(1e-12)
