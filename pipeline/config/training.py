"""Learning the query table, and fine-tuning the dense encoder."""

from __future__ import annotations

from pipeline.config.section import Section, key


class FineTuningConfig(Section):
    """Fine-tuning of the dense encoder itself, end to end through the table: for a GPU; renews all vectors."""

    steps: int = key(0, "optimizer steps; 0 leaves the dense encoder as it is", ge=0)
    batch_passages: int = key(64, "passages of a batch: positives and hard negatives", ge=2)
    hard_per_positive: int = key(1, "hard negatives that come into the batch with a positive", ge=0)
    queries_per_passage: int = key(2, "queries of one positive in a batch: they cost next to nothing", ge=1)
    micro_batch: int = key(16, "passages encoded at once; halved when memory does not suffice", ge=1)
    max_length: int = key(128, "tokens of a passage in training", ge=16, le=512)
    freeze_layers: int = key(6, "lowest transformer layers that are not trained; word embeddings never are", ge=0)
    learning_rate: float = key(2e-5, "AdamW's largest step size", gt=0)
    weight_decay: float = key(0.01, "AdamW's weight decay", ge=0)
    warmup_share: float = key(0.1, "share of the steps in which the step size rises; it falls to 0 after", ge=0, lt=1)
    clip_norm: float = key(1.0, "largest norm of the gradient", gt=0)
    temperature: float = key(4.0, "scores are divided by it", gt=0)
    in_batch_weight: float = key(1.0, "weight of in_batch_negatives_loss", ge=0)
    hard_weight: float = key(0.0, "weight of contrastive_loss_with_hard_negatives, over a query's own negatives", ge=0)
    triplet_margin: float = key(0.0, "margin of its triplet option, in score units; 0 leaves it out", ge=0)
    margin_weight: float = key(0.0, "weight of margin_ranking_loss", ge=0)
    margin: float = key(1.0, "margin of margin_ranking_loss, in score units", ge=0)
    distil_weight: float = key(1.0, "weight of kl_distillation towards the mean of floor and dense encoder", ge=0)
    teacher_scale: float = key(15.0, "factor of the teacher's scores, each from 0 to 1 in a batch", gt=0)
    flops_weight: float = key(0.001, "weight of the sparsity term at the end of its ramp", ge=0)
    flops_ramp: float = key(0.33, "share of the steps in which the sparsity weight rises quadratically", ge=0, le=1)
    checkpoint_every: int = key(50, "steps between checkpoints", ge=1)
    validation_queries: int = key(200, "queries of articles kept from training to watch it; 0 watches nothing", ge=0)
    validate_every: int = key(100, "steps between looks at them", ge=1)
    min_active: float = key(10.0, "mean active terms of a document under which training is stopped as collapsed", ge=0)
    max_active_share: float = key(0.3, "share of the vocabulary active after the ramp that counts as collapsed", gt=0)


class TrainingConfig(Section):
    """Training: the query table, learned in closed form from the articles, and what validation chooses."""

    seed: int = key(13, "seed of every random choice")
    queries_per_text: int = key(6, "keyword queries drawn from a text to learn the table", ge=1)
    query_words: int = key(5, "words of a keyword query at most", ge=1)
    heaviest_words: int = key(12, "heaviest words of a text (by tf-idf) that its keyword queries are drawn from", ge=1)
    decay_factor: float = key(1.0, "weight of a day's articles, per day of age", gt=0, le=1)
    ridge: float = key(1.0, "ridge penalty: how many queries the prior of a token's row counts as", gt=0)
    prior_share: float = key(0.5, "share of a token's own vector that is the prior of its row", ge=0, le=1)
    recent_texts: int = key(
        2000, "newest texts whose titles, and short queries made of them, choose thresholds, gain and rung", ge=50
    )
    fine_tuning: FineTuningConfig = key(FineTuningConfig(), "training of the dense encoder itself")
