"""What a batch costs: the losses that the configuration weighs, each of them by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.config.training import FineTuningConfig
from pipeline.training.finetune import losses
from pipeline.training.finetune.data import Batch, TrainingData


@dataclass(frozen=True)
class Relation:
    """Who belongs to whom in a batch of Q queries and D documents.

    ``positive`` (Q,) is the column of a query's answer; ``excluded`` (Q, D) true where a document is no negative
    (another passage of the answer's story), ``hard`` (Q, D) true for a mined negative of the query; ``weight`` (Q,).
    """

    positive: Tensor
    excluded: Tensor
    hard: Tensor
    weight: Tensor

    @classmethod
    def of(cls, data: TrainingData, batch: Batch, device: torch.device) -> Relation:
        """The relation of a batch, on ``device``."""
        place = {position: column for column, position in enumerate(batch.passages)}
        stories = np.array([data.stories[p] for p in batch.passages])
        positive = np.array([place[data.positives[i]] for i in batch.examples])
        excluded = stories[None, :] == stories[positive][:, None]
        excluded[np.arange(len(positive)), positive] = False
        hard = np.zeros_like(excluded)
        for row, index in enumerate(batch.examples):
            hard[row, [place[p] for p in data.hard[index] if p in place]] = True
        weight = np.array([data.weights[i] for i in batch.examples], np.float32)
        return cls(*(torch.from_numpy(a).to(device) for a in (positive, excluded, hard & ~excluded, weight)))


def objective(
    queries: Tensor, learned: Tensor, floor: Tensor, relation: Relation, teacher: Tensor | None, df_share: Tensor,
    settings: FineTuningConfig, ramp: float,
) -> tuple[Tensor, dict[str, float]]:  # fmt: skip
    """The batch's loss, and every term of it before its weight.

    ``queries`` (Q, V); ``learned`` and ``floor`` (D, V), whose sum is what is searched; ``teacher`` (Q, D) scaled
    scores; ``df_share`` (V,) the share of passages with a term; ``ramp`` in [0, 1] scales the sparsity term. Sparsity
    is charged on the learned weights alone, as no step can lower the floor. The terms also say how many learned terms
    a document has on average (``active``), the share of documents without any (``empty``), and the share of queries
    whose answer is ranked first (``ranked_first``).
    """
    scores = queries @ (learned + floor).T
    own = scores.gather(1, relation.positive.unsqueeze(1)).squeeze(1)
    excluded, weight, temperature = relation.excluded, relation.weight, settings.temperature
    parts: dict[str, tuple[float, Tensor]] = {}
    if settings.in_batch_weight > 0:
        value = losses.in_batch_negatives_loss(
            scores, relation.positive, temperature=temperature, excluded=excluded, weight=weight
        )
        parts["in_batch"] = (settings.in_batch_weight, value)
    if settings.hard_weight > 0:
        value = losses.contrastive_loss_with_hard_negatives(
            own, scores, temperature=temperature, triplet_margin=settings.triplet_margin, present=relation.hard,
            weight=weight,
        )  # fmt: skip
        parts["hard"] = (settings.hard_weight, value)
    if settings.margin_weight > 0:
        is_own = torch.nn.functional.one_hot(relation.positive, scores.shape[1]).bool()
        hardest = scores.masked_fill(excluded | is_own, -torch.inf).amax(1)  # of the batch
        value = losses.margin_ranking_loss(own, hardest, margin=settings.margin, weight=weight)
        parts["margin"] = (settings.margin_weight, value)
    if teacher is not None and settings.distil_weight > 0:
        value = losses.kl_distillation(
            scores, teacher.masked_fill(excluded, -torch.inf), temperature=temperature, weight=weight
        )
        parts["distil"] = (settings.distil_weight, value)
    if teacher is not None and settings.margin_mse_weight > 0:
        # Excluded documents get a margin of 0 on both sides.
        teacher_own = teacher.gather(1, relation.positive.unsqueeze(1))
        ours = torch.where(excluded, own.unsqueeze(1), scores)
        theirs = torch.where(excluded, teacher_own, teacher)
        parts["margin_mse"] = (settings.margin_mse_weight, losses.margin_mse(own, ours, teacher_own.squeeze(1), theirs))
    if settings.flops_weight > 0:
        value = losses.df_flops(learned, df_share) if settings.flops_kind == "df_flops" else losses.flops(learned)
        parts["flops"] = (settings.flops_weight * ramp, value)
    loss = sum((factor * value for factor, value in parts.values()), 0.0 * scores.sum())
    active = (learned > 0).sum(1).float()
    terms = {"loss": loss, **{name: value for name, (_, value) in parts.items()}}
    terms |= {"active": active.mean(), "empty": (active == 0).float().mean()}
    terms["ranked_first"] = ((scores >= own.unsqueeze(1)).sum(1) == 1).float().mean()
    return loss, {name: float(value.detach()) for name, value in terms.items()}
