"""The encoder as it is trained: which weights move, and a batch's document weights on the dimensions needed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.config.training import TrainingConfig
from pipeline.encoder import Encoder
from pipeline.encoder.module import MaxLogits
from pipeline.errors import ConfigError
from pipeline.training import attention


@dataclass(frozen=True)
class Columns:
    """Output dimensions computed in a step: ``exact`` of them wanted, each other one stands for ``scale``."""

    ids: NDArray[np.int64]
    exact: int
    scale: float


class Student:
    """An `Encoder` in training. Tokenised texts come in, weights (D, C) go out."""

    def __init__(self, encoder: Encoder, settings: TrainingConfig) -> None:
        self.encoder = encoder
        self.settings = settings
        encoder.precision = settings.precision  # type: ignore[assignment]
        encoder.module.projection = encoder.module.styles = None  # fitted to states that move from here on
        encoder.facts.pop("query_terms", None)
        if settings.query_terms:
            encoder.facts["query_terms"] = settings.query_terms
        # No dropout: batches are few, and the same training must give the same weights after a resume.
        encoder.module.eval()
        attention.install(encoder.module.backbone)
        self.free = np.flatnonzero(~encoder.blocked)
        self.micro_batch = settings.micro_batch
        """Passages encoded at once; lowered when memory does not suffice."""
        self._freeze()

    def _freeze(self) -> None:
        module, settings = self.encoder.module, self.settings
        backbone: Any = module.backbone
        if settings.freeze_layers > 0:
            layers = _layers(backbone)
            if settings.freeze_layers > len(layers):
                raise ConfigError(
                    f"training.freeze_layers is {settings.freeze_layers}, but the model has {len(layers)} layers"
                )
            for layer in layers[: settings.freeze_layers]:
                layer.requires_grad_(False)
        if settings.freeze_embeddings or settings.freeze_layers > 0:
            for name, parameter in module.named_parameters():
                if "embeddings" in name:
                    parameter.requires_grad_(False)
            module.decoder.weight.requires_grad_(not settings.freeze_embeddings)
        if settings.gradient_checkpointing:
            backbone.gradient_checkpointing_enable()
            backbone.train()  # transformers checkpoints in training mode only; dropout is off below
            for part in backbone.modules():
                if isinstance(part, nn.Dropout):
                    part.p = 0.0

    def trainable(self) -> dict[str, nn.Parameter]:
        """Weights that move, by name, in a fixed order."""
        return {name: p for name, p in self.encoder.module.named_parameters() if p.requires_grad}

    def head(self) -> list[nn.Parameter]:
        """The output dimensions' trainable weights: the bias, and the matrix where no word embedding is tied to it."""
        decoder = self.encoder.module.decoder
        backbone: Any = self.encoder.module.backbone
        tied = decoder.weight is backbone.get_input_embeddings().weight
        held = {"bias"} if tied else {"bias", "weight"}
        return [p for name, p in decoder.named_parameters() if name in held and p.requires_grad]

    def tokens(self, texts: Sequence[str], length: int) -> list[list[int]]:
        """Token ids with special tokens, cut at ``length``."""
        encoded = self.encoder.tokenizer(
            list(texts), truncation=True, max_length=length, return_attention_mask=False, return_token_type_ids=False
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def queries(self, texts: Sequence[str]) -> sp.csr_matrix:
        """The weights (n, V) of the queries' own tokens, cut at ``query_max_length`` tokens."""
        encoder = self.encoder
        held = encoder.max_length
        encoder.max_length = min(held, self.settings.query_max_length)
        try:
            return encoder.token_queries(texts, encoder.query_weights)
        finally:
            encoder.max_length = held

    def learned_queries(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """What the model adds to queries given as token ids: (n, V) fp32, with gradients where they are wanted.

        Before the query weights; all output dimensions are computed, because a query is short.
        """
        everything = torch.arange(len(self.encoder.vocabulary), device=self.encoder.device)
        found: list[Tensor] = []
        places: list[int] = []
        for part, logits in self.batches(tokens, everything):
            places += part
            found.append(torch.log1p(torch.relu(logits)).masked_fill(self.encoder.module.blocked, 0.0))
        return torch.cat(found)[torch.tensor(places, device=self.encoder.device).argsort()]

    def columns(self, wanted_ids: NDArray[np.integer[Any]], draw: random.Random) -> Columns:
        """The wanted dimensions and a random sample of the others (all of them where so configured)."""
        own = np.unique(wanted_ids).astype(np.int64)
        rest = np.setdiff1d(self.free, own, assume_unique=True)
        wanted = self.settings.columns
        if 0 < wanted < len(rest):
            # A sorted sample: neighbouring rows of the table are read in order.
            sample = np.sort(np.array(draw.sample(range(len(rest)), wanted)))
            return Columns(np.concatenate([own, rest[sample]]), len(own), len(rest) / wanted)
        return Columns(np.concatenate([own, rest]), len(own), 1.0)

    def micro_batches(self, tokens: Sequence[Sequence[int]], processes: int = 1) -> list[list[int]]:
        """Positions in groups of ``micro_batch`` of about equal length, longest first, a group for every process."""
        order = sorted(range(len(tokens)), key=lambda i: (-len(tokens[i]), i))
        size = min(self.micro_batch, -(-len(order) // processes))
        return [order[i : i + size] for i in range(0, len(order), size)]

    def logits(self, tokens: Sequence[Sequence[int]], columns: Tensor) -> Tensor:
        """Each document's largest logits (n, C) fp32 on the columns, with gradients where they are wanted."""
        encoder = self.encoder
        ids, mask = encoder.padded(tokens)
        module = encoder.module
        backbone: Any = module.backbone
        with encoder.autocast():
            hidden: Tensor = backbone(input_ids=ids, attention_mask=mask).logits
        if torch.is_grad_enabled() and not hidden.requires_grad:
            hidden.requires_grad_()
        with encoder.autocast():
            if torch.is_autocast_enabled(hidden.device.type) and hidden.dtype == torch.float32:
                hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
        bias = module.decoder.bias
        assert bias is not None
        found = MaxLogits.apply(hidden, module.decoder.weight[columns], bias[columns], mask.bool())
        assert isinstance(found, Tensor)
        return found

    def batches(self, tokens: Sequence[Sequence[int]], columns: Tensor) -> Iterator[tuple[list[int], Tensor]]:
        """(positions, logits) of each micro-batch."""
        for part in self.micro_batches(tokens):
            yield part, self.logits([tokens[i] for i in part], columns)


def _layers(backbone: nn.Module) -> list[nn.Module]:
    """The transformer layers, lowest first: the longest list of modules, as many as the configuration says."""
    count = int(getattr(backbone.config, "num_hidden_layers", 0))
    for module in backbone.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
    raise ConfigError("this model's layers were not found: set training.freeze_layers to 0")
