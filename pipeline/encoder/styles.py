"""How a text's title is written, as terms: a few learned ways of writing, and the signs that each of them uses.

Tellings of one event by several publishers differ least in what they say and most in how: quotes, dots, brackets,
hanja. Which signs a title has depends on who wrote it, and that a text shows as a whole. So a text is a mixture of ways
of writing, ``softmax(<centroid, pooled> + bias)`` over ``pooled`` (`pipeline.encoder.projection`), and a sign weighs
what it weighs in each, mixed. The softmax saturates: texts of one publisher get nearly the same weights, where a linear
map gives each text noise of its own. Several such mixtures (heads) with other beginnings are averaged. Nobody names
the ways of writing, or whose they are; they are learned from titles and texts (`pipeline.training.styles`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.encoder.projection import check_whole, read_whole, write_whole

FILE = "styles.safetensors"
"""Its file in an encoder's folder, Garam's own like the projection's."""


class Styles(nn.Module):
    """``layers`` that are pooled, ``terms`` (n,) token ids, ``centroids`` (heads * K, len(layers) * H) and ``bias``
    (heads, K) of some mixtures of K ways of writing each, and what the terms weigh in them, ``weight`` (n, heads * K)
    >= 0. All other terms weigh 0."""

    terms: Tensor
    centroids: Tensor
    bias: Tensor
    weight: Tensor

    def __init__(self, layers: Sequence[int], terms: Tensor, centroids: Tensor, bias: Tensor, weight: Tensor) -> None:
        super().__init__()
        self.layers = tuple(layers)
        # Rounded as they are stored, so that what was fitted and what is loaded are the same.
        self.register_buffer("terms", terms.long(), persistent=False)
        self.register_buffer("centroids", centroids.half().float(), persistent=False)
        self.register_buffer("bias", bias.float(), persistent=False)
        self.register_buffer("weight", weight.float(), persistent=False)

    def shares(self, held: Tensor) -> Tensor:
        """Shares (B, heads * K) of the ways of writing in texts given as `pooled` states; each head's sum to 1."""
        logits = F.linear(held, self.centroids, self.bias.flatten())
        return logits.view(len(held), *self.bias.shape).softmax(2).flatten(1)

    def said(self, held: Tensor) -> Tensor:
        """Weights (B, n) float32 of ``terms`` in texts given as their `pooled` states (B, len(layers) * H)."""
        with torch.autocast(held.device.type, enabled=False):
            return F.linear(self.shares(held), self.weight) / len(self.bias)

    def forward(self, held: Tensor, size: int) -> Tensor:
        """Weights (B, ``size``) float32, >= 0, of all terms."""
        said = self.said(held)
        return torch.zeros(len(said), size, device=said.device).index_copy(1, self.terms, said)

    def write(self, file: Path) -> None:
        """Save it."""
        held = {"terms": self.terms, "centroids": self.centroids.half(), "bias": self.bias, "weight": self.weight}
        write_whole(file, self.layers, held)

    @classmethod
    def read(cls, file: Path, size: int, width: int, depth: int) -> Styles:
        """The styles of an encoder with ``size`` terms, states of ``width`` numbers and ``depth`` layers.

        Raises CorruptArtifactError where they cannot be read or belong to another encoder.
        """
        names = ("terms", "centroids", "bias", "weight")
        layers, (terms, centroids, bias, weight) = read_whole(file, names, size, depth)
        fits = bias.dim() == 2 and centroids.shape == (bias.numel(), len(layers) * width)
        check_whole(file, fits and weight.shape == (len(terms), bias.numel()))
        return cls(layers, terms, centroids, bias, weight)
