"""Training the encoder."""

from __future__ import annotations

from pipeline.config.section import Section, key


class TrainingConfig(Section):
    """Training: losses, schedule, and what is done when it goes wrong."""

    steps: int = key(600, "optimizer steps", ge=1)
    seed: int = key(13, "seed of every random choice")
    batch_passages: int = key(32, "passages of a batch: positives and hard negatives", ge=2)
    hard_per_positive: int = key(3, "hard negatives that come into the batch with a positive", ge=0)
    queries_per_passage: int = key(3, "queries of one positive in a batch: they cost next to nothing", ge=1)
    micro_batch: int = key(16, "passages encoded at once, of about equal length", ge=1)
    gradient_cache: bool = key(False, "true encodes twice and holds one micro-batch's activations: for large batches")
    gradient_checkpointing: bool = key(False, "true computes activations again in the backward pass: less memory")
    max_length: int = key(128, "tokens of a passage in training", ge=16, le=512)
    query_max_length: int = key(48, "tokens of a query in training", ge=4, le=512)
    query_terms: int = key(
        0, "bi-encoder queries: terms that the model itself adds to a query at most; 0: the query's tokens alone", ge=0
    )

    learning_rate: float = key(1e-4, "AdamW's largest step size", gt=0)
    head_learning_rate: float = key(
        1e-4, "the same for the output dimensions: bias, and matrix unless tied to the words' embeddings", gt=0
    )
    weight_decay: float = key(0.01, "AdamW's weight decay", ge=0)
    warmup_share: float = key(0.1, "share of the steps in which the step size rises; it falls to 0 after", ge=0, lt=1)
    clip_norm: float = key(1.0, "largest norm of the gradient", gt=0)
    freeze_layers: int = key(0, "lowest transformer layers that are not trained (their backward pass is saved)", ge=0)
    freeze_embeddings: bool = key(False, "true leaves token embeddings, and an output matrix tied to them, as they are")
    columns: int = key(2048, "output dimensions computed in a step beside the queries' own; 0 computes all", ge=0)

    temperature: float = key(1.5, "scores are divided by it", gt=0)
    in_batch_weight: float = key(1.0, "weight of in_batch_negatives_loss", ge=0)
    hard_weight: float = key(0.0, "weight of contrastive_loss_with_hard_negatives, over a query's own negatives", ge=0)
    triplet_margin: float = key(0.0, "margin of its triplet option, in score units; 0 leaves it out", ge=0)
    margin_weight: float = key(0.0, "weight of margin_ranking_loss", ge=0)
    margin: float = key(1.0, "margin of margin_ranking_loss, in score units", ge=0)
    margin_mse_weight: float = key(0.0, "weight of margin_mse towards the teacher", ge=0)
    distil_weight: float = key(0.0, "weight of kl_distillation towards the teacher", ge=0)
    teacher: str = key(
        "none", "whose scores are distilled: bm25, dense, both or none", pattern="^(bm25|dense|both|none)$"
    )
    teacher_scale: float = key(15.0, "factor of the teacher's scores, each from 0 to 1 in a batch", gt=0)

    floor_share: float = key(
        0.5, "share of encoder.lexical_floor that is trained over: with less of it the model learns more", gt=0, le=1
    )
    champion_weight: float = key(
        0.0, "weight of kl_distillation towards the model in service: against forgetting", ge=0
    )

    flops_weight: float = key(0.001, "weight of the sparsity term at the end of its ramp", ge=0)
    flops_ramp: float = key(0.33, "share of the steps in which the sparsity weight rises quadratically", ge=0, le=1)
    flops_kind: str = key("flops", "flops, or df_flops that charges frequent terms more", pattern="^(flops|df_flops)$")
    l0_threshold: int = key(0, "documents with no more active terms are not charged; 0 charges all", ge=0)

    projection_epochs: int = key(
        0, "epochs of fitting a projection of whole texts to terms, after the last step; 0: none", ge=0
    )
    projection_terms: float = key(150.0, "terms of a text that a projection may fire, on average", gt=0)
    projection_weight: float = key(0.5, "factor of a projection's weights", gt=0)
    styles: int = key(
        0, "ways of writing told apart after the last step, so that a title's signs find its text; 0: none", ge=0
    )
    style_weight: float = key(0.5, "factor of the weights that signs get by styles", gt=0)

    checkpoint_every: int = key(50, "steps between checkpoints", ge=1)
    validation_queries: int = key(200, "queries of articles kept from training to watch it; 0 watches nothing", ge=0)
    validate_every: int = key(150, "steps between looks at them", ge=1)
    patience: int = key(3, "looks without a better value after which training stops", ge=1)
    min_active: float = key(10.0, "mean active terms of a document under which training is stopped as collapsed", ge=0)
    max_active_share: float = key(0.2, "share of the vocabulary active after the ramp that counts as collapsed", gt=0)
    precision: str = key(
        "auto", "auto, float32 or bfloat16 (auto: bfloat16 where it is fast)", pattern="^(auto|float32|bfloat16)$"
    )
    soup: float = key(0.0, "share of the start's weights mixed into the result: against forgetting", ge=0, lt=1)
    soup_choices: int = key(
        0,
        "shares of the start tried in the result (evenly from 0), chosen by the watched queries; 0: soup",
        ge=0,
        le=20,
    )
