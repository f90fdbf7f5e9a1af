"""Losses against sentence-transformers, torch and closed forms: values and gradients to 1e-6."""

import math

import torch
import torch.nn.functional as F

from pipeline.training.finetune import losses

torch.manual_seed(0)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def with_grad(function, *tensors):
    leaves = [t.clone().double().requires_grad_() for t in tensors]
    value = function(*leaves)
    value.backward()
    return value.detach(), [t.grad for t in leaves]


def same(ours, theirs, *tensors):
    a, ga = with_grad(ours, *tensors)
    b, gb = with_grad(theirs, *tensors)
    close(a, b)
    for x, y in zip(ga, gb, strict=True):
        close(x, y)


def test_in_batch_negatives_is_sentence_transformers_multiple_negatives_ranking():
    from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss
    from sentence_transformers.util import dot_score

    queries, documents = torch.rand(6, 40), torch.rand(6, 40)
    theirs = SparseMultipleNegativesRankingLoss(model=None, scale=1.0, similarity_fct=dot_score)
    target = torch.arange(6)
    same(
        lambda q, d: losses.in_batch_negatives_loss(q @ d.T, target),
        lambda q, d: theirs.compute_loss_from_embeddings([q, d], None),
        queries, documents,
    )  # fmt: skip


def test_scale_is_one_over_temperature_and_mined_negatives_are_further_columns():
    from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss
    from sentence_transformers.util import cos_sim

    tensors = [torch.rand(6, 40) for _ in range(4)]
    theirs = SparseMultipleNegativesRankingLoss(model=None, scale=20.0, similarity_fct=cos_sim)
    target = torch.arange(6)
    same(
        lambda q, *d: losses.in_batch_negatives_loss(cos_sim(q, torch.cat(d)), target, temperature=0.05),
        lambda q, *d: theirs.compute_loss_from_embeddings([q, *d], None),
        *tensors,
    )


def test_temperature_divides_and_excluded_documents_do_not_count():
    scores = torch.randn(3, 5)
    target = torch.tensor([0, 1, 2])
    excluded = torch.zeros(3, 5, dtype=torch.bool)
    excluded[0, 3] = excluded[1, 1] = True  # the second is the answer itself: it stays
    kept = [0, 1, 2, 4]
    first = F.cross_entropy(scores[:1, kept] / 0.05, target[:1])
    others = F.cross_entropy(scores[1:] / 0.05, target[1:], reduction="sum")
    close(losses.in_batch_negatives_loss(scores, target, temperature=0.05, excluded=excluded), (first + others) / 3)


def test_weights_weigh():
    scores, target = torch.randn(2, 4), torch.tensor([0, 1])
    only = losses.in_batch_negatives_loss(scores, target, weight=torch.tensor([1.0, 0.0]))
    close(only, F.cross_entropy(scores[:1], target[:1]))


def test_margin_ranking_is_torchs():
    p, n = torch.randn(7), torch.randn(7)
    same(
        lambda a, b: losses.margin_ranking_loss(a, b, margin=0.7),
        lambda a, b: F.margin_ranking_loss(a, b, torch.ones_like(a), margin=0.7),
        p, n,
    )  # fmt: skip


def test_hard_contrastive_is_cross_entropy_over_own_negatives():
    p, n = torch.randn(5), torch.randn(5, 3)
    same(
        lambda a, b: losses.contrastive_loss_with_hard_negatives(a, b),
        lambda a, b: F.cross_entropy(torch.cat([a[:, None], b], 1), torch.zeros(5, dtype=torch.long)),
        p, n,
    )  # fmt: skip
    margin = losses.contrastive_loss_with_hard_negatives(p, n, triplet_margin=2.0)
    close(margin, losses.contrastive_loss_with_hard_negatives(p, n) + F.relu(2 - p + n.amax(1)).mean())


def test_the_triplet_option_is_sentence_transformers_triplet_loss():
    from sentence_transformers.sparse_encoder.losses import SparseTripletLoss
    from sentence_transformers.util import pairwise_dot_score

    theirs = SparseTripletLoss(model=None, distance_metric=lambda a, b: -pairwise_dot_score(a, b), triplet_margin=3.0)

    def ours(q, p, n):
        positive, negative = (q * p).sum(1), (q * n).sum(1, keepdim=True)
        plain = losses.contrastive_loss_with_hard_negatives(positive, negative)
        return losses.contrastive_loss_with_hard_negatives(positive, negative, triplet_margin=3.0) - plain

    tensors = [torch.rand(6, 40) for _ in range(3)]
    same(ours, lambda *t: theirs.compute_loss_from_embeddings(list(t), None), *tensors)
    same(
        lambda q, p, n: losses.margin_ranking_loss((q * p).sum(1), (q * n).sum(1), margin=3.0),
        lambda *t: theirs.compute_loss_from_embeddings(list(t), None),
        *tensors,
    )


def test_a_query_without_negatives_costs_nothing_and_breaks_nothing():
    p, n = torch.randn(2, requires_grad=True), torch.randn(2, 3)
    present = torch.tensor([[True, True, False], [False, False, False]])
    value = losses.contrastive_loss_with_hard_negatives(p, n, present=present, triplet_margin=1.0)
    value.backward()
    assert torch.isfinite(p.grad).all()
    assert p.grad[1] == 0


def test_kl_is_sentence_transformers():
    from sentence_transformers.sparse_encoder.losses import SparseDistillKLDivLoss

    teacher = torch.randn(4, 3).double() * 5
    theirs = SparseDistillKLDivLoss(model=None, temperature=1.0, student_temperature=2.0)

    def ours(q, *d):
        scores = torch.stack([(q * one).sum(1) for one in d], 1)
        # Theirs multiplies by the squared student temperature; ours leaves that to the term's weight.
        return 4 * losses.kl_distillation(scores, teacher, temperature=2.0)

    tensors = [torch.rand(4, 30) for _ in range(4)]
    same(ours, lambda *t: theirs.compute_loss_from_embeddings(list(t), teacher), *tensors)


def test_kl_is_torchs_and_leaves_out_what_both_leave_out():
    s, t = torch.randn(4, 6), torch.randn(4, 6)
    same(
        lambda a: losses.kl_distillation(a, t.double()),
        lambda a: F.kl_div(a.log_softmax(1), t.double().softmax(1), reduction="batchmean"),
        s,
    )
    masked = t.clone()
    masked[:, 2] = -torch.inf
    kept = [0, 1, 3, 4, 5]
    value, (grad,) = with_grad(lambda a: losses.kl_distillation(a, masked.double()), s)
    close(value, losses.kl_distillation(s[:, kept], t[:, kept]).double())
    assert torch.isfinite(grad).all()
    assert (grad[:, 2] == 0).all()


def test_teachers_are_scaled_to_one_another():
    a = torch.tensor([[0.0, 5.0, 10.0]])
    b = torch.tensor([[1.0, 1.0, 1.0]])  # knows nothing: adds nothing
    close(losses.teacher_scores(a, b, scale=30), torch.tensor([[0.0, 7.5, 15.0]]))


def test_flops_is_sentence_transformers():
    from sentence_transformers.sparse_encoder.losses import FlopsLoss

    weights = torch.rand(5, 30).relu()
    theirs = FlopsLoss(model=None)
    same(losses.flops, lambda w: theirs.compute_loss_from_embeddings(w), weights)


def test_the_ramp_is_quadratic():
    assert [losses.quadratic_ramp(s, 100) for s in (0, 50, 100, 200)] == [0, 0.25, 1, 1]
    assert losses.quadratic_ramp(0, 0) == 1
    assert math.isclose(losses.quadratic_ramp(10, 100), 0.01)
