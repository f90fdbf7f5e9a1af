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
TERMS_AT_ONCE = 8000
"""Terms whose 8-bit products with a text are held at once: 8 MB for 256 positions, which stay in the cache."""


@dataclass(frozen=True)
class Rounded:
    """Rows in 8 bits: ``codes`` (V, H) int8, ``step`` (V,) of a code, ``length`` (V,) of a row and ``error`` (V,) of
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
        return cls(codes.to(torch.int8), step, weight.norm(dim=1), error)


def usable(hidden: Tensor) -> bool:
    """Whether 8 bits are worth it: on a CPU with VNNI, in float32."""
    return hidden.device.type == "cpu" and hidden.dtype == torch.float32 and torch.cpu._is_vnni_supported()


def max_logits(states: Tensor, weight: Tensor, bias: Tensor, rounded: Rounded) -> Tensor:
    """Largest logits over the positions, (B, V) float32: exact where they are above 0, and -1 where they are not.

    ``states`` (B, L, H) of positions that all count, ``weight`` (V, H), ``bias`` (V,), ``rounded`` of the same weight.
    """
    step = float(states.abs().max().clamp_min(1e-12)) / LEVELS
    codes = (states / step).round_()
    error = float((states - codes * step).norm(dim=2).max())
    longest = float(codes.norm(dim=2).max()) * step
    floor = -(bias + error * rounded.length + longest * rounded.error) / (rounded.step * step)
    found = torch.full((len(states), len(weight)), -1.0)
    for row, text in enumerate(codes.to(torch.int8)):
        products = (torch._int_mm(part, text.t()) for part in torch.split(rounded.codes, TERMS_AT_ONCE))
        possible = torch.cat([product.amax(1) for product in products]) >= floor
        terms = possible.nonzero().squeeze(1)
        found[row, terms] = (weight[terms] @ states[row].t()).amax(1) + bias[terms]
    return found
