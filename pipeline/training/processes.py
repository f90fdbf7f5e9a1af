"""Several processes train one model, each on a device of its own: ``accelerate launch --num_processes N train.py ...``.

A batch's passages are shared out, everybody's weights are gathered, every process computes the whole batch's loss and
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
"""How long the others wait for the one that prepares data or looks at the watched queries."""


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
        held = torch.tensor([value], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(held, 0)
        return float(held)

    def share(self, parts: Sequence[list[int]], rank: int | None = None) -> list[list[int]]:
        """The micro-batches that a process (this one) encodes."""
        return list(parts[self.rank if rank is None else rank :: self.count])

    def gather(self, own: Sequence[Tensor], parts: Sequence[list[int]], width: int) -> Tensor:
        """Everybody's rows (D, width), without gradients, in the order of the positions in ``parts``."""
        rows = torch.cat([part.detach() for part in own]) if own else torch.zeros(0, width, device=self.device)
        places = [[i for part in self.share(parts, rank) for i in part] for rank in range(self.count)]
        whole = rows.new_zeros(sum(map(len, places)), width)
        if self.count == 1:
            whole[places[0]] = rows
            return whole
        most = max(map(len, places))
        padded = rows.new_zeros(most, width)
        padded[: len(rows)] = rows
        found = [torch.empty_like(padded) for _ in places]
        torch.distributed.all_gather(found, padded)
        for place, part in zip(places, found, strict=True):
            whole[place] = part[: len(place)]
        return whole

    def add_up(self, parameters: Iterable[nn.Parameter]) -> None:
        """Everybody's gradients, added; a weight that nobody has a gradient of keeps none."""
        if self.count == 1:
            return
        held = list(parameters)
        has = torch.tensor([float(p.grad is not None) for p in held], device=self.device)
        torch.distributed.all_reduce(has, torch.distributed.ReduceOp.MAX)
        for parameter, wanted in zip(held, has.tolist(), strict=True):
            if wanted:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                torch.distributed.all_reduce(parameter.grad)
