"""Validation of a discovery run: validators are evaluated on labelled pairs, then give verdicts; groups follow."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config.synonyms import SynonymsConfig
from pipeline.context import Context
from pipeline.errors import ConfigError, CorruptArtifactError
from pipeline.progress import Progress, silent
from pipeline.store import synonyms as store
from pipeline.synonyms.pairs import SynonymPair, complete_groups
from pipeline.synonyms.validators.proof import Abstention, Proof, Question, Validator, count_abstentions, prove
from pipeline.synonyms.validators.rules import RulesValidator

log = logging.getLogger(__name__)

_LISTED = 3  # sentences that put two forms of an alias side by side, from which they are two things
_LISTED_CLUSTER = 2  # the same for words that only share a cluster
# Shares of known pairs: few non-synonyms may be admitted, since a wrong group hurts every query of its words; a veto
# only leaves a group out, so more synonyms may be lost to it.
_FALSE_POSITIVES = 0.02
_FALSE_VETOES = 0.1
_TOGETHER = 0.1  # share of the rarer word's sentences with both words, from which they are parts of one expression


@dataclass(frozen=True)
class ValidationReport:
    """The result of a validation; ``proofs`` are the evaluations of the validators."""

    run_id: int
    candidates: int
    accepted: int
    rejected: int
    pending: int
    groups: int
    proofs: tuple[Proof, ...]
    abstentions: dict[str, int]  # candidates without a readable answer, by validator and reason
    notes: tuple[str, ...]  # what the model's server refused, in its words


def validate(ctx: Context, run_id: int, *, progress: Progress = silent) -> ValidationReport:
    """Validate the candidates of a run; verdicts and groups replace those of an earlier validation.

    Aliases are accepted because articles write them, pairs of a cluster by the rules; the configured validator may veto
    both. A validator that fails its evaluation neither accepts nor vetoes: pairs that depend on it stay pending and are
    in no group.
    """
    config = ctx.config.synonyms
    with ctx.store.begin() as conn:
        run = store.run(conn, run_id)
        candidates = store.pairs(conn, run_id)
    if run.clusters is None:
        raise CorruptArtifactError(f"synonym run {run_id} names no clusters: discover it again")
    positive, negative = read_labelled(ctx.artifacts.get(run.clusters))
    validators: list[Validator] = [RulesValidator()]
    if config.validator != "rules":
        validators.append(make_validator(config, progress))
    questions = [Question(p.a, p.b, {k: v for k, v in p.evidence.items() if k != "alias"}) for p in candidates]
    proofs: list[Proof] = []
    scores: list[Sequence[float | Abstention]] = []
    for validator in validators:
        labelled_scores = list(validator.scores(positive + negative))
        proofs.append(
            prove(
                validator.name,
                labelled_scores[: len(positive)],
                labelled_scores[len(positive) :],
                min_auc=config.validator_min_auc,
                false_positives=_FALSE_POSITIVES,
                false_vetoes=_FALSE_VETOES,
            )
        )
        scores.append(validator.scores(questions))
    judged = [
        judge(pair, [row[i] for row in scores], proofs, config.group_threshold) for i, pair in enumerate(candidates)
    ]
    abstentions = {
        f"{validator.name}: {reason}": number
        for validator, row in zip(validators, scores, strict=True)
        for reason, number in count_abstentions(row).items()
    }
    notes = [note for validator in validators for note in validator.notes]
    accepted = [p for p in judged if p.verdict == "accepted"]
    groups = complete_groups(SynonymPair(p.a, p.b, p.source, p.similarity, p.confidence, p.evidence) for p in accepted)
    validator_row = {
        "configured": config.validator,
        "proofs": [p.to_json() for p in proofs],
        "abstentions": abstentions,
        "notes": notes,
    }
    with ctx.store.begin() as conn:
        store.write_verdicts(
            conn,
            run_id,
            validator=validator_row,
            verdicts=judged,
            groups=[(g.words, g.confidence, g.evidence) for g in groups],
        )
    for sentence in replace(run, validator=validator_row).sentences:
        log.info(sentence)
    count = {verdict: sum(p.verdict == verdict for p in judged) for verdict in ("accepted", "rejected", "pending")}
    return ValidationReport(
        run_id, len(judged), count["accepted"], count["rejected"], count["pending"], len(groups), tuple(proofs),
        abstentions, tuple(notes),
    )  # fmt: skip


def judge(pair: store.Pair, scores: Sequence[float | Abstention], proofs: Sequence[Proof], least: float) -> store.Pair:
    """The pair with its verdict, from the ``scores`` and ``proofs`` of all validators, the rules first.

    An abstention is recorded with its reason and changes nothing.
    """
    rules, *others = proofs
    by_rules, *other_scores = scores
    assert not isinstance(by_rules, Abstention)  # the rules score every pair
    verdicts: list[dict[str, Any]] = [
        {"validator": proof.validator, "score": None, "abstained": score.reason, "veto": False, "counts": False}
        if isinstance(score, Abstention)
        else {
            "validator": proof.validator,
            "score": round(score, 4),
            "veto": bool(score < proof.veto),
            "counts": proof.counts,
        }
        for proof, score in zip(proofs, scores, strict=True)
    ]
    verdict, reason = _by_rules(pair, by_rules, rules, least)
    for proof, score in zip(others, other_scores, strict=True):
        if isinstance(score, Abstention):
            reason += f"; {proof.validator} abstains: {score.reason}"
        elif verdict == "accepted" and proof.counts and score < proof.veto:
            verdict, reason = "rejected", f"{proof.validator} vetoes: {score:.2f} is below {proof.veto:.2f}"
    return replace(
        pair,
        verdict=verdict,
        verdict_score=float(next(s for s in reversed(scores) if not isinstance(s, Abstention))),
        verdict_reason=reason,
        evidence=pair.evidence | {"verdicts": verdicts},
    )


def _by_rules(pair: store.Pair, score: float, rules: Proof, least: float) -> tuple[str, str]:
    use = pair.evidence.get("use") or {}
    if pair.source == "alias":
        alias = pair.evidence["alias"]
        if use.get("contrast"):
            return "rejected", f"differ in {use['contrast']}, which tells many words apart"
        if use.get("side_by_side", 0) >= _LISTED:
            return "rejected", f"{use['side_by_side']} sentences name them side by side as two things"
        stories = alias["forward"] + alias["backward"]
        return "accepted", f"{stories} stories write {alias['long']}({alias['short']})"
    if not rules.counts:
        return "pending", rules.sentence
    if pair.confidence < least:
        return "rejected", f"confidence {pair.confidence:.2f} is below {least:.2f}"
    if use.get("contrast"):
        return "rejected", f"differ in {use['contrast']}, which tells many words apart"
    rarer = max(1, min(use.get("sentences_a", 0), use.get("sentences_b", 0)))
    if use.get("together", 0) > _TOGETHER * rarer:
        return (
            "rejected",
            f"stand in one sentence {use['together']} times of {rarer}: one expression, or rivals",
        )
    if use.get("side_by_side", 0) >= _LISTED_CLUSTER:
        return "rejected", f"{use['side_by_side']} sentences name them side by side as two things"
    if score < rules.admit:
        return "rejected", f"rules: {score:.2f} is below {rules.admit:.2f}, which few non-synonyms reach"
    return "accepted", f"rules: {score:.2f} is above {rules.admit:.2f}, which few non-synonyms reach"


def read_labelled(folder: Path) -> tuple[list[Question], list[Question]]:
    """The labelled pairs (positives, negatives) of a clusters artifact."""
    try:
        pairs = json.loads((folder / "known.json").read_text(encoding="utf-8"))
        return [Question(**q) for q in pairs["synonyms"]], [Question(**q) for q in pairs["others"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptArtifactError(f"{folder} holds no labelled pairs ({error}): discover the run again") from error


def make_validator(config: SynonymsConfig, progress: Progress = silent) -> Validator:
    """The configured validator, ready to score. Raises ConfigError when it lacks an address or a model."""
    if config.validator == "llm":
        from pipeline.synonyms.validators.llm import LocalValidator

        if not config.llm_model:
            raise ConfigError("synonyms.validator is llm, but synonyms.llm_model is empty: name a folder or hub model")
        return LocalValidator(
            config.llm_model,
            gguf=config.llm_gguf,
            four_bit=config.llm_4bit,
            progress=progress,
        )
    if config.validator == "openai":
        from pipeline.synonyms.validators.server import ServerValidator

        return ServerValidator(
            config.openai_url,
            config.llm_model,
            progress=progress,
        )
    return RulesValidator()
