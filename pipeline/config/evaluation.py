"""Evaluation."""

from __future__ import annotations

from pipeline.config.section import Section, key


class EvaluationConfig(Section):
    """Evaluation: what is measured, on how much, and which ranking is judged."""

    ranking: str = key("sparse", "the ranking users get, which the gate judges: sparse or hybrid", pattern="^(sparse|hybrid)$")
