"""Learning the query table, and fine-tuning the dense encoder."""

from __future__ import annotations

from pipeline.config.section import Section, key


class FineTuningConfig(Section):
    """Fine-tuning of the dense encoder itself, end to end through the table: for a GPU; renews all vectors."""

    steps: int = key(0, "optimizer steps; 0 leaves the dense encoder as it is", ge=0, common=True)
    batch_passages: int = key(64, "batch size in passages: positives and hard negatives", ge=2)
    hard_negatives_per_positive: int = key(1, "hard negatives that a positive brings into its batch", ge=0)
    queries_per_passage: int = key(2, "queries of one positive in a batch: they cost next to nothing", ge=1)
    micro_batch: int = key(16, "passages of a micro-batch; halved when memory does not suffice", ge=1)
    max_length: int = key(128, "tokens of a passage in training", ge=16, le=512)
    freeze_layers: int = key(6, "lowest transformer layers that stay frozen; word embeddings always are", ge=0)
    learning_rate: float = key(2e-5, "AdamW's peak learning rate", gt=0, common=True)
    weight_decay: float = key(0.01, "AdamW's weight decay", ge=0)
    warmup_ratio: float = key(
        0.1,
        "share of the steps in which the learning rate rises linearly (warm-up); it then decays to 0",
        ge=0,
        lt=1,
        common=True,
    )
    max_grad_norm: float = key(1.0, "gradients are clipped to this norm", gt=0)
    temperature: float = key(4.0, "softmax temperature of the contrastive losses", gt=0, common=True)
    in_batch_weight: float = key(1.0, "weight of in_batch_negatives_loss", ge=0)
    hard_negatives_weight: float = key(
        0.0, "weight of contrastive_loss_with_hard_negatives, over a query's own negatives", ge=0
    )
    triplet_margin: float = key(0.0, "margin of its triplet option, in score units; 0 leaves it out", ge=0)
    margin_weight: float = key(0.0, "weight of margin_ranking_loss", ge=0)
    margin: float = key(1.0, "margin of margin_ranking_loss, in score units", ge=0)
    distillation_weight: float = key(
        1.0, "weight of kl_distillation; the teacher is the mean of BM25-like and dense scores", ge=0
    )
    teacher_scale: float = key(15.0, "factor of the teacher's scores, each from 0 to 1 in a batch", gt=0)
    flops_weight: float = key(0.001, "weight of the FLOPS regularizer after its warm-up", ge=0)
    flops_warmup_ratio: float = key(
        0.33, "share of the steps in which the regularizer's weight rises quadratically", ge=0, le=1
    )
    checkpoint_steps: int = key(50, "steps between checkpoints", ge=1)
    validation_queries: int = key(200, "validation queries, of articles kept from training; 0 validates nothing", ge=0)
    validation_steps: int = key(100, "steps between two validations", ge=1)
    min_active_terms: float = key(
        10.0, "mean active terms of a document under which training is stopped as collapsed", ge=0
    )
    max_active_share: float = key(
        0.3, "share of the vocabulary active after the regularizer's warm-up that counts as collapsed", gt=0
    )


class TrainingConfig(Section):
    """Training: the query table, learned in closed form from the articles, and what validation chooses."""

    seed: int = key(13, "seed of every random choice")
    queries_per_text: int = key(6, "keyword queries drawn from a text to learn the table", ge=1)
    query_words: int = key(5, "words of a keyword query at most", ge=1)
    heaviest_words: int = key(12, "heaviest words of a text (by tf-idf) that its keyword queries are drawn from", ge=1)
    decay_factor: float = key(1.0, "weight of a day's articles, per day of age", gt=0, le=1, common=True)
    ridge: float = key(1.0, "ridge penalty: how many queries the prior of a token's row counts as", gt=0)
    prior_share: float = key(0.5, "share of a token's own vector that is the prior of its row", ge=0, le=1)
    validation_texts: int = key(
        2000, "newest texts whose titles, and short queries made of them, are the validation queries", ge=50
    )
    fine_tuning: FineTuningConfig = key(FineTuningConfig(), "fine-tuning of the dense encoder itself", common=True)
