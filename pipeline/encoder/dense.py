"""A dense encoder, as it is: its own tokenizer, its own pooling, its own prefixes. Nothing of it is retrained daily."""

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
from pipeline.errors import BadInputError

FILE = "dense.json"
"""Its file in a folder: how the encoder pools and which prefixes it wants."""
MAX_TOKENS = 512
BATCH_TOKENS = 4096
"""Tokens (with padding) that go through the encoder at once on a CPU; 16 times as many on a GPU."""
Pooling = Literal["mean", "cls"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DenseSettings:
    """How an encoder is used: ``pooling`` of the last hidden states (``mean`` over the tokens, or ``cls``, the first
    one's), what stands before a query and before a passage."""

    pooling: Pooling = "mean"
    query_prefix: str = ""
    passage_prefix: str = ""

    @classmethod
    def read(cls, folder: Path) -> DenseSettings:
        """The settings of a folder: ours, or those that sentence-transformers wrote; E5's mean pooling without any.

        Raises BadInputError for a pooling that is not supported.
        """
        if (folder / FILE).exists():
            return cls(**json.loads((folder / FILE).read_text("utf-8")))
        pooling, prompts = "mean", dict[str, str]()
        for file in sorted(folder.glob("*_Pooling/config.json")):
            facts = json.loads(file.read_text("utf-8"))
            modes = [k.removeprefix("pooling_mode_") for k, v in facts.items() if k.startswith("pooling_mode_") and v]
            pooling = str(facts.get("pooling_mode") or next(iter(modes), "mean"))
            pooling = {"mean_tokens": "mean", "cls_token": "cls"}.get(pooling, pooling)
        if (folder / "config_sentence_transformers.json").exists():
            facts = json.loads((folder / "config_sentence_transformers.json").read_text("utf-8"))
            prompts = facts.get("prompts") or {}
        if pooling not in ("mean", "cls"):
            raise BadInputError(f"{folder} pools by {pooling!r}: only mean and cls are supported; name another encoder")
        passage = prompts.get("passage") or prompts.get("document") or ""
        return cls(pooling, prompts.get("query") or "", passage)  # type: ignore[arg-type]


class DenseEncoder:
    """A transformers encoder with its tokenizer: text in, unit vectors of ``width`` numbers out.

    ``model`` is in eval mode; ``max_tokens`` are read of a text, special tokens included.
    """

    def __init__(self, model: Any, tokenizer: Any, settings: DenseSettings, *, device: str | None = None) -> None:
        self.device = best_device(device)
        self.model = model.to(self.device).eval()
        self.tokenizer = tokenizer
        self.settings = settings
        self.width = int(model.config.hidden_size)
        positions = int(getattr(model.config, "max_position_embeddings", MAX_TOKENS) or MAX_TOKENS)
        if "roberta" in str(getattr(model.config, "model_type", "")):
            positions -= int(getattr(model.config, "pad_token_id", 1) or 1) + 1  # RoBERTa counts from there
        self.max_tokens = min(positions, MAX_TOKENS, int(tokenizer.model_max_length))

    @classmethod
    def load(cls, source: str | Path, *, device: str | None = None, settings: DenseSettings | None = None,
             offline: bool = True) -> DenseEncoder:  # fmt: skip
        """Read an encoder from a folder, or with ``offline`` false from the hub by its name.

        Only safetensors are read and no code of the model is run. Raises BadInputError where there is none.
        """
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        where: dict[str, Any] = {"trust_remote_code": False, "local_files_only": offline}
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, **where)
            kind = AutoConfig.from_pretrained(source, **where).model_type
            # Without a pooler, which nobody uses: BERT would make a random one and warn of it.
            parts = {"add_pooling_layer": False} if kind in ("bert", "roberta", "xlm-roberta") else {}
            model = AutoModel.from_pretrained(source, use_safetensors=True, dtype=torch.float32, **where, **parts)
        except Exception as error:  # transformers raises whatever its parts raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise BadInputError(f"the dense encoder {source} cannot be loaded: {reason}.") from error
        if not tokenizer.is_fast:
            raise BadInputError(f"{source} has no fast tokenizer: name another dense encoder")
        folder = Path(source)
        return cls(model, tokenizer, settings or (DenseSettings.read(folder) if folder.is_dir() else DenseSettings()),
                   device=device)  # fmt: skip

    def save(self, folder: Path) -> None:
        """Write weights (float16), tokenizer and settings. Half precision moves vectors by less than 1e-3, and everyone
        reads what was written: what is learned and what is served come from the same numbers."""
        self.model.half().save_pretrained(folder, safe_serialization=True)
        self.model.float()
        config = json.loads((folder / "config.json").read_text("utf-8"))
        config["dtype"] = "float32"  # whoever loads it computes in single precision, as we do
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
        self.tokenizer.backend_tokenizer.no_truncation()  # left by the last call, and not part of what it is
        self.tokenizer.backend_tokenizer.no_padding()
        # What was last encoded must not be in the files: the same encoder has the same bytes.
        self.tokenizer.backend_tokenizer.no_truncation()
        self.tokenizer.backend_tokenizer.no_padding()
        self.tokenizer.save_pretrained(folder)
        (folder / FILE).write_text(json.dumps(self.settings.__dict__, ensure_ascii=False), "utf-8")

    # ------------------------------------------------------------------ text to vectors
    def tokens(
        self, texts: Sequence[str], kind: Literal["query", "passage"], most: int | None = None
    ) -> list[list[int]]:
        """Token ids of each text behind its prefix, with special tokens, cut at ``most``, else at ``max_tokens``."""
        if not texts:
            return []
        prefix = self.settings.query_prefix if kind == "query" else self.settings.passage_prefix
        encoded = self.tokenizer(
            [prefix + text for text in texts], truncation=True, max_length=most or self.max_tokens,
            return_attention_mask=False, return_token_type_ids=False,
        )  # fmt: skip
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def batches(self, tokens: Sequence[Sequence[int]]) -> list[list[int]]:
        """Positions of texts of about equal length, longest first (so memory trouble shows at once)."""
        budget = BATCH_TOKENS * (16 if self.device.type == "cuda" else 1)
        order = sorted(range(len(tokens)), key=lambda index: -len(tokens[index]))
        parts, start = [], 0
        while start < len(order):
            size = max(1, min(64 * (8 if self.device.type == "cuda" else 1), budget // len(tokens[order[start]])))
            parts.append(order[start : start + size])
            start += size
        return parts

    def padded(self, tokens: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Token ids as padded ids and mask, both (n, longest), on the encoder's device."""
        length = max(len(ids) for ids in tokens)
        ids = torch.full((len(tokens), length), int(self.tokenizer.pad_token_id or 0), dtype=torch.long)
        mask = torch.zeros((len(tokens), length), dtype=torch.long)
        for row, own in enumerate(tokens):
            ids[row, : len(own)] = torch.as_tensor(own)
            mask[row, : len(own)] = 1
        return ids.to(self.device), mask.to(self.device)

    def states(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled vectors (n, H) of length 1 and token states (n, L, H) divided by the same norms, float32; with
        gradients where they are wanted."""
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
        """Unit vectors (n, H) float32 of the texts, each behind its prefix, in their order.

        Raises BadInputError where memory does not suffice for a single text.
        """
        tokens = self.tokens(texts, kind)
        vectors: NDArray[np.float32] = np.zeros((len(texts), self.width), np.float32)
        done = 0
        for part in self.batches(tokens):
            vectors[part] = self._vectors([tokens[i] for i in part])
            done += len(part)
            if progress:
                progress(done, len(texts))
        return vectors

    def _vectors(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Vectors of one batch; encoded half by half where memory does not suffice for all at once."""
        try:
            with torch.inference_mode():
                return np.asarray(self.states(*self.padded(tokens))[0].cpu().numpy(), np.float32)
        except Exception as error:
            if not out_of_memory(error):
                raise
            if len(tokens) == 1:
                raise BadInputError(
                    f"memory does not suffice for one text of {len(tokens[0])} tokens: free some"
                ) from error
        # Here the error is gone, and with it what it kept in memory.
        half = len(tokens) // 2
        return np.concatenate([self._vectors(tokens[:half]), self._vectors(tokens[half:])])


def identity(folder: Path) -> str:
    """The identity (16 hex digits) of the dense encoder in ``folder``: its weights, tokenizer and settings."""
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), folder / "tokenizer.json", folder / FILE]):
        if file.exists():
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]
