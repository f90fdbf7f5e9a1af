"""The training objective of a batch: the weighted sum of the losses that the settings select."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.config.training import FineTuningConfig
from pipeline.training.finetune import losses
from pipeline.training.finetune.data import Batch, TrainingData


@dataclass(frozen=True)
class Labels:
    """Relevance in a batch of Q queries and D passages.

    ``positive`` (Q,) is the column of each query's positive. ``excluded`` (Q, D) marks the other passages of the
    positive's story: they are relevant, too, so they are not negatives. ``hard`` (Q, D) marks mined hard negatives.
    ``weight`` (Q,) is the weight of each example.
    """

    positive: Tensor
    excluded: Tensor
    hard: Tensor
    weight: Tensor

    @classmethod
    def of(cls, data: TrainingData, batch: Batch, device: torch.device) -> Labels:
        """The labels of ``batch``, on ``device``."""
        column = {passage: index for index, passage in enumerate(batch.passages)}
        stories = np.array([data.stories[p] for p in batch.passages])
        positive = np.array([column[data.positives[i]] for i in batch.examples])
        excluded = stories[None, :] == stories[positive][:, None]
        excluded[np.arange(len(positive)), positive] = False
        hard = np.zeros_like(excluded)
        for row, example in enumerate(batch.examples):
            hard[row, [column[p] for p in data.hard[example] if p in column]] = True
        weight = np.array([data.weights[i] for i in batch.examples], np.float32)
        return cls(*(torch.from_numpy(a).to(device) for a in (positive, excluded, hard & ~excluded, weight)))


def objective(
    queries: Tensor, learned: Tensor, floor: Tensor, labels: Labels, teacher: Tensor | None,
    settings: FineTuningConfig, ramp: float,
) -> tuple[Tensor, dict[str, float]]:  # fmt: skip
    """The loss of a batch, and its metrics.

    ``queries`` (Q, V); ``learned`` and ``floor`` (D, V), whose sum is the document vector; ``teacher`` (Q, D) scores;
    ``ramp`` in [0, 1] scales the sparsity loss. Sparsity is penalised on learned weights only, because the floor is
    fixed. The metrics are ``loss``, each loss before it is weighted, ``active`` (mean number of learned terms of a
    document), ``empty`` (share of documents without any) and ``accuracy`` (share of queries that rank their positive
    first in the batch).
    """
    scores = queries @ (learned + floor).T
    positive = scores.gather(1, labels.positive.unsqueeze(1)).squeeze(1)
    excluded, weight, temperature = labels.excluded, labels.weight, settings.temperature
    parts: dict[str, tuple[float, Tensor]] = {}
    if settings.in_batch_weight > 0:
        value = losses.in_batch_negatives_loss(
            scores, labels.positive, temperature=temperature, excluded=excluded, weight=weight
        )
        parts["in_batch"] = (settings.in_batch_weight, value)
    if settings.hard_negatives_weight > 0:
        value = losses.contrastive_loss_with_hard_negatives(
            positive, scores, temperature=temperature, triplet_margin=settings.triplet_margin, present=labels.hard,
            weight=weight,
        )  # fmt: skip
        parts["hard"] = (settings.hard_negatives_weight, value)
    if settings.margin_weight > 0:
        is_positive = torch.nn.functional.one_hot(labels.positive, scores.shape[1]).bool()
        hardest = scores.masked_fill(excluded | is_positive, -torch.inf).amax(1)
        value = losses.margin_ranking_loss(positive, hardest, margin=settings.margin, weight=weight)
        parts["margin"] = (settings.margin_weight, value)
    if teacher is not None:
        value = losses.kl_distillation(
            scores, teacher.masked_fill(excluded, -torch.inf), temperature=temperature, weight=weight
        )
        parts["distil"] = (settings.distillation_weight, value)
    if settings.flops_weight > 0:
        parts["flops"] = (settings.flops_weight * ramp, losses.flops(learned))
    loss = sum((factor * value for factor, value in parts.values()), 0.0 * scores.sum())
    active = (learned > 0).sum(1).float()
    metrics = {"loss": loss, **{name: value for name, (_, value) in parts.items()}}
    metrics |= {"active": active.mean(), "empty": (active == 0).float().mean()}
    metrics["accuracy"] = ((scores >= positive.unsqueeze(1)).sum(1) == 1).float().mean()
    return loss, {name: float(value.detach()) for name, value in metrics.items()}
