"""Fine-tuning of the dense encoder, end to end through the frozen query table. Imports nothing heavy by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.lazy_imports import attributes

if TYPE_CHECKING:
    from pipeline.training.finetune.collapse import CollapsedError
    from pipeline.training.finetune.trainer import FineTuned, fine_tune

_HOMES = {"CollapsedError": "collapse", "FineTuned": "trainer", "fine_tune": "trainer"}
__all__ = ["CollapsedError", "FineTuned", "fine_tune"]

__getattr__ = attributes(__name__, _HOMES)
