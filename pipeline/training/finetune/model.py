"""The model that is fine-tuned: the dense encoder followed by the frozen query table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.config.training import FineTuningConfig
from pipeline.encoder import Encoder
from pipeline.encoder.hardware import out_of_memory
from pipeline.errors import BadInputError, ConfigError
from pipeline.progress import Progress

T = TypeVar("T")
GAIN = 32.0
"""Gain in training where the table of the initial model has none (a base)."""
ACTIVATION_SHARE = 0.1
"""Share of the passages in which a token is active, where the table of the initial model has no thresholds."""
THRESHOLD_SAMPLE = 1000
"""Passages that such thresholds are estimated from."""


class SparseModel:
    """A dense encoder whose upper layers are trained, and a frozen query table on top.

    The encoder stays in eval mode: without dropout a resumed training repeats the same steps exactly.

    Attributes: ``dense``; ``table`` (of the initial model, with the gain and thresholds of the training);
    ``micro_batch`` (passages in one forward pass; halved when memory runs out).
    """

    def __init__(
        self, encoder: Encoder, texts: Sequence[str], settings: FineTuningConfig, world_size: int, progress: Progress
    ) -> None:
        """Freeze the lower layers. ``texts`` are sampled for thresholds where the table has none.

        Raises BadInputError for an encoder without a table, ConfigError where no layer is left to train.
        """
        if encoder.table is None:
            raise BadInputError("the initial model of the fine-tuning has no query table: learn one first")
        self.dense, self.micro_batch = encoder.dense, settings.micro_batch
        self._max_tokens = min(settings.max_length, self.dense.max_tokens)
        self._world_size, self._progress = world_size, progress
        _freeze(self.dense.model, settings.freeze_layers)
        self.table = encoder.table.with_gain(encoder.table.gain if encoder.table.gain > 0 else GAIN)
        if np.isinf(self.table.thresholds[~encoder.blocked]).mean() > 0.5:
            sample = np.linspace(0, len(texts) - 1, min(THRESHOLD_SAMPLE, len(texts))).astype(int)
            vectors = self.encode_texts([texts[i] for i in sample], "encoding passages for thresholds")
            z = self.table.scores(vectors, np.arange(len(vectors) + 1))
            thresholds = np.quantile(z, 1 - ACTIVATION_SHARE, axis=0).astype(np.float32)
            self.table = replace(self.table, thresholds=np.where(encoder.blocked, np.float32(np.inf), thresholds))
        arrays = (self.table.rows, self.table.thresholds)
        self._rows, self._thresholds = (torch.from_numpy(a).to(self.dense.device) for a in arrays)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The trained parameters by name, in a fixed order."""
        return {name: p for name, p in self.dense.model.named_parameters() if p.requires_grad}

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of passages with prefix and special tokens, truncated to ``max_length`` of the settings."""
        return self.dense.tokens(texts, "passage", self._max_tokens)

    def micro_batches(self, tokens: Sequence[Sequence[int]]) -> list[list[int]]:
        """Indices in micro-batches of passages of similar length, longest first; at least one for each process."""
        order = sorted(range(len(tokens)), key=lambda i: (-len(tokens[i]), i))
        size = min(self.micro_batch, -(-len(order) // self._world_size))
        return [order[i : i + size] for i in range(0, len(order), size)]

    def encode(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Unit vectors (n, H) of passages given as token ids, in one forward pass, differentiable.

        Frozen layers store no activations: neither their inputs nor their weights require a gradient.
        """
        return self.dense.states(*self.dense.padded(tokens))[0]

    def learned_weights(self, vectors: Tensor) -> Tensor:
        """Learned weights (n, V) of passages with the dense ``vectors`` (n, H): ``gain * relu(z - threshold)``."""
        z = vectors @ self._rows.T
        return self.table.gain * torch.relu(z - self._thresholds)

    def encode_texts(self, texts: Sequence[str], what: str) -> NDArray[np.float32]:
        """Unit vectors (n, H) float32 of passages with the current weights; ``what`` is shown as progress."""
        tokens = self.tokenize(texts)
        vectors: NDArray[np.float32] = np.zeros((len(texts), self.dense.width), np.float32)

        def encode_all() -> None:
            done = 0
            for batch in self.micro_batches(tokens):
                with torch.no_grad():
                    vectors[batch] = self.encode([tokens[i] for i in batch]).cpu().numpy()
                done += len(batch)
                self._progress(what, done, len(texts))

        self.retry_out_of_memory(encode_all)
        return vectors

    def retry_out_of_memory(self, work: Callable[[], T]) -> T:
        """The result of ``work``, repeated with half the ``micro_batch`` whenever it runs out of memory.

        Raises BadInputError where a single passage does not fit. With several processes it is raised at once: they
        would have to agree on the new micro-batch.
        """
        while True:
            try:
                return work()
            except Exception as error:
                if not out_of_memory(error):
                    raise
                reason = (str(error).splitlines() or ["out of memory"])[0]
            # Outside the except block: the exception no longer keeps the tensors of the failed pass alive.
            self.dense.model.zero_grad(set_to_none=True)
            if self.micro_batch == 1 or self._world_size > 1:
                raise BadInputError(
                    f"out of memory with {self.micro_batch} passages of {self._max_tokens} tokens ({reason}): "
                    "lower training.fine_tuning.micro_batch, max_length or batch_passages"
                )
            self.micro_batch //= 2
            if self.dense.device.type == "cuda":
                torch.cuda.empty_cache()
            self._progress(f"out of memory: the micro-batch is now {self.micro_batch} passages", 0, 0)


def _freeze(model: Any, count: int) -> None:
    """Freeze the embeddings and the ``count`` lowest layers; ConfigError where no layer is left to train."""
    depth = int(model.config.num_hidden_layers)
    layers = next((m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == depth), nn.ModuleList())
    if count >= len(layers):
        raise ConfigError(
            f"training.fine_tuning.freeze_layers is {count}, but the dense encoder has {len(layers)} layers: lower it"
        )
    for layer in layers[:count]:
        layer.requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "embed" in name:
            parameter.requires_grad_(False)
