"""The dense encoder of documents: a transformers model with its own tokenizer, pooling and prefixes.

It is frozen in daily training; only `pipeline.training.finetune` changes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.encoder.hardware import autocast, best_device, out_of_memory
from pipeline.encoder.normaliser import put_in_front
from pipeline.errors import BadInputError

FILE = "dense.json"
"""File of `DenseSettings` in the folder of a dense encoder."""
MAX_TOKENS = 512
BATCH_TOKENS = 4096
"""Tokens of a batch, padding included, on a CPU; 16 times as many on a GPU."""
Pooling = Literal["mean", "cls"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DenseSettings:
    """``pooling`` of the last hidden states (``mean`` over the tokens, or ``cls``, the first token) and the prefixes of
    queries and passages (E5's ``query: `` and ``passage: ``)."""

    pooling: Pooling = "mean"
    query_prefix: str = ""
    passage_prefix: str = ""

    @classmethod
    def read(cls, folder: Path) -> DenseSettings:
        """The settings in ``dense.json``, else in the files of sentence-transformers, else mean pooling.

        Raises BadInputError for a pooling that is not supported.
        """
        if (folder / FILE).exists():
            return cls(**json.loads((folder / FILE).read_text("utf-8")))
        pooling, prompts = "mean", dict[str, str]()
        for file in sorted(folder.glob("*_Pooling/config.json")):
            config = json.loads(file.read_text("utf-8"))
            modes = [k.removeprefix("pooling_mode_") for k, v in config.items() if k.startswith("pooling_mode_") and v]
            pooling = str(config.get("pooling_mode") or next(iter(modes), "mean"))
            pooling = {"mean_tokens": "mean", "cls_token": "cls"}.get(pooling, pooling)
        if (folder / "config_sentence_transformers.json").exists():
            config = json.loads((folder / "config_sentence_transformers.json").read_text("utf-8"))
            prompts = config.get("prompts") or {}
        if pooling not in ("mean", "cls"):
            raise BadInputError(f"{folder} uses {pooling!r} pooling: only mean and cls work; name another encoder")
        passage = prompts.get("passage") or prompts.get("document") or ""
        return cls(pooling, prompts.get("query") or "", passage)  # type: ignore[arg-type]


class DenseEncoder:
    """A transformers encoder with its tokenizer: texts to unit vectors.

    Attributes: ``model`` (in eval mode), ``tokenizer``, ``settings``, ``device``, ``width`` (dimensions H of a vector)
    and ``max_tokens`` (longest input in tokens, special tokens included).
    """

    def __init__(self, model: Any, tokenizer: Any, settings: DenseSettings, *, device: str | None = None) -> None:
        self.device = best_device(device)
        self.model = model.to(self.device).eval()
        self.tokenizer = put_in_front(tokenizer)
        self.settings = settings
        self.width = int(model.config.hidden_size)
        positions = int(getattr(model.config, "max_position_embeddings", MAX_TOKENS) or MAX_TOKENS)
        if "roberta" in str(getattr(model.config, "model_type", "")):
            positions -= int(getattr(model.config, "pad_token_id", 1) or 1) + 1  # ids start after the padding
        self.max_tokens = min(positions, MAX_TOKENS, int(tokenizer.model_max_length))

    @classmethod
    def load(cls, source: str | Path, *, device: str | None = None, offline: bool = True) -> DenseEncoder:
        """Load an encoder from a folder, or by its name from the Hugging Face hub (unless ``offline``).

        Only safetensors are read and no remote code is run. Raises BadInputError where it cannot be loaded.
        """
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": offline}
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            kind = AutoConfig.from_pretrained(source, **options).model_type
            # The pooler is not used, and BERT would initialise a random one with a warning.
            parts = {"add_pooling_layer": False} if kind in ("bert", "roberta", "xlm-roberta") else {}
            model = AutoModel.from_pretrained(source, use_safetensors=True, dtype=torch.float32, **options, **parts)
        except Exception as error:  # transformers raises whatever its parts raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise BadInputError(f"the dense encoder {source} cannot be loaded: {reason}.") from error
        if not tokenizer.is_fast:
            raise BadInputError(f"{source} has no fast tokenizer: name another dense encoder")
        settings = DenseSettings.read(Path(source)) if Path(source).is_dir() else DenseSettings()
        return cls(model, tokenizer, settings, device=device)

    def save(self, folder: Path) -> None:
        """Write weights (float16), tokenizer and settings.

        Half precision changes vectors by less than 1e-3. Training and serving both load the saved weights, so they use
        the same vectors.
        """
        self.model.half().save_pretrained(folder, safe_serialization=True)
        self.model.float()
        config = json.loads((folder / "config.json").read_text("utf-8"))
        config["dtype"] = "float32"  # the precision to compute in after loading
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
        # Truncation and padding of the last call would be saved, too: the same encoder has to give the same bytes.
        self.tokenizer.backend_tokenizer.no_truncation()
        self.tokenizer.backend_tokenizer.no_padding()
        self.tokenizer.save_pretrained(folder)
        (folder / FILE).write_text(json.dumps(self.settings.__dict__, ensure_ascii=False), "utf-8")

    # ------------------------------------------------------------------ text to vectors
    def tokens(
        self, texts: Sequence[str], kind: Literal["query", "passage"], max_tokens: int | None = None
    ) -> list[list[int]]:
        """Token ids of each text with prefix and special tokens, truncated to ``max_tokens`` (default: the model's)."""
        if not texts:
            return []
        prefix = self.settings.query_prefix if kind == "query" else self.settings.passage_prefix
        encoded = self.tokenizer(
            [prefix + text for text in texts], truncation=True, max_length=max_tokens or self.max_tokens,
            return_attention_mask=False, return_token_type_ids=False,
        )  # fmt: skip
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def batches(self, tokens: Sequence[Sequence[int]]) -> list[list[int]]:
        """Indices in batches of texts of similar length, longest first (so that running out of memory shows early)."""
        budget = BATCH_TOKENS * (16 if self.device.type == "cuda" else 1)
        order = sorted(range(len(tokens)), key=lambda index: -len(tokens[index]))
        batches, start = [], 0
        while start < len(order):
            size = max(1, min(64 * (8 if self.device.type == "cuda" else 1), budget // len(tokens[order[start]])))
            batches.append(order[start : start + size])
            start += size
        return batches

    def padded(self, tokens: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Padded token ids and attention mask, both (n, longest), on the device of the encoder."""
        length = max(len(ids) for ids in tokens)
        ids = torch.full((len(tokens), length), int(self.tokenizer.pad_token_id or 0), dtype=torch.long)
        mask = torch.zeros((len(tokens), length), dtype=torch.long)
        for row, text_ids in enumerate(tokens):
            ids[row, : len(text_ids)] = torch.as_tensor(text_ids)
            mask[row, : len(text_ids)] = 1
        return ids.to(self.device), mask.to(self.device)

    def states(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors (n, H) and token states (n, L, H) divided by the same norms, float32; differentiable."""
        with autocast(self.device):
            hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        hidden = hidden.float()
        if self.settings.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weights = mask.unsqueeze(-1).float()
            pooled = (hidden * weights).sum(1) / weights.sum(1).clamp_min(1.0)
        norms = pooled.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return pooled / norms, hidden / norms.unsqueeze(1)

    def encode(
        self, texts: Sequence[str], kind: Literal["query", "passage"], progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Unit vectors (n, H) float32 of the texts, encoded with their prefix, in the given order.

        ``progress(done, total)`` counts texts. Raises BadInputError where a single text does not fit into memory.
        """
        tokens = self.tokens(texts, kind)
        vectors: NDArray[np.float32] = np.zeros((len(texts), self.width), np.float32)
        done = 0
        for batch in self.batches(tokens):
            vectors[batch] = self._encode_batch([tokens[i] for i in batch])
            done += len(batch)
            if progress:
                progress(done, len(texts))
        return vectors

    def _encode_batch(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Vectors of one batch; where it does not fit into memory, of its halves."""
        try:
            with torch.inference_mode():
                return np.asarray(self.states(*self.padded(tokens))[0].cpu().numpy(), np.float32)
        except Exception as error:
            if not out_of_memory(error):
                raise
            if len(tokens) == 1:
                raise BadInputError(
                    f"out of memory while encoding a text of {len(tokens[0])} tokens: free some memory"
                ) from error
        # Outside the except block: the exception no longer keeps the tensors of the failed batch alive.
        half = len(tokens) // 2
        return np.concatenate([self._encode_batch(tokens[:half]), self._encode_batch(tokens[half:])])


def identity(folder: Path) -> str:
    """Hash (16 hex digits) of the weights, tokenizer and settings of the dense encoder in ``folder``."""
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), folder / "tokenizer.json", folder / FILE]):
        if file.exists():
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]
