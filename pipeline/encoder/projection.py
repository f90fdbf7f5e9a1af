"""What a text says as a whole, as terms: pooled states of a few layers, carried to the vocabulary by one matrix.

The maximum over positions (`pipeline.encoder.module`) finds what some word of a text stands for; it cannot say what
only the whole says: that it tells of an event which others tell in other words, or how its publisher writes. The mean
of a layer's states, which dense encoders search by, holds that. Each term of the projection weighs
``relu(<row, pooled> + bias)``, with ``pooled`` the unit vectors of some layers' mean states side by side, so a dense
encoder's knowledge reaches queries that no model reads (dense-to-sparse, Nguyen et al., arXiv 2402.17535; here with a
row for every token of a query, as in the static query embeddings of inference-free dense retrieval).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import CorruptArtifactError

FILE = "projection.safetensors"
"""Its file in an encoder's folder. Other programs read the folder without it, as they do without the floor."""


def pooled(states: Sequence[Tensor], mask: Tensor, layers: Sequence[int]) -> Tensor:
    """Mean states of some layers (0: the embeddings) over the unmasked positions, each of length 1, side by side.

    ``states`` are a transformers model's ``hidden_states``, each (B, L, H); ``mask`` (B, L); the result is
    (B, len(layers) * H) float32.
    """
    counted = mask.unsqueeze(-1).float()
    total = counted.sum(1).clamp_min(1.0)
    return torch.cat([F.normalize((states[layer].float() * counted).sum(1) / total, dim=1) for layer in layers], dim=1)


def write_whole(file: Path, layers: Sequence[int], tensors: Mapping[str, Tensor]) -> None:
    """Save what was fitted to pooled states of ``layers``."""
    from safetensors.torch import save_file

    held = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    save_file(held, str(file), {"layers": ",".join(map(str, layers))})


def read_whole(file: Path, names: Sequence[str], size: int, depth: int) -> tuple[list[int], list[Tensor]]:
    """The layers and the tensors ``names``, ``terms`` first, of a file that `write_whole` wrote for an encoder with
    ``size`` terms and ``depth`` layers.

    Raises CorruptArtifactError where it cannot be read or cannot be this encoder's.
    """
    from safetensors import safe_open

    try:
        with safe_open(str(file), "pt") as held:
            layers = [int(layer) for layer in held.metadata()["layers"].split(",")]
            tensors = [held.get_tensor(name) for name in names]
    except Exception as error:  # safetensors' own error class, a missing name, a layer that is no number
        raise CorruptArtifactError(f"{file} cannot be read: save the encoder again.") from error
    check_whole(file, all(0 <= layer <= depth for layer in layers) and not bool((tensors[0] >= size).any()))
    return layers, tensors


def check_whole(file: Path, fits: bool) -> None:
    """Raises CorruptArtifactError unless ``file`` ``fits`` the encoder that it lies beside."""
    if not fits:
        raise CorruptArtifactError(f"{file} belongs to another encoder: save the encoder again.")


class Projection(nn.Module):
    """``layers`` that are pooled, ``terms`` (n,) token ids, their rows ``weight`` (n, len(layers) * H) and ``bias``
    (n,); all other terms weigh 0."""

    terms: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, layers: Sequence[int], terms: Tensor, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.layers = tuple(layers)
        # Rounded as they are stored, so that what was fitted and what is loaded are the same.
        self.register_buffer("terms", terms.long(), persistent=False)
        self.register_buffer("weight", weight.half().float(), persistent=False)
        self.register_buffer("bias", bias.float(), persistent=False)

    def forward(self, held: Tensor, size: int) -> Tensor:
        """Weights (B, ``size``) float32, >= 0, of texts given as their `pooled` states (B, len(layers) * H)."""
        with torch.autocast(held.device.type, enabled=False):
            said = torch.relu(F.linear(held, self.weight, self.bias))
        return torch.zeros(len(said), size, device=said.device).index_copy(1, self.terms, said)

    def write(self, file: Path) -> None:
        """Save it."""
        write_whole(file, self.layers, {"terms": self.terms, "weight": self.weight.half(), "bias": self.bias})

    @classmethod
    def read(cls, file: Path, size: int, width: int, depth: int) -> Projection:
        """The projection of an encoder with ``size`` terms, states of ``width`` numbers and ``depth`` layers.

        Raises CorruptArtifactError where it cannot be read or belongs to another encoder.
        """
        layers, (terms, weight, bias) = read_whole(file, ("terms", "weight", "bias"), size, depth)
        check_whole(file, weight.shape == (len(terms), len(layers) * width) and bias.shape == terms.shape)
        return cls(layers, terms, weight, bias)
