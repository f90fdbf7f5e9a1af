"""The validator that needs no language model: what the articles say about two words."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.synonyms.validators.proof import Question

# Weights of the evidence. Only the order of scores counts; the threshold is set on known pairs.
_COORDINATION = 8.0  # of the share of sentences that put the words side by side, against decades of surprise
_TOGETHER = 2.0  # of the share of sentences that hold both
_CONTRAST = 6.0  # of a productive contrast


class RulesValidator:
    """Synonyms replace each other: close in meaning, seldom together or side by side, no contrast."""

    name = "rules"
    notes: list[str] = []  # noqa: RUF012 - it asks no server

    def scores(self, questions: Sequence[Question]) -> list[float]:
        """Decades of surprise at how close the two are, less signs of contrast.

        Shared contexts do not count for a pair: rivals share more of them than synonyms do (AUC .32 on news).
        """
        return [self._score(question) for question in questions]

    def _score(self, question: Question) -> float:
        closeness = question.evidence.get("closeness") or {}
        use = question.evidence.get("use") or {}
        rarer = max(1, min(use.get("sentences_a", 0), use.get("sentences_b", 0)))
        score = float(closeness.get("surprise", 0.0))
        score -= _COORDINATION * use.get("side_by_side", 0) / rarer
        score -= _TOGETHER * use.get("together", 0) / rarer
        score -= _CONTRAST if use.get("contrast") else 0.0
        return float(score)
