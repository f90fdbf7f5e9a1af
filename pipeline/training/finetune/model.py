"""The dense encoder in training, and the terms that it gives passages through a query table that stands still."""

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
"""The gain in training where the start has none yet."""
FIRING_SHARE = 0.1
"""Share of the passages in which a token is a term in training, where the start has no thresholds yet."""
SAMPLE = 1000
"""Passages that such thresholds are taken from."""


class Student:
    """A dense encoder whose upper layers are trained; it stays in eval mode: a resumed training repeats itself exactly.

    Attributes: ``dense``; ``table`` (the start's, with the gain and thresholds of the training); ``micro_batch``
    (passages encoded at once; lowered when memory does not suffice).
    """

    def __init__(
        self, encoder: Encoder, texts: Sequence[str], settings: FineTuningConfig, processes: int, progress: Progress
    ) -> None:
        """Freeze what is not trained. Thresholds come from a sample of ``texts`` where the table has none.

        Raises BadInputError for an encoder without a table, ConfigError where no layer is left to train.
        """
        if encoder.table is None:
            raise BadInputError("the start of the fine-tuning has no query table: learn one first")
        self.dense, self.micro_batch = encoder.dense, settings.micro_batch
        self._length = min(settings.max_length, self.dense.max_tokens)
        self._processes, self._progress = processes, progress
        _freeze(self.dense.model, settings.freeze_layers)
        self.table = encoder.table.with_gain(encoder.table.gain if encoder.table.gain > 0 else GAIN)
        if np.isinf(self.table.thresholds[~encoder.blocked]).mean() > 0.5:
            chosen = np.linspace(0, len(texts) - 1, min(SAMPLE, len(texts))).astype(int)
            vectors = self.vectors([texts[i] for i in chosen], "thresholds")
            z = self.table.scores(vectors, np.arange(len(vectors) + 1))
            thresholds = np.quantile(z, 1 - FIRING_SHARE, axis=0).astype(np.float32)
            self.table = replace(self.table, thresholds=np.where(encoder.blocked, np.float32(np.inf), thresholds))
        arrays = (self.table.rows, self.table.thresholds)
        self._rows, self._thresholds = (torch.from_numpy(a).to(self.dense.device) for a in arrays)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The weights that are trained, by name, in a fixed order."""
        return {name: p for name, p in self.dense.model.named_parameters() if p.requires_grad}

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of passages behind their prefix, with special tokens, cut at the training's ``max_length``."""
        return self.dense.tokens(texts, "passage", self._length)

    def micro_batches(self, tokens: Sequence[Sequence[int]]) -> list[list[int]]:
        """Positions in groups of ``micro_batch`` of about equal length, longest first, a group for every process."""
        order = sorted(range(len(tokens)), key=lambda i: (-len(tokens[i]), i))
        size = min(self.micro_batch, -(-len(order) // self._processes))
        return [order[i : i + size] for i in range(0, len(order), size)]

    def encode(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Unit vectors (n, H) of passages given as token ids, in one piece. Frozen layers keep nothing for the
        gradient: neither their inputs nor their weights want one."""
        return self.dense.states(*self.dense.padded(tokens))[0]

    def learned(self, vectors: Tensor) -> Tensor:
        """The learned weights (n, V) of passages with these vectors (n, H): ``gain * relu(z - threshold)``."""
        z = vectors @ self._rows.T
        return self.table.gain * torch.relu(z - self._thresholds)

    def vectors(self, texts: Sequence[str], what: str) -> NDArray[np.float32]:
        """Unit vectors (n, H) float32 of passages by the weights of this moment; ``what`` names it in the progress."""
        tokens = self.tokens(texts)
        made: NDArray[np.float32] = np.zeros((len(texts), self.dense.width), np.float32)

        def encode_all() -> None:
            done = 0
            for part in self.micro_batches(tokens):
                with torch.no_grad():
                    made[part] = self.encode([tokens[i] for i in part]).cpu().numpy()
                done += len(part)
                self._progress(what, done, len(texts))

        self.fitting(encode_all)
        return made

    def fitting(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, tried again with half the ``micro_batch`` while memory does not suffice.

        Raises BadInputError where one passage is too much, and at once with several processes, which have to agree.
        """
        while True:
            try:
                return work()
            except Exception as error:
                if not out_of_memory(error):
                    raise
                reason = (str(error).splitlines() or ["out of memory"])[0]
            # Here the error is gone, and with it what it kept in memory.
            self.dense.model.zero_grad(set_to_none=True)
            if self.micro_batch == 1 or self._processes > 1:
                raise BadInputError(
                    f"memory does not suffice for {self.micro_batch} passages of {self._length} tokens ({reason}): "
                    "lower training.fine_tuning.micro_batch, max_length or batch_passages"
                )
            self.micro_batch //= 2
            if self.dense.device.type == "cuda":
                torch.cuda.empty_cache()
            self._progress(f"memory does not suffice: {self.micro_batch} passages at once from here on", 0, 0)


def _freeze(model: Any, count: int) -> None:
    """Take the embeddings and the ``count`` lowest layers from training; ConfigError where no layer is left."""
    depth = int(model.config.num_hidden_layers)
    layers = next((m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == depth), nn.ModuleList())
    if count >= len(layers):
        raise ConfigError(
            f"training.fine_tuning.freeze_layers is {count}, but the dense encoder has {len(layers)} layers to train: "
            "lower it"
        )
    for layer in layers[:count]:
        layer.requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "embed" in name:
            parameter.requires_grad_(False)
