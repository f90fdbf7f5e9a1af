"""A dense encoder: a teacher of the sparse one, and a finder of hard negatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.encoder.module import bf16_is_fast
from pipeline.encoder.projection import pooled
from pipeline.errors import BadInputError


class DenseEncoder:
    """A dense encoder: the mean of the last hidden states over the tokens, normalised; E5's prefixes."""

    def __init__(self, folder: Path, device: torch.device, max_length: int) -> None:
        from transformers import AutoModel, AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            model: Any = AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
        except Exception as error:  # transformers raises whatever its parts raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BadInputError(f"the dense encoder {folder} cannot be loaded: {reason}") from error
        self.model = model.to(device).eval()
        self.device = device
        self.max_length = max_length

    def encode(
        self, texts: Sequence[str], prefix: str, progress: Callable[[int, int], None] | None = None, batch: int = 32
    ) -> NDArray[np.float32]:
        """Unit vectors (n, H) of the texts, each behind ``prefix`` ("query: " or "passage: ")."""
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        found: NDArray[np.float32] | None = None
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            encoded = self.tokenizer(
                [prefix + texts[i] for i in part], truncation=True, max_length=self.max_length, padding=True,
                return_tensors="pt", return_token_type_ids=False,
            ).to(self.device)  # fmt: skip
            with (
                torch.inference_mode(),
                torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16_is_fast(self.device)),
            ):
                hidden = self.model(**encoded).last_hidden_state
            vectors = pooled([hidden], encoded["attention_mask"], [0]).cpu().numpy()
            if found is None:
                found = np.zeros((len(texts), vectors.shape[1]), np.float32)
            found[part] = vectors
            if progress:
                progress(min(start + batch, len(order)), len(order))
        return found if found is not None else np.zeros((0, 1), np.float32)
