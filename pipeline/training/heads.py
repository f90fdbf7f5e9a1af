"""What is fitted beside the language model's own head, once its layers stand still: a projection, styles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import scipy.sparse as sp

from pipeline.config.training import TrainingConfig
from pipeline.encoder import Encoder
from pipeline.encoder.lexical import LexicalFloor
from pipeline.encoder.styles import Styles
from pipeline.progress import Progress
from pipeline.training import projection, styles
from pipeline.training.student import Student
from pipeline.training.wholes import Pairs, Wholes


def wanted(settings: TrainingConfig) -> bool:
    """Whether there is anything to fit."""
    return bool(settings.projection_epochs or settings.styles)


def check(settings: TrainingConfig, lexical: LexicalFloor | None, encoder: Encoder) -> None:
    """Raises ConfigError where something is wanted that cannot be had."""
    projection.check(settings, lexical)
    styles.check(settings, lexical, encoder)


def fit(
    student: Student, pairs: Pairs, progress: Progress, trying: Callable[[Callable[[], Any]], Any]
) -> dict[str, Any]:
    """Fit what is wanted, put it into the student's encoder, and say of it what the card says.

    Each piece of work is done through ``trying``, which does it again where memory did not suffice.
    """
    settings, module = student.settings, student.encoder.module
    said: dict[str, Any] = {}
    held: Wholes = trying(lambda: Wholes.of(student, pairs, progress))
    if settings.styles:
        module.styles, said["styles"] = trying(lambda: styles.fit(student, pairs, held, progress))
    if settings.projection_epochs:
        # Over the styles, so that its terms are kept for what these cannot say.
        over = (
            pairs if module.styles is None else replace(pairs, floor=pairs.floor + _styled(module.styles, held, pairs))
        )
        module.projection, said["projection"] = trying(lambda: projection.fit(student, over, held, progress))
    return said


def _styled(found: Styles, held: Wholes, pairs: Pairs) -> sp.csr_matrix:
    """What styles say of the pairs' texts, (P, V)."""
    said = sp.coo_matrix(found.said(held.pooled()).cpu().numpy())
    columns = found.terms.cpu().numpy()[said.col]
    return sp.csr_matrix((said.data, (said.row, columns)), shape=pairs.floor.shape)
