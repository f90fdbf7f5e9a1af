"""Data-parallel training on several devices: ``accelerate launch --num_processes N train.py ...``.

The passages of a batch are sharded. Each process encodes its shard, all vectors are gathered, every process computes
the loss of the whole batch and backpropagates through its own passages, and gradients are summed. N processes take
the same steps as one, up to the order of floating-point sums: batch and in-batch negatives do not depend on N. Rank 0
writes files and reports progress.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

TIMEOUT = timedelta(hours=2)
"""How long the other ranks wait for rank 0, which validates and saves."""


class ProcessGroup:
    """The processes of this training; a single one unless a launcher started several.

    Attributes: ``world_size``, ``rank``, ``device`` (None: the default device).
    """

    def __init__(self) -> None:
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = 0
        self.device: str | None = None
        if self.world_size > 1:
            from accelerate import PartialState

            state: Any = PartialState(timeout=TIMEOUT)
            self.rank, self.device = int(state.process_index), str(state.device)

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            torch.distributed.barrier()

    def broadcast(self, value: float) -> float:
        """``value`` of rank 0, on every rank."""
        if self.world_size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(shared, 0)
        return float(shared)

    def shard(self, micro_batches: Sequence[list[int]], rank: int | None = None) -> list[list[int]]:
        """The micro-batches of a rank (by default this one)."""
        return list(micro_batches[self.rank if rank is None else rank :: self.world_size])

    def all_gather(self, vectors: Sequence[Tensor], micro_batches: Sequence[list[int]], width: int) -> Tensor:
        """The vectors (D, H) of all passages, detached, in batch order.

        ``vectors`` (n, H) are those of this rank's micro-batches; ``micro_batches`` are the passages (indices into the
        batch) of the micro-batches of all ranks.
        """
        local = torch.cat([part.detach() for part in vectors]) if vectors else torch.zeros(0, width, device=self.device)
        indices = [[i for part in self.shard(micro_batches, rank) for i in part] for rank in range(self.world_size)]
        blocks = [local]
        if self.world_size > 1:
            padded = local.new_zeros(max(map(len, indices)), width)
            padded[: len(local)] = local
            blocks = [torch.empty_like(padded) for _ in indices]
            torch.distributed.all_gather(blocks, padded)
        gathered = local.new_zeros(sum(map(len, indices)), width)
        for index, block in zip(indices, blocks, strict=True):
            gathered[index] = block[: len(index)]
        return gathered

    def all_reduce_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients over all ranks. A parameter without a gradient on every rank keeps none."""
        if self.world_size == 1:
            return
        trained = list(parameters)
        has_gradient = torch.tensor([float(p.grad is not None) for p in trained], device=self.device)
        torch.distributed.all_reduce(has_gradient, torch.distributed.ReduceOp.MAX)
        for parameter, anywhere in zip(trained, has_gradient.tolist(), strict=True):
            if anywhere:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                torch.distributed.all_reduce(parameter.grad)
