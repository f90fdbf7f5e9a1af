"""Several processes train one model, each on a device of its own: ``accelerate launch --num_processes N train.py ...``.

A batch's passages are shared out, everybody's vectors are gathered, every process computes the whole batch's loss and
carries the gradient back through its own passages; gradients are added up. So N processes take the same step as one:
the batch, its negatives and the result stay the same but for the order of sums. One process writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

PATIENCE = timedelta(hours=2)
"""How long the others wait for the one that looks at the watched queries, or saves."""


class Processes:
    """The processes of this training; one, unless a launcher started several."""

    def __init__(self) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = 0
        self.device: str | None = None
        if self.count > 1:
            from accelerate import PartialState

            state: Any = PartialState(timeout=PATIENCE)
            self.rank, self.device = int(state.process_index), str(state.device)

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and tells how far it is."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            torch.distributed.barrier()

    def agree(self, value: float) -> float:
        """The main process's number."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(shared, 0)
        return float(shared)

    def share(self, parts: Sequence[list[int]], rank: int | None = None) -> list[list[int]]:
        """The micro-batches that a process (this one) encodes."""
        return list(parts[self.rank if rank is None else rank :: self.count])

    def gather(self, own: Sequence[Tensor], parts: Sequence[list[int]], width: int) -> Tensor:
        """Everybody's rows (D, width), without gradients, in the order of the positions in ``parts``."""
        rows = torch.cat([part.detach() for part in own]) if own else torch.zeros(0, width, device=self.device)
        places = [[i for part in self.share(parts, rank) for i in part] for rank in range(self.count)]
        blocks = [rows]
        if self.count > 1:
            padded = rows.new_zeros(max(map(len, places)), width)
            padded[: len(rows)] = rows
            blocks = [torch.empty_like(padded) for _ in places]
            torch.distributed.all_gather(blocks, padded)
        whole = rows.new_zeros(sum(map(len, places)), width)
        for place, block in zip(places, blocks, strict=True):
            whole[place] = block[: len(place)]
        return whole

    def add_up(self, parameters: Iterable[nn.Parameter]) -> None:
        """Everybody's gradients, added; a weight that nobody has a gradient of keeps none."""
        if self.count == 1:
            return
        weights = list(parameters)
        has = torch.tensor([float(p.grad is not None) for p in weights], device=self.device)
        torch.distributed.all_reduce(has, torch.distributed.ReduceOp.MAX)
        for parameter, wanted in zip(weights, has.tolist(), strict=True):
            if wanted:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                torch.distributed.all_reduce(parameter.grad)
