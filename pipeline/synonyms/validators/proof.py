"""A validator's proof: how well it tells known synonyms from known non-synonyms.

The known pairs come from the corpus itself: aliases that several stories write are synonyms; random pairs, pairs
that the text coordinates ("A와 B") and pairs that differ in a productive contrast (수출/수입) are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

FEWEST = 8  # known pairs of each kind without which nothing is proved


@dataclass(frozen=True)
class Question:
    """Are ``a`` and ``b`` synonyms? ``evidence`` is what the store knows (closeness, use), never the alias itself."""

    a: str
    b: str
    evidence: dict[str, Any]


class Validator(Protocol):
    """Scores pairs; higher means rather synonyms. Only the order of scores matters: the threshold is calibrated."""

    name: str

    def scores(self, questions: Sequence[Question]) -> list[float]:
        """One finite score a question."""
        ...


@dataclass(frozen=True)
class Proof:
    """What a validator showed; ``counts`` says whether its verdicts are used."""

    validator: str
    auc: float
    admit: float  # scores at least so high admit: few known non-synonyms reach it
    veto: float  # scores below it veto: few known synonyms lie there
    recall: float  # share of the known synonyms that `admit` lets pass
    caught: float  # share of the known non-synonyms that `veto` stops
    positives: int
    negatives: int
    counts: bool
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Plain values, as stored with the run."""
        return {key: round(v, 4) if isinstance(v, float) else v for key, v in asdict(self).items()}


def area_under_curve(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Chance that a known synonym scores above a known non-synonym; ties count half (Mann and Whitney's U)."""
    if not len(positive) or not len(negative):
        return 0.5
    low = np.sort(np.asarray(negative, dtype=float))
    high = np.asarray(positive, dtype=float)
    below = np.searchsorted(low, high, side="left")
    tied = np.searchsorted(low, high, side="right") - below
    return float((below + tied / 2).sum() / (len(high) * len(low)))


def prove(
    name: str,
    positive: Sequence[float],
    negative: Sequence[float],
    *,
    min_auc: float,
    false_positives: float,
    false_vetoes: float,
) -> Proof:
    """The proof from the scores of known pairs.

    ``admit`` is the lowest score that at most a share ``false_positives`` of the non-synonyms reach, ``veto`` the
    highest below which at most a share ``false_vetoes`` of the synonyms lie: the better the validator, the more its
    veto stops.
    """
    auc = area_under_curve(positive, negative)
    low, high = np.sort(np.asarray(negative, dtype=float)), np.sort(np.asarray(positive, dtype=float))
    # Just above the highest score that must not pass: a tie with it does not pass either.
    admit = float(np.nextafter(low[len(low) - int(false_positives * len(low)) - 1], np.inf)) if len(low) else 0.0
    veto = float(high[int(false_vetoes * len(high))]) if len(high) else 0.0
    recall = float(np.mean(high >= admit)) if len(high) else 0.0
    caught = float(np.mean(low < veto)) if len(low) else 0.0
    few = min(len(positive), len(negative)) < FEWEST
    counts = not few and auc >= min_auc
    if few:
        sentence = (
            f"{name} is not proven: {len(positive)} known synonyms and {len(negative)} known non-synonyms are too few "
            f"({FEWEST} of each are needed), so its verdicts are recorded and do not count."
        )
    elif not counts:
        sentence = (
            f"{name} is not proven: AUC {auc:.2f} is below {min_auc:.2f}, so its verdicts are noted and do not count."
        )
    else:
        sentence = (
            f"{name} is proven: AUC {auc:.2f} on {len(positive)} known synonyms and {len(negative)} non-synonyms."
        )
    return Proof(name, auc, admit, veto, recall, caught, len(positive), len(negative), counts, sentence)
