"""Query weights as an artifact (kind ``weights``)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CorruptArtifactError


@dataclass(frozen=True)
class QueryWeights:
    """``weights`` float32 (V,), one a token of the encoder's vocabulary; ``explanation`` says how they were made and
    which words boost which token."""

    weights: NDArray[np.float32]
    explanation: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write ``weights.npy`` and ``explain.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "weights.npy", np.asarray(self.weights, np.float32))
        text = json.dumps(self.explanation, ensure_ascii=False, indent=1)
        (folder / "explain.json").write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> QueryWeights:
        """Read both files; CorruptArtifactError where one is missing or garbled."""
        try:
            weights = np.asarray(np.load(folder / "weights.npy", allow_pickle=False), np.float32)
            return cls(weights, json.loads((folder / "explain.json").read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise CorruptArtifactError(f"{folder} holds no readable query weights ({error})") from error
