"""``validate_synonyms_with_llm``: validation of pairs in memory, without database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UsageError
from pipeline.progress import Progress, silent
from pipeline.synonyms.pairs import SynonymPair
from pipeline.synonyms.validators.proof import Abstention, Proof, Question, Validator, prove


@dataclass(frozen=True)
class Judged:
    """A pair with the validator's score, None where it abstained; ``vetoed`` only by a validator that is proven."""

    pair: SynonymPair
    score: float | None
    vetoed: bool


@dataclass(frozen=True)
class LlmValidation:
    """The judged pairs, in the given order, and the evaluation of the model."""

    judged: list[Judged]
    proof: Proof

    @property
    def validated(self) -> list[SynonymPair]:
        """The pairs that were not vetoed, when the model is proven; none otherwise: nobody validated them."""
        return [j.pair for j in self.judged if not j.vetoed] if self.proof.counts else []


def validate_synonyms_with_llm(
    synonym_pairs: Sequence[SynonymPair | tuple[str, str]],
    llm_model: str | Path | Validator,
    *,
    known_synonyms: Sequence[tuple[str, str]] = (),
    known_others: Sequence[tuple[str, str]] = (),
    min_auc: float = 0.75,
    false_vetoes: float = 0.1,
    four_bit: bool = True,
    batch_size: int = 16,
    progress: Progress = silent,
) -> LlmValidation:
    """Validate pairs with a local language model (plan 4.5): folder, hub name or .gguf file; 4-bit on a GPU, batched.

    The model is evaluated first, on the positives ``known_synonyms`` (default: the given pairs with source alias) and
    the negatives ``known_others`` (default: the same words, each paired with the second word of the next pair).
    Raises UsageError for no pairs, BadInputError for a model that cannot be loaded.
    """
    pairs = [p if isinstance(p, SynonymPair) else SynonymPair(*p, source="cluster") for p in synonym_pairs]
    if not pairs:
        raise UsageError("there are no pairs to validate")
    if isinstance(llm_model, str | Path):
        from pipeline.synonyms.validators.llm import LocalValidator

        validator: Validator = LocalValidator(llm_model, four_bit=four_bit, batch_size=batch_size, progress=progress)
    else:
        validator = llm_model
    known = list(known_synonyms) or [p.key for p in pairs if p.source == "alias"]
    true = {frozenset(key) for key in known} | {frozenset(p.key) for p in pairs}
    others = list(known_others) or [
        (a, b)
        for (a, _), (_, b) in zip(known, known[1:] + known[:1], strict=True)
        if a != b and frozenset((a, b)) not in true
    ]
    questions = [Question(a, b, {}) for a, b in [*known, *others, *(p.key for p in pairs)]]
    scores = list(validator.scores(questions))
    proof = prove(
        validator.name,
        scores[: len(known)],
        scores[len(known) : len(known) + len(others)],
        min_auc=min_auc,
        false_positives=0.02,
        false_vetoes=false_vetoes,
    )
    pair_scores = scores[len(known) + len(others) :]
    judged = [
        Judged(p, None, False) if isinstance(s, Abstention) else Judged(p, s, proof.counts and s < proof.veto)
        for p, s in zip(pairs, pair_scores, strict=True)
    ]
    return LlmValidation(judged, proof)
