"""Fitting a projection (`pipeline.encoder.projection`) to an encoder that no longer moves.

Every text is read once, and nearly all the time goes there; then only the matrix is trained, on the pooled states that
are kept: some ten seconds an epoch. It starts from a ridge regression of the model's own vectors of titles on their
tokens, so that the sum of a title's rows is about its dense vector, and goes on with in-batch negatives over the
lexical floor, where each text comes with neighbours of its own: the other tellings of its event. In the end each term
gets a threshold, so that it fires in about as many texts as it is worth: often asked, often there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config.training import TrainingConfig
from pipeline.encoder.lexical import LexicalFloor
from pipeline.encoder.projection import Projection, pooled
from pipeline.errors import ConfigError
from pipeline.progress import Progress
from pipeline.training import losses
from pipeline.training.data import TrainingData
from pipeline.training.student import Student

BATCH, HARD, RATE = 512, 3, 1e-2
"""Texts of a batch, neighbours that come with each of its first ones, and the largest step size."""
LEAST_QUERIES = 3
"""Queries that a term has to be in to get a row."""
NEIGHBOURS = 16
"""Nearest texts that a text's hard negatives are drawn from."""
LENGTH = 0.45
"""Mean length of a block of pooled states once it is centred and scaled: all layers count alike."""
START = 80.0
"""What a cosine of 1 is worth in score at the start."""
FREQUENCY_POWER = 1.5
"""A term fires in a share of texts that grows with this power of the share of queries it is in."""
SAMPLE = 3000
"""Texts that the thresholds are taken from."""


@dataclass(frozen=True)
class Pairs:
    """Queries and their texts, by positions: ``queries`` (Q, V) weights of tokens and the same as token ids in
    ``asked``; ``texts`` (token ids) with their ``floor`` (P, V) and ``stories``; query i is answered by text
    ``positives[i]`` and counts ``weights[i]``."""

    queries: sp.csr_matrix
    asked: Sequence[Sequence[int]]
    texts: Sequence[Sequence[int]]
    floor: sp.csr_matrix
    stories: NDArray[np.int64]
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
        return cls(
            queries[examples], asked, [passages[position] for position in used], floor[used],
            np.array([data.stories[position] for position in used]),
            np.array([place[data.positives[i]] for i in examples]),
            np.array([data.weights[i] for i in examples], np.float32),
        )  # fmt: skip


def pooled_layers(depth: int) -> list[int]:
    """The layers that are pooled of ``depth``: a sixth, a third and two thirds of the way up, and the last."""
    return sorted({max(1, round(depth * share)) for share in (1 / 6, 1 / 3, 2 / 3, 1.0)})


def check(settings: TrainingConfig, lexical: LexicalFloor | None) -> None:
    """Raises ConfigError where a projection is wanted that cannot be had."""
    if settings.projection_epochs and lexical is None:
        raise ConfigError(
            "training.projection_epochs needs encoder.lexical_floor above 0: a projection is fitted over the floor"
        )
    if settings.projection_epochs and settings.query_terms:
        raise ConfigError(
            "training.projection_epochs is for queries that no model reads: set it or training.query_terms to 0"
        )


def fit(student: Student, pairs: Pairs, progress: Progress) -> tuple[Projection, dict[str, Any]]:
    """The projection, and figures of it for the card. The same calls give the same projection on one device."""
    encoder, settings = student.encoder, student.settings
    backbone: Any = encoder.module.backbone
    layers = pooled_layers(int(backbone.config.num_hidden_layers))
    texts = _read(student, pairs.texts, layers, "projection: texts read", progress)
    titles = _read(student, pairs.asked, layers[-1:], "projection: queries read", progress)
    width = titles.shape[1]
    centre = texts.mean(0)
    texts -= centre
    blocks = texts.view(len(texts), len(layers), width)
    scale = LENGTH / blocks.norm(dim=2).mean(0).clamp_min(1e-9)  # (layers,)
    blocks *= scale.unsqueeze(1)
    frequency = np.bincount(pairs.queries.indices, minlength=pairs.queries.shape[1])
    terms = np.flatnonzero((frequency >= LEAST_QUERIES) & ~encoder.blocked)
    rows = torch.zeros(len(terms), texts.shape[1], device=encoder.device)
    rows[:, -width:] = START * torch.from_numpy(_start(pairs.queries[:, terms], titles.cpu().numpy())).to(rows)
    rows, loss = _train(rows, terms, texts, width, pairs, settings, progress)
    share = frequency[terms] / max(1, pairs.queries.shape[0])
    bias = -_thresholds(texts, rows, share, settings.projection_terms)
    rows = (rows.view(len(terms), len(layers), width) * scale.unsqueeze(1)).flatten(1) * settings.projection_weight
    bias = settings.projection_weight * bias - rows @ centre
    projection = Projection(layers, torch.from_numpy(terms), rows.cpu(), bias.cpu()).to(encoder.device)
    return projection, {"layers": layers, "terms": len(terms), "loss": round(loss, 4)}


def _read(
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


def _start(queries: sp.csr_matrix, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows (n, H) whose weighted sum over a query's terms is about its vector: ridge regression of ``vectors`` (Q, H)
    on ``queries`` (Q, n)."""
    from sklearn.linear_model import Ridge

    ridge = Ridge(alpha=1.0, solver="sparse_cg", max_iter=60)
    ridge.fit(queries, vectors)
    return np.ascontiguousarray(np.atleast_2d(ridge.coef_).T, np.float32)


def _neighbours(texts: Tensor) -> NDArray[np.int64]:
    """The nearest other texts (P, k) by the cosine of their vectors (P, H), k up to `NEIGHBOURS`."""
    unit = torch.nn.functional.normalize(texts, dim=1)
    count = min(NEIGHBOURS, len(unit) - 1)
    found = []
    for start in range(0, len(unit), 2000):
        near = unit[start : start + 2000] @ unit.T
        near[torch.arange(len(near)), torch.arange(start, start + len(near))] = -torch.inf
        found.append(near.topk(count, dim=1).indices.cpu().numpy())
    return np.vstack(found)


def _train(
    start: Tensor, terms: NDArray[np.int64], texts: Tensor, width: int, pairs: Pairs, settings: TrainingConfig,
    progress: Progress,
) -> tuple[Tensor, float]:  # fmt: skip
    """The trained rows (n, K) and the last epoch's mean loss."""
    rows = torch.nn.Parameter(start)
    optimizer = torch.optim.AdamW([rows], lr=RATE, weight_decay=0.0, fused=True)
    draw = np.random.default_rng(settings.seed)
    nearest = _neighbours(texts[:, -width:])
    asked: dict[int, list[int]] = defaultdict(list)
    for example, position in enumerate(pairs.positives.tolist()):
        asked[position].append(example)
    place = np.full(pairs.queries.shape[1], -1)
    place[terms] = np.arange(len(terms))
    size = min(BATCH, len(pairs.positives))
    every = max(1, len(pairs.positives) // size)
    steps = settings.projection_epochs * every
    seen: list[float] = []
    for step in range(steps):
        if step % every == 0:
            order = draw.permutation(len(pairs.positives))
        first = order[(step % every) * size :][: max(2, size // (HARD + 1))]
        examples = _batch(pairs, pairs.positives[first], nearest, asked, draw)
        scores = _scores(rows, place, texts, pairs, examples)
        loss = losses.in_batch_negatives_loss(
            scores, torch.arange(len(examples), device=scores.device), temperature=settings.temperature,
            weight=torch.from_numpy(pairs.weights[examples]).to(scores.device),
        )  # fmt: skip
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
        optimizer.step()
        seen.append(float(loss.detach()))
        progress(f"projection: loss {seen[-1]:.3g}", step + 1, steps)
    return rows.detach(), float(np.mean(seen[-every:]))


def _batch(
    pairs: Pairs, first: NDArray[np.int64], nearest: NDArray[np.int64], asked: dict[int, list[int]],
    draw: np.random.Generator,
) -> NDArray[np.int64]:  # fmt: skip
    """Examples of a batch: one of each text of ``first`` and of `HARD` neighbours of each, no two of one story."""
    wanted: list[int] = []
    for text in first.tolist():
        near = nearest[text]
        wanted += [text, *draw.choice(near, min(HARD, len(near)), replace=False).tolist()]
    stories: set[int] = set()
    examples: list[int] = []
    for text in dict.fromkeys(wanted):
        if text in asked and (story := int(pairs.stories[text])) not in stories:
            stories.add(story)
            examples.append(asked[text][int(draw.integers(len(asked[text])))])
    return np.array(examples)


def _scores(rows: Tensor, place: NDArray[np.int64], texts: Tensor, pairs: Pairs, examples: NDArray[np.int64]) -> Tensor:
    """Scores (B, B) of a batch's queries against its texts: the floor and what the rows say."""
    queries, answers = pairs.queries[examples], pairs.positives[examples]
    own = np.unique(queries.indices)
    weights = torch.from_numpy(queries[:, own].toarray()).to(rows.device)
    floor = torch.from_numpy(pairs.floor[answers][:, own].toarray()).to(rows.device)
    known = torch.from_numpy(place[own] >= 0).to(rows.device)
    held = rows[torch.from_numpy(place[own][place[own] >= 0]).to(rows.device)]
    said = texts[torch.from_numpy(answers).to(rows.device)] @ held.T
    return weights @ floor.T + weights[:, known] @ said.T


def _thresholds(texts: Tensor, rows: Tensor, share: NDArray[np.float64], budget: float) -> Tensor:
    """What each term's logit (n,) has to pass, so that ``budget`` terms are active in a text in all.

    A term fires in ``min(1, factor * share ** FREQUENCY_POWER)`` of the texts, ``share`` (n,) of the queries having it:
    room goes where it is asked for. A constant taken off a term's weight in all texts changes no ranking; what is
    lost are differences among the texts below it.
    """
    worth = share**FREQUENCY_POWER
    low, high = 0.0, 1.0 / max(float(worth.min(initial=1.0)), 1e-12)
    for _ in range(60):
        factor = (low + high) / 2
        low, high = (low, factor) if np.minimum(1.0, factor * worth).sum() > budget else (factor, high)
    rate = np.minimum(1.0, low * worth)
    picked = torch.linspace(0, len(texts) - 1, min(SAMPLE, len(texts)), device=texts.device).long()
    said = (texts[picked] @ rows.T).sort(dim=0).values
    at = np.clip(np.floor((1 - rate) * len(said)), 0, len(said) - 1).astype(np.int64)
    return said[torch.from_numpy(at).to(said.device), torch.arange(len(rate), device=said.device)]
