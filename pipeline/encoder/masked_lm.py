"""Published masked language models as encoders, for comparison: SPLADE and the doc-only models of OpenSearch.

Documents get ``log1p(relu(max over positions of the logits))`` (SPLADE-max, arXiv 2109.10086); queries get the weights
of the tokens they contain. These models are evaluated only: Garam neither trains nor deploys them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from pipeline.artifacts.vectors import DenseVectors
from pipeline.encoder.encoder import Encoder, Progress, QueryEncoder
from pipeline.encoder.hardware import autocast, best_device
from pipeline.encoder.normaliser import put_in_front
from pipeline.encoder.vocabulary import MANIFEST
from pipeline.errors import BadInputError

MAX_TOKENS = 512
_BATCH = 16


class MaskedLMEncoder(QueryEncoder):
    """A masked language model as an inference-free encoder, with the interface of `Encoder`."""

    def __init__(self, folder: Path, *, device: str | None = None) -> None:
        """Read the folder (config.json, safetensors, tokenizer). Raises BadInputError where it cannot be used."""
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
            model, report = AutoModelForMaskedLM.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
            )
        except Exception as error:  # transformers raises whatever its parts raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise BadInputError(f"{folder} cannot be loaded as a masked language model: {reason}.") from error
        if report["missing_keys"]:
            raise BadInputError(f"{folder} has no trained masked-LM head, so it is not a sparse encoder")
        super().__init__(put_in_front(tokenizer), int(model.config.vocab_size), None)
        self.device = best_device(device)
        self.model: Any = model.to(self.device).eval()
        self.max_tokens = min(int(tokenizer.model_max_length), MAX_TOKENS)

    def encode_documents(
        self, texts: Sequence[str], *, dense: DenseVectors | None = None, progress: Progress | None = None
    ) -> sp.csr_matrix:
        """Documents as rows (n, V) float32, in the given order. ``dense`` is ignored; ``progress(done, total)`` counts
        documents."""
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        blocked = torch.from_numpy(self.blocked).to(self.device)
        batches = [sp.csr_matrix(np.zeros((0, len(self.vocabulary)), np.float32))]
        for start in range(0, len(order), _BATCH):
            batch = [texts[i] for i in order[start : start + _BATCH]]
            encoded = self.tokenizer(
                batch, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt",
                return_token_type_ids=False,
            ).to(self.device)  # fmt: skip
            with torch.inference_mode(), autocast(self.device):
                logits = self.model(**encoded).logits.float()
            logits = logits.masked_fill(~encoded["attention_mask"].bool().unsqueeze(-1), -torch.inf).amax(1)
            weights = torch.log1p(torch.relu(logits)).masked_fill(blocked, 0.0)
            batches.append(sp.csr_matrix(weights.cpu().numpy()))
            if progress:
                progress(min(start + _BATCH, len(order)), len(order))
        return sp.csr_matrix(sp.vstack(batches, format="csr")[np.argsort(order)])


def load_any(folder: Path, *, device: str | None = None) -> Encoder | MaskedLMEncoder:
    """Load a folder: an encoder saved by Garam, or else a masked language model."""
    if folder.is_dir() and not (folder / MANIFEST).exists() and (folder / "config.json").exists():
        return MaskedLMEncoder(folder, device=device)
    return Encoder.load(folder, device=device)
