"""What a batch costs: the losses that the configuration weighs, each of them by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pipeline.config.training import TrainingConfig
from pipeline.encoder.lexical import LexicalFloor
from pipeline.training import losses


@dataclass(frozen=True)
class Sampled:
    """Weights of a batch's documents on some output dimensions.

    ``logits`` (D, C) before the activation; the first ``exact`` columns are there for sure (the queries' tokens), the
    others stand for ``scale`` dimensions each (1 when all are computed). ``df_share`` (C,) is the share of passages
    with the term; the weights lie on the ``floor`` of a text's own terms.
    """

    logits: Tensor
    exact: int
    scale: float
    df_share: Tensor
    floor: Tensor | None = None  # (D, C) the lexical floor
    lexical: LexicalFloor | None = None  # how the weights lie on it

    @cached_property
    def learned(self) -> Tensor:
        """What the model gives: ``log1p(relu(logits))``; (D, C). Sparsity is charged on this part alone: the floor is
        given, and no step can lower it."""
        return torch.log1p(torch.relu(self.logits))

    @cached_property
    def weights(self) -> Tensor:
        """What is served: the learned weights on the floor; (D, C)."""
        if self.floor is None or self.lexical is None:
            return self.learned
        return self.lexical.under(self.learned, self.floor)

    def total(self, values: Tensor) -> Tensor:
        """Estimate of the sum over all dimensions of a value per column (..., C) -> (...)."""
        return values[..., : self.exact].sum(-1) + self.scale * values[..., self.exact :].sum(-1)


@dataclass(frozen=True)
class Relation:
    """Who belongs to whom in a batch of Q queries and D documents."""

    positive: Tensor  # (Q,) column of the answer
    excluded: Tensor  # (Q, D) true: another telling of the answer's story, or an answer too
    hard: Tensor  # (Q, D) true: a mined negative of this query
    weight: Tensor  # (Q,)


def objective(
    queries: Tensor,
    documents: Sampled,
    relation: Relation,
    teacher: Tensor | None,
    settings: TrainingConfig,
    ramp: float,
    asked: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The batch's loss and every term of it before its weight, with active terms and empty documents.

    ``queries`` (Q, C) on the same columns; ``teacher`` (Q, D) scaled scores or None; ``ramp`` in [0, 1] scales the
    sparsity terms. ``asked`` (Q, V) is what a bi-encoder says of the queries: it is charged as documents are.
    """
    scores = queries @ documents.weights.T
    loss = scores.new_zeros(())
    said: dict[str, Tensor] = {}

    def add(name: str, factor: float, value: Tensor) -> None:
        nonlocal loss
        loss = loss + factor * value
        said[name] = value.detach()

    own = scores.gather(1, relation.positive.unsqueeze(1)).squeeze(1)
    if settings.in_batch_weight > 0:
        value = losses.in_batch_negatives_loss(
            scores, relation.positive, temperature=settings.temperature, excluded=relation.excluded,
            weight=relation.weight,
        )  # fmt: skip
        add("in_batch", settings.in_batch_weight, value)
    if settings.hard_weight > 0:
        value = losses.contrastive_loss_with_hard_negatives(
            own, scores, temperature=settings.temperature, triplet_margin=settings.triplet_margin,
            present=relation.hard, weight=relation.weight,
        )  # fmt: skip
        add("hard", settings.hard_weight, value)
    if settings.margin_weight > 0:
        # The hardest document of the batch that is no answer.
        is_own = torch.nn.functional.one_hot(relation.positive, scores.shape[1]).bool()
        hardest = scores.masked_fill(relation.excluded | is_own, -torch.inf).amax(1)
        value = losses.margin_ranking_loss(own, hardest, margin=settings.margin, weight=relation.weight)
        add("margin", settings.margin_weight, value)
    if teacher is not None and settings.distil_weight > 0:
        theirs = teacher.masked_fill(relation.excluded, -torch.inf)
        value = losses.kl_distillation(scores, theirs, temperature=settings.temperature, weight=relation.weight)
        add("distil", settings.distil_weight, value)
    if teacher is not None and settings.margin_mse_weight > 0:
        # Excluded documents get a margin of 0 on both sides.
        kept = ~relation.excluded
        theirs_own = teacher.gather(1, relation.positive.unsqueeze(1)).squeeze(1)
        ours_all = torch.where(kept, scores, own.unsqueeze(1))
        theirs_all = torch.where(kept, teacher, theirs_own.unsqueeze(1))
        add("margin_mse", settings.margin_mse_weight, losses.margin_mse(own, ours_all, theirs_own, theirs_all))
    if settings.flops_weight > 0:
        value = _sparsity(documents, settings)
        add("flops", settings.flops_weight * ramp, value)
        if asked is not None:
            add("query_flops", settings.flops_weight * ramp, losses.flops(asked))
    active = documents.total((documents.weights.detach() > 0).float())
    said |= {"active": active.mean(), "empty": (active == 0).float().mean()}
    said["learned"] = documents.total((documents.learned.detach() > 0).float()).mean()
    said["ranked_first"] = ((scores >= own.unsqueeze(1)).sum(1) == 1).float().mean()
    return loss, {"loss": float(loss.detach()), **{name: float(value) for name, value in said.items()}}


def _sparsity(documents: Sampled, settings: TrainingConfig) -> Tensor:
    keep = None
    if settings.l0_threshold > 0:
        active = documents.total((documents.learned.detach() > 0).float())
        keep = active > settings.l0_threshold
    learned = documents.learned
    exact, sampled = learned[:, : documents.exact], learned[:, documents.exact :]
    if settings.flops_kind == "df_flops":
        share = documents.df_share
        head = losses.df_flops(exact, share[: documents.exact], keep=keep)
        return head + documents.scale * losses.df_flops(sampled, share[documents.exact :], keep=keep)
    return losses.flops(exact, keep=keep) + documents.scale * losses.flops(sampled, keep=keep)
