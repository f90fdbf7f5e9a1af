"""Titles and texts as wholes: what a projection and styles are fitted to, once the layers stand still.

Every text is read once, and nearly all the time goes there; its pooled states are kept, and what is fitted to them
takes seconds an epoch. Batches are of texts with neighbours of their own: the other tellings of their events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.encoder.projection import pooled
from pipeline.progress import Progress
from pipeline.training.data import TrainingData
from pipeline.training.student import Student

BATCH = 512
"""Texts of a batch."""
NEIGHBOURS = 16
"""Nearest texts that a text's hard negatives are drawn from."""
LENGTH = 0.45
"""Mean length of a block of pooled states once it is centred and scaled: all layers count alike."""


@dataclass(frozen=True)
class Pairs:
    """Queries and their texts, by positions: ``queries`` (Q, V) weights of tokens and the same as token ids in
    ``asked``; ``texts`` (token ids) with their ``floor`` (P, V), ``stories`` and ``outlets`` (numbers from 0; -1 where
    nobody knows); query i is answered by text ``positives[i]`` and counts ``weights[i]``."""

    queries: sp.csr_matrix
    asked: Sequence[Sequence[int]]
    texts: Sequence[Sequence[int]]
    floor: sp.csr_matrix
    stories: NDArray[np.int64]
    outlets: NDArray[np.int64]
    positives: NDArray[np.int64]
    weights: NDArray[np.float32]

    @classmethod
    def of(
        cls, data: TrainingData, examples: Sequence[int], queries: sp.csr_matrix, asked: Sequence[Sequence[int]],
        passages: Sequence[Sequence[int]], floor: sp.csr_matrix,
    ) -> Pairs:  # fmt: skip
        """The pairs of some ``examples`` of a training set: ``queries`` and the ``passages``' token ids and ``floor``
        are of all of it, ``asked`` of the examples."""
        used = sorted({data.positives[i] for i in examples})
        place = {position: row for row, position in enumerate(used)}
        number = {name: n for n, name in enumerate(sorted({data.outlets[position] for position in used} - {""}))}
        return cls(
            queries[examples], asked, [passages[position] for position in used], floor[used],
            np.array([data.stories[position] for position in used]),
            np.array([number.get(data.outlets[position], -1) for position in used]),
            np.array([place[data.positives[i]] for i in examples]),
            np.array([data.weights[i] for i in examples], np.float32),
        )  # fmt: skip


def pooled_layers(depth: int) -> list[int]:
    """The layers that are pooled of ``depth``: a sixth, a third and two thirds of the way up, and the last."""
    return sorted({max(1, round(depth * share)) for share in (1 / 6, 1 / 3, 2 / 3, 1.0)})


@dataclass(frozen=True)
class Wholes:
    """The texts of some pairs, as pooled states of a model's ``layers``: ``texts`` (P, len(layers) * H), centred, each
    layer's block scaled to a mean length of `LENGTH`. ``centre`` (len(layers) * H,) and ``scale`` (layers,) are what
    was done to them."""

    layers: Sequence[int]
    texts: Tensor
    centre: Tensor
    scale: Tensor

    @classmethod
    def of(cls, student: Student, pairs: Pairs, progress: Progress) -> Wholes:
        """Read the texts of ``pairs``."""
        backbone: Any = student.encoder.module.backbone
        layers = pooled_layers(int(backbone.config.num_hidden_layers))
        texts = read(student, pairs.texts, layers, "texts read as wholes", progress)
        centre = texts.mean(0)
        texts -= centre
        blocks = texts.view(len(texts), len(layers), -1)
        scale = LENGTH / blocks.norm(dim=2).mean(0).clamp_min(1e-9)
        blocks *= scale.unsqueeze(1)
        return cls(layers, texts, centre, scale)

    @property
    def width(self) -> int:
        """Numbers of a layer's block, H."""
        return self.texts.shape[1] // len(self.layers)

    def raw(self, rows: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """``rows`` (n, len(layers) * H) and ``bias`` (n,) that say of `pooled` states what the given ones say of
        ``texts``."""
        rows = (rows.view(len(rows), len(self.layers), -1) * self.scale.unsqueeze(1)).flatten(1)
        return rows, bias - rows @ self.centre

    def pooled(self) -> Tensor:
        """The `pooled` states (P, len(layers) * H) that ``texts`` were made of."""
        blocks = self.texts.view(len(self.texts), len(self.layers), -1) / self.scale.unsqueeze(1)
        return blocks.flatten(1) + self.centre

    @cached_property
    def nearest(self) -> NDArray[np.int64]:
        """Each text's nearest others (P, k) by the cosine of the last layer's states."""
        return neighbours(self.texts[:, -self.width :])


def read(
    student: Student, tokens: Sequence[Sequence[int]], layers: Sequence[int], what: str, progress: Progress
) -> Tensor:
    """`pooled` states (n, len(layers) * H) float32 of texts given as token ids."""
    encoder = student.encoder
    backbone: Any = encoder.module.backbone
    found = torch.zeros(len(tokens), len(layers) * int(backbone.config.hidden_size), device=encoder.device)
    done = 0
    for part in student.micro_batches(tokens):
        ids, mask = encoder.padded([tokens[i] for i in part])
        with torch.inference_mode(), encoder.autocast():
            states = backbone(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
            found[torch.tensor(part, device=encoder.device)] = pooled(states, mask, layers)
        done += len(part)
        progress(what, done, len(tokens))
    return found


def neighbours(texts: Tensor) -> NDArray[np.int64]:
    """The nearest other texts (P, k) by the cosine of their vectors (P, H), k up to `NEIGHBOURS`."""
    unit = torch.nn.functional.normalize(texts, dim=1)
    count = min(NEIGHBOURS, len(unit) - 1)
    found = []
    for start in range(0, len(unit), 2000):
        near = unit[start : start + 2000] @ unit.T
        near[torch.arange(len(near)), torch.arange(start, start + len(near))] = -torch.inf
        found.append(near.topk(count, dim=1).indices.cpu().numpy())
    return np.vstack(found)


def batches(pairs: Pairs, nearest: NDArray[np.int64], epochs: int, hard: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Examples of each step of ``epochs``: `BATCH` at most, ``hard`` neighbours for each text drawn."""
    draw = np.random.default_rng(seed)
    asked: dict[int, list[int]] = defaultdict(list)
    for example, position in enumerate(pairs.positives.tolist()):
        asked[position].append(example)
    size = min(BATCH, len(pairs.positives))
    for _ in range(epochs):
        order = draw.permutation(len(pairs.positives))
        for step in range(steps_of(pairs)):
            first = order[step * size :][: max(2, size // (hard + 1))]
            yield batch(pairs, pairs.positives[first], nearest, asked, hard, draw)


def steps_of(pairs: Pairs) -> int:
    """Steps of an epoch."""
    return max(1, len(pairs.positives) // min(BATCH, len(pairs.positives)))


def batch(
    pairs: Pairs, first: NDArray[np.int64], nearest: NDArray[np.int64], asked: dict[int, list[int]],
    hard: int, draw: np.random.Generator,
) -> NDArray[np.int64]:  # fmt: skip
    """Examples of a batch: one of each text of ``first`` and of ``hard`` neighbours of each, no two of one story."""
    wanted: list[int] = []
    for text in first.tolist():
        near = nearest[text]
        wanted += [text, *draw.choice(near, min(hard, len(near)), replace=False).tolist()]
    stories: set[int] = set()
    examples: list[int] = []
    for text in dict.fromkeys(wanted):
        if text in asked and (story := int(pairs.stories[text])) not in stories:
            stories.add(story)
            examples.append(asked[text][int(draw.integers(len(asked[text])))])
    return np.array(examples)
