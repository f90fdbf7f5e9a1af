"""Evaluation of a validator on labelled pairs (`pipeline.synonyms.labelled_pairs`): AUC and decision thresholds.

A validator is proven, and its verdicts count, where its AUC reaches the configured minimum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

FEWEST = 8  # labelled pairs of each kind that an evaluation needs


@dataclass(frozen=True)
class Question:
    """A pair to score. ``evidence`` is its stored evidence (closeness, use) without the alias that may label it."""

    a: str
    b: str
    evidence: dict[str, Any]


@dataclass(frozen=True)
class Abstention:
    """No score, because the answer could not be read: neither a veto nor a labelled pair that was judged."""

    reason: str


class Validator(Protocol):
    """Scores pairs; higher for synonyms. Only the ranking matters: thresholds are calibrated on labelled pairs."""

    name: str
    notes: list[str]  # what its server refused, in the server's words

    def scores(self, questions: Sequence[Question]) -> Sequence[float | Abstention]:
        """One finite score, or an abstention, a question."""
        ...


def count_abstentions(scores: Sequence[float | Abstention]) -> dict[str, int]:
    """The number of abstentions by reason, the most frequent first."""
    return dict(Counter(score.reason for score in scores if isinstance(score, Abstention)).most_common())


@dataclass(frozen=True)
class Proof:
    """The evaluation of a validator; ``counts`` is true where its verdicts are used."""

    validator: str
    auc: float
    admit: float  # threshold to accept: few negatives reach it
    veto: float  # threshold to veto: few positives are below it
    recall: float  # share of the positives that reach `admit`
    caught: float  # share of the negatives below `veto`
    positives: int
    negatives: int
    counts: bool
    sentence: str
    abstentions: dict[str, int] = field(default_factory=dict)  # labelled pairs without a readable answer, by reason

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored with the run."""
        return {key: round(v, 4) if isinstance(v, float) else v for key, v in asdict(self).items()}


def area_under_curve(positive: Sequence[float] | np.ndarray, negative: Sequence[float] | np.ndarray) -> float:
    """ROC AUC: the probability that a positive scores above a negative; ties count half (Mann and Whitney's U)."""
    if not len(positive) or not len(negative):
        return 0.5
    low = np.sort(np.asarray(negative, dtype=float))
    high = np.asarray(positive, dtype=float)
    below = np.searchsorted(low, high, side="left")
    tied = np.searchsorted(low, high, side="right") - below
    return float((below + tied / 2).sum() / (len(high) * len(low)))


def prove(
    name: str,
    positive: Sequence[float | Abstention],
    negative: Sequence[float | Abstention],
    *,
    min_auc: float,
    false_positives: float,
    false_vetoes: float,
) -> Proof:
    """Evaluate a validator from its scores of labelled pairs.

    ``admit`` is the lowest threshold that at most a share ``false_positives`` of the negatives reach; ``veto`` is the
    highest threshold below which at most a share ``false_vetoes`` of the positives lie. Abstentions are left out.
    """
    abstentions = count_abstentions([*positive, *negative])
    high, low = (
        np.sort(np.asarray([s for s in scores if not isinstance(s, Abstention)], dtype=float))
        for scores in (positive, negative)
    )
    auc = area_under_curve(high, low)
    # Just above the highest score that must not pass, so that ties do not pass either.
    admit = float(np.nextafter(low[len(low) - int(false_positives * len(low)) - 1], np.inf)) if len(low) else 0.0
    veto = float(high[int(false_vetoes * len(high))]) if len(high) else 0.0
    recall = float(np.mean(high >= admit)) if len(high) else 0.0
    caught = float(np.mean(low < veto)) if len(low) else 0.0
    few = min(len(high), len(low)) < FEWEST
    counts = not few and auc >= min_auc
    if few:
        sentence = (
            f"{name} is not proven: {len(high)} known synonyms and {len(low)} known non-synonyms are too few "
            f"({FEWEST} of each are needed), so its verdicts are recorded and do not count."
        )
    elif not counts:
        sentence = (
            f"{name} is not proven: AUC {auc:.2f} is below {min_auc:.2f}, so its verdicts are noted and do not count."
        )
    else:
        sentence = f"{name} is proven: AUC {auc:.2f} on {len(high)} known synonyms and {len(low)} non-synonyms."
    if abstentions:
        sentence += f" It abstained on {sum(abstentions.values())} of {len(positive) + len(negative)} known pairs."
    return Proof(name, auc, admit, veto, recall, caught, len(high), len(low), counts, sentence, abstentions)
