"""Training the encoder."""

from __future__ import annotations

from pipeline.config.section import Section, key


class TrainingConfig(Section):
    """Training: losses, schedule, and what is done when it goes wrong."""

    steps: int = key(600, "optimizer steps", ge=1)
    seed: int = key(13, "seed of every random choice")
