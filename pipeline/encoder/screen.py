"""Which terms of a document can fire at all, found in 8 bits; only those are computed exactly.

Of 32,000 terms some 200 fire in a document, and the product with all of them is half of an encoder's work. Here that
product is taken in int8 first (twice as fast on a CPU with VNNI), with a bound on what rounding may have hidden: for
states h and a term's row w, rounded to h' and w',

    |h.w - h'.w'| <= |h - h'| |w| + |h'| |w - w'|        (Cauchy and Schwarz)

so a term whose rounded logit lies below zero by more than the bound does not fire, and is 0 as in the full product.
What remains is computed in float32: the result is the full product's, not an approximation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LEVELS = 127.0


@dataclass(frozen=True)
class Rounded:
    """Rows in 8 bits: ``codes`` (H, V) int8, ``step`` (V,) of a code, ``length`` (V,) of a row and ``error`` (V,) of
    its rounding, as Euclidean norms."""

    codes: Tensor
    step: Tensor
    length: Tensor
    error: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> Rounded:
        """The rounded rows of ``weight`` (V, H) float32."""
        step = weight.abs().amax(1).clamp_min(1e-12) / LEVELS
        codes = (weight / step.unsqueeze(1)).round_()
        error = (weight - codes * step.unsqueeze(1)).norm(dim=1)
        return cls(codes.to(torch.int8).t(), step, weight.norm(dim=1), error)


def usable(hidden: Tensor) -> bool:
    """Whether 8 bits are worth it: on a CPU with VNNI, in float32."""
    return hidden.device.type == "cpu" and hidden.dtype == torch.float32 and torch.cpu._is_vnni_supported()


def max_logits(hidden: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, rounded: Rounded, chunk: int) -> Tensor:
    """Largest logits over the positions, (B, V) float32: exact where they are above 0, and -1 where they are not.

    ``hidden`` (B, L, H), ``weight`` (V, H), ``bias`` (V,), ``mask`` (B, L) true where a position counts (one at least
    in each row), ``rounded`` of the same weight, ``chunk`` documents at a time.
    """
    size, length, width = hidden.shape
    # A position that does not count repeats the document's first one that does, so it changes no maximum.
    first = hidden[torch.arange(size), mask.int().argmax(1)].unsqueeze(1)
    states = torch.where(mask.unsqueeze(-1), hidden, first)
    step = float(states.abs().max().clamp_min(1e-12)) / LEVELS
    codes = (states / step).round_()
    error = float((states - codes * step).norm(dim=2).max())
    longest = float(codes.norm(dim=2).max()) * step
    floor = -(bias + error * rounded.length + longest * rounded.error) / (rounded.step * step)
    found = torch.full((size, weight.shape[0]), -1.0)
    for start in range(0, size, chunk):
        part = codes[start : start + chunk].to(torch.int8)
        product = torch._int_mm(part.reshape(-1, width), rounded.codes).view(len(part), length, -1)
        possible = product.amax(1) >= floor
        for row in range(len(part)):
            terms = possible[row].nonzero().squeeze(1)
            logits = weight[terms] @ states[start + row].t()
            found[start + row, terms] = logits.amax(1) + bias[terms]
    return found
