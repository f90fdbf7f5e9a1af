"""Fitting styles (`pipeline.encoder.styles`) to an encoder that no longer moves.

What is learned is which signs a text's title will have. In-batch negatives over the lexical floor, each text among
neighbours of its own: among tellings of one event, words say least and signs most. The learned maximum over positions
sees signs, too, but sums up what it has seen of each by itself, at the steps that words need; here the ways of writing
are few, shared by all signs, and fitted until they say what the signs can tell (docs/economy-titles.md).

Where a training set says who published a text, the ways of writing are held to tell the outlets apart, too: else what
they give texts of one outlet differently is mostly noise. A text to be encoded needs no outlet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.config.training import TrainingConfig
from pipeline.encoder import Encoder
from pipeline.encoder.lexical import LexicalFloor
from pipeline.encoder.styles import Styles
from pipeline.errors import ConfigError
from pipeline.progress import Progress
from pipeline.training import losses
from pipeline.training.student import Student
from pipeline.training.wholes import Pairs, Wholes, batches, steps_of

HEADS, EPOCHS, HARD = 4, 6, 7
"""Mixtures that are averaged, epochs of each, and neighbours that come with each text drawn for a batch."""
RATE, WEIGHT_RATE = 1e-2, 5e-2
"""Largest step sizes: of what tells ways of writing apart, and of what signs weigh in them."""
SHARPNESS = 5.0
"""Factor of the logits of ways of writing: how fast they grow apart for a step size."""
GUIDANCE = 0.3
"""Weight of how well a text's ways of writing tell its outlet (in nats), beside the ranking's loss."""
SPREAD = 0.1
"""Deviation of all parameters at the start."""
LEAST_QUERIES = 30
"""Queries that a sign has to be in."""


def check(settings: TrainingConfig, lexical: LexicalFloor | None, encoder: Encoder) -> None:
    """Raises ConfigError where styles are wanted that cannot be had."""
    if settings.styles and lexical is None:
        raise ConfigError("training.styles needs encoder.lexical_floor above 0: styles are fitted over the floor")
    if settings.styles and settings.query_terms:
        raise ConfigError("training.styles is for queries that no model reads: set it or training.query_terms to 0")
    if settings.styles and not encoder.signs.any():
        raise ConfigError(
            "training.styles tells texts apart by the signs of their titles, and this base blocks them: "
            "build one with base.signs, or set training.styles to 0"
        )


def fit(student: Student, pairs: Pairs, wholes: Wholes, progress: Progress) -> tuple[Styles | None, dict[str, Any]]:
    """The styles, and figures of them for the card; None where no sign is in enough queries. The same calls give the
    same styles on one device."""
    encoder, settings = student.encoder, student.settings
    frequency = np.bincount(pairs.queries.indices, minlength=pairs.queries.shape[1])
    terms = np.flatnonzero(encoder.signs & (frequency >= LEAST_QUERIES))
    if not len(terms):
        return None, {"terms": 0}
    heads = [_Head(head, len(terms), settings, pairs, wholes) for head in range(HEADS)]
    seen = [head.train(terms, pairs, wholes, progress) for head in heads]
    centroids, bias = wholes.raw(
        torch.cat([SHARPNESS * head.centroids.detach() for head in heads]),
        torch.cat([head.bias.detach() for head in heads]),
    )
    bias = bias.view(HEADS, -1)
    # A constant taken off a term's weight in all texts changes no ranking. Fitted were scores, not weights.
    weight = torch.cat([(w := head.weight.detach()) - w.min(1, keepdim=True).values for head in heads], dim=1)
    weight *= settings.style_weight / torch.from_numpy(encoder.query_weights[terms]).to(weight).unsqueeze(1)
    styles = Styles(wholes.layers, torch.from_numpy(terms), centroids.cpu(), bias.cpu(), weight.cpu())
    figures = {"layers": list(wholes.layers), "terms": len(terms), "loss": round(float(np.mean(seen)), 4)}
    if (pairs.outlets >= 0).any():
        figures["outlets_told"] = round(float(np.mean([head.told(pairs, wholes) for head in heads])), 4)
    return styles.to(encoder.device), figures


class _Head:
    """One mixture in training: ``centroids`` (K, len(layers) * H), ``bias`` (K,), ``weight`` (n, K), K
    ``settings.styles`` and n the terms, in scores of a query that has them; ``outlets`` (K, outlets) are logits of who
    writes so."""

    def __init__(self, number: int, terms: int, settings: TrainingConfig, pairs: Pairs, wholes: Wholes) -> None:
        self.number, self.seed = number, settings.seed + number
        draw = torch.Generator().manual_seed(self.seed)
        count, width, device = settings.styles, wholes.texts.shape[1], wholes.texts.device
        self.centroids = torch.nn.Parameter((SPREAD * torch.randn(count, width, generator=draw)).to(device))
        self.bias = torch.nn.Parameter(torch.zeros(count, device=device))
        self.weight = torch.nn.Parameter((SPREAD * torch.randn(terms, count, generator=draw)).to(device))
        known = max(1, int(pairs.outlets.max()) + 1)
        self.outlets = torch.nn.Parameter((SPREAD * torch.randn(count, known, generator=draw)).to(device))

    def train(self, terms: NDArray[np.int64], pairs: Pairs, wholes: Wholes, progress: Progress) -> float:
        """Train it; the last epoch's mean loss."""
        rates = (RATE, WEIGHT_RATE)
        groups = [{"params": [self.centroids, self.bias]}, {"params": [self.weight, self.outlets]}]
        optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        has = (pairs.queries[:, terms] > 0).astype(np.float32)
        every = steps_of(pairs)
        seen: list[float] = []
        for step, examples in enumerate(batches(pairs, wholes.nearest, EPOCHS, HARD, self.seed)):
            answers = pairs.positives[examples]
            floor = (pairs.queries[examples] @ pairs.floor[answers].T).toarray()
            shares = self._shares(wholes.texts[torch.from_numpy(answers).to(wholes.texts.device)])
            said = shares @ self.weight.T
            scores = torch.from_numpy(floor).to(said) + torch.from_numpy(has[examples].toarray()).to(said) @ said.T
            loss = losses.in_batch_negatives_loss(
                scores, torch.arange(len(examples), device=scores.device),
                weight=torch.from_numpy(pairs.weights[examples]).to(scores.device),
            )  # fmt: skip
            published = torch.from_numpy(pairs.outlets[answers]).to(scores.device)
            loss = loss + GUIDANCE * outlet_loss(shares @ self.outlets.softmax(1), published)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * (1 - step / (EPOCHS * every))
            optimizer.step()
            seen.append(float(loss.detach()))
            progress(f"styles: loss {seen[-1]:.3g}", self.number * EPOCHS * every + step + 1, HEADS * EPOCHS * every)
        return float(np.mean(seen[-every:]))

    def told(self, pairs: Pairs, wholes: Wholes) -> float:
        """Share of the texts of known outlets whose outlet is the one that their ways of writing make likeliest."""
        with torch.no_grad():
            likeliest = (self._shares(wholes.texts) @ self.outlets.softmax(1)).argmax(1).cpu().numpy()
        known = pairs.outlets >= 0
        return float((likeliest == pairs.outlets)[known].mean())

    def _shares(self, texts: Tensor) -> Tensor:
        """Shares of the ways of writing in texts, (B, K)."""
        return torch.softmax(SHARPNESS * (texts @ self.centroids.T) + self.bias, 1)


def outlet_loss(likely: Tensor, outlets: Tensor) -> Tensor:
    """Mean -ln of what a text's own outlet is given: ``likely`` (B, outlets) are probabilities, ``outlets`` (B,) the
    right ones; -1, a text of an unknown outlet, counts 0."""
    told = F.nll_loss(likely.clamp_min(1e-9).log(), outlets, ignore_index=-1, reduction="sum")
    return told / len(outlets)
