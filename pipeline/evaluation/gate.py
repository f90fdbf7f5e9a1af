"""The gate's rules: from what an evaluation measured to a verdict that a person can read.

Pure: no database, no clock, no randomness but the configured seed, so the same evidence gives the same verdict.
docs/gate.md says why each rule has its form and how often it errs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.asof import AsOf
from pipeline.config.gate import GateConfig
from pipeline.evaluation.results import SetResult
from pipeline.promotion import is_newer
from pipeline.ranking.metrics import Cost
from pipeline.ranking.significance import Differences, holm, interval, lower_bound, p_value

FRESH, ANCHOR = "fresh", "anchor"
BM25, FLOOR = "bm25", "floor"


@dataclass(frozen=True)
class Rule:
    """A row of a decision: ``value`` was held against ``bound``; numbers that led to it are in ``details``."""

    name: str
    passed: bool
    value: float | None
    bound: float | None
    sentence: str
    details: list[dict[str, Any]] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """The row as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Best:
    """The best mean nDCG@10 that a model in service ever reached on the anchor set."""

    model_id: int
    mean: float
    values: NDArray[np.float64] | None  # its per-query values in the anchor set's order, when they are still there


@dataclass(frozen=True)
class Evidence:
    """All that a decision is made from. ``reference`` is what users have now: the champion, else BM25."""

    candidate_as_of: AsOf | None
    champion_as_of: AsOf | None
    champion: int | None  # the live generation; None before the first
    is_champion: bool  # the candidate is the model that already serves
    sets: Mapping[str, SetResult]
    system: str  # the candidate's ranking that users would get
    reference: str  # the ranking that users have now
    floor: str  # the candidate's ranking by its lexical floor alone
    best_anchor: Best | None
    servable: Mapping[str, Any]  # pipeline.search.ServableReport as JSON: passed, sentence, numbers
    cost: Cost
    champion_cost: Cost | None


@dataclass(frozen=True)
class Verdict:
    """The decision: promote only when every rule passed."""

    verdict: str  # promote, reject
    reason: str
    rules: list[Rule]


def judge(evidence: Evidence, config: GateConfig) -> Verdict:
    """All eight rules, and the verdict with its reason in one sentence."""
    rules = [
        right_to_promote(evidence),
        servable(evidence),
        better_on_fresh(evidence, config),
        not_worse_on_anchor(evidence, config),
        no_slice_falls(evidence, config),
        cost_in_bounds(evidence, config),
        first_beats_bm25(evidence, config),
        own_floor(evidence, config),
    ]
    failed = [rule for rule in rules if not rule.passed]
    if not failed:
        gain = next(rule.sentence for rule in rules if rule.name == (_FIRST if evidence.champion is None else _FRESH))
        return Verdict("promote", f"All {len(rules)} rules hold. {gain}", rules)
    others = ", ".join(rule.name for rule in failed[1:])
    return Verdict("reject", failed[0].sentence + (f" Also failed: {others}." if others else ""), rules)


def illness(evidence: Evidence, config: GateConfig) -> str | None:
    """Why no later model should be trained from the candidate, in one sentence; None when it is healthy.

    Weaker than rejection: a model without a certain gain stays head of the training line, so that small daily gains add
    up. One that no index could hold, or that is certainly below the champion (on fresh queries, or on the anchor set by
    more than the margin allowed there), must not hand its loss on.
    """
    if evidence.cost.unusable:
        return f"{evidence.cost.unusable} of its weights are not finite or below 0."
    if not (evidence.champion is not None and right_to_promote(evidence).passed):
        return None  # a newer champion may have been trained on what is fresh to an older candidate
    for name, margin in ((FRESH, 0.0), (ANCHOR, config.anchor_margin)):
        result = evidence.sets.get(name)
        if result is None or len(result.ids) < config.minimum_queries:
            continue
        fall = result.differences(evidence.reference, evidence.system)
        certain = lower_bound(fall, significance=config.significance, seed=config.seed)
        if certain > margin:
            return (
                f"nDCG@10 on {len(result.ids)} {name} queries is {result.mean(evidence.system):.4f} against "
                f"{result.mean(evidence.reference):.4f} of the champion (generation {evidence.champion}): "
                f"it is at least {certain:.4f} lower with {1 - config.significance:.0%} confidence, "
                f"and {margin:g} is allowed."
            )
    return None


_RIGHT, _SERVABLE, _FRESH, _ANCHOR = "right to promote", "servable", "better on fresh", "not worse on anchor"
_SLICES, _COST, _FIRST, _FLOOR = "no slice falls", "cost", "first beats BM25", "own floor"


def right_to_promote(evidence: Evidence) -> Rule:
    """Rule 1: the candidate knows more than the champion; a backfill never demotes."""
    if evidence.champion is None:
        return Rule(_RIGHT, True, None, None, "Nothing serves yet, so any model may be promoted.")
    if evidence.is_champion:
        return Rule(
            _RIGHT, False, None, None, f"The candidate is the model that generation {evidence.champion} already serves."
        )
    mine, theirs = evidence.candidate_as_of, evidence.champion_as_of
    if mine is None:
        return Rule(_RIGHT, False, None, None, "The candidate has no as-of, so it cannot be newer than the champion.")
    days = float((mine.day - theirs.day).days) if theirs else None
    if is_newer(mine, theirs):
        return Rule(
            _RIGHT,
            True,
            days,
            0.0,
            f"The candidate knows the news up to {mine.day}, the champion up to {theirs.day if theirs else 'no day'}.",
        )
    return Rule(
        _RIGHT, False, days, 0.0,
        f"The candidate knows the news up to {mine.day} and the champion already up to {theirs.day if theirs else ''}: "
        "a backfill never replaces a newer model.",
    )  # fmt: skip


def servable(evidence: Evidence) -> Rule:
    """Rule 2: the cluster gives the scores and query weights that the encoder gives, and can store every weight."""
    details = [dict(evidence.servable)]
    error, bound = evidence.servable.get("score_error"), evidence.servable.get("bound", 2.0**-8)
    value = None if error is None else float(error)
    if evidence.cost.unusable:
        return Rule(
            _SERVABLE, False, float(evidence.cost.unusable), 0.0,
            f"{evidence.cost.unusable} weights of the candidate are not finite or below 0: "
            "the index would refuse them.", details,
        )  # fmt: skip
    if not evidence.servable.get("passed", False):
        why = evidence.servable.get("sentence") or "the servable check was not made"
        return Rule(_SERVABLE, False, value, bound, f"Not servable: {why}.", details)
    return Rule(_SERVABLE, True, value, bound, f"Servable: {evidence.servable.get('sentence')}.", details)


@dataclass(frozen=True)
class _Gain:
    passed: bool
    mean: float
    p: float
    low: float
    high: float
    sentence: str


def _gain(result: SetResult | None, system: str, reference: str, named: str, config: GateConfig) -> _Gain:
    """Is ``system`` really better than ``reference`` on a set, by enough?"""
    queries = len(result.ids) if result else 0
    if result is None or queries < config.minimum_queries:
        return _Gain(
            False,
            0.0,
            1.0,
            0.0,
            0.0,
            f"There are {queries} fresh queries, and {config.minimum_queries} are needed to tell models apart.",
        )
    differences = result.differences(system, reference)
    p = p_value(differences, permutations=config.permutations, seed=config.seed)
    low, high = interval(differences, seed=config.seed)
    said = (
        f"nDCG@10 on {queries} fresh queries is {result.mean(system):.4f} "
        f"against {result.mean(reference):.4f} of {named} "
        f"({differences.mean:+.4f}, 95% interval {low:+.4f} to {high:+.4f}, p = {p:.4f})"
    )
    if p >= config.significance:
        return _Gain(
            False,
            differences.mean,
            p,
            low,
            high,
            f"No certain gain: {said}; p below {config.significance:g} is needed.",
        )
    if differences.mean < config.minimum_gain:
        return _Gain(
            False,
            differences.mean,
            p,
            low,
            high,
            f"The gain is too small: {said}; {config.minimum_gain:g} is asked for.",
        )
    return _Gain(True, differences.mean, p, low, high, f"Better: {said}.")


def _gain_rule(name: str, evidence: Evidence, named: str, config: GateConfig) -> Rule:
    found = _gain(evidence.sets.get(FRESH), evidence.system, evidence.reference, named, config)
    details = [{"p_value": found.p, "significance": config.significance, "low": found.low, "high": found.high}]
    return Rule(name, found.passed, found.mean, config.minimum_gain, found.sentence, details)


def better_on_fresh(evidence: Evidence, config: GateConfig) -> Rule:
    """Rule 3: on articles newer than what both were trained on, the candidate ranks better than the champion."""
    if evidence.champion is None:
        return Rule(_FRESH, True, None, None, "Nothing serves yet, so there is no champion to be better than.")
    return _gain_rule(_FRESH, evidence, f"the champion (generation {evidence.champion})", config)


def first_beats_bm25(evidence: Evidence, config: GateConfig) -> Rule:
    """Rule 7: the first model has to be worth more than the search that needs no model."""
    if evidence.champion is not None:
        return Rule(_FIRST, True, None, None, f"Not asked: generation {evidence.champion} serves already.")
    return _gain_rule(_FIRST, evidence, "BM25", config)


def not_worse_on_anchor(evidence: Evidence, config: GateConfig) -> Rule:
    """Rule 4: on the frozen anchor set, not below the best that users ever had by more than the margin.

    The lower confidence bound of the difference must stay above -margin: not being able to tell is no pass.
    """
    result = evidence.sets.get(ANCHOR)
    queries = len(result.ids) if result else 0
    if result is None or queries < config.minimum_queries:
        return Rule(
            _ANCHOR,
            False,
            float(queries),
            float(config.minimum_queries),
            f"The anchor set has {queries} queries, and {config.minimum_queries} are needed.",
        )
    values, mean = result.values[evidence.system]["ndcg@10"], result.mean(evidence.system)
    against, named = result.values[evidence.reference]["ndcg@10"], "the champion" if evidence.champion else "BM25"
    best_mean, best = result.mean(evidence.reference), against
    if evidence.best_anchor is not None and evidence.best_anchor.mean > best_mean:
        best_mean, named = (
            evidence.best_anchor.mean,
            f"the best model ever served (model {evidence.best_anchor.model_id})",
        )
        best = evidence.best_anchor.values if evidence.best_anchor.values is not None else np.full(queries, best_mean)
    differences = Differences.of(values, best, result.groups)
    bound = lower_bound(differences, significance=config.significance, seed=config.seed)
    passed = bound > -config.anchor_margin
    sentence = (
        f"{'Not worse' if passed else 'Possibly worse'} where it was good: "
        f"nDCG@10 on {queries} anchor queries is {mean:.4f} against "
        f"{best_mean:.4f} of {named}; "
        f"the difference {differences.mean:+.4f} is at least {bound:+.4f} with {1 - config.significance:.0%} "
        f"confidence, and {-config.anchor_margin:+g} is allowed."
    )
    return Rule(
        _ANCHOR,
        passed,
        bound,
        -config.anchor_margin,
        sentence,
        [{"difference": differences.mean, "best": best_mean, "of": named}],
    )


def no_slice_falls(evidence: Evidence, config: GateConfig) -> Rule:
    """Rule 5: no slice with enough queries is certainly worse than with what users have now.

    Slices are small, so they cannot prove that they are not worse; a fall is a fall when a randomization test says so
    after Holm's correction for the number of slices, and when it is larger than the margin.
    """
    rows: list[dict[str, Any]] = []
    tested: list[float] = []
    too_small = 0
    for result in evidence.sets.values():
        whole = {} if result.name in (FRESH, ANCHOR) else {"": np.arange(len(result.ids))}
        for name, members in {**whole, **result.slices}.items():
            if len(members) < config.slice_queries:
                too_small += 1
                continue
            down = result.differences(evidence.reference, evidence.system, rows=members)
            tested.append(p_value(down, permutations=config.permutations, seed=config.seed))
            rows.append(
                {
                    "set": result.name,
                    "slice": name,
                    "queries": len(members),
                    "candidate": result.mean(evidence.system, rows=members),
                    "reference": result.mean(evidence.reference, rows=members),
                    "difference": -down.mean,
                }
            )
    for row, p in zip(rows, holm(tested), strict=True):
        row["p_value"] = p
        row["passed"] = not (p < config.significance and -row["difference"] > config.slice_margin)
    counted = f"{len(rows)} slice{'s' * (len(rows) != 1)} of {config.slice_queries} or more queries" + (
        f" ({too_small} smaller ones do not count)" * bool(too_small)
    )
    worst = min(rows, key=lambda row: float(row["difference"]), default=None)
    value = None if worst is None else float(worst["difference"])
    fallen = sorted((row for row in rows if not row["passed"]), key=lambda row: float(row["difference"]))
    if not fallen:
        return Rule(_SLICES, True, value, -config.slice_margin, f"None of {counted} falls.", rows)
    names = ", ".join(
        f"{_slice_name(row)} ({row['reference']:.4f} to {row['candidate']:.4f}, p = {row['p_value']:.4f})"
        for row in fallen
    )
    return Rule(
        _SLICES,
        False,
        value,
        -config.slice_margin,
        f"Of {counted}, {len(fallen)} fall{'s' * (len(fallen) == 1)}: {names}.",
        rows,
    )


def _slice_name(row: Mapping[str, Any]) -> str:
    return f"{row['set']}/{row['slice']}" if row["slice"] else str(row["set"])


def cost_in_bounds(evidence: Evidence, config: GateConfig) -> Rule:
    """Rule 6: active terms, FLOPS, index size and query time within the configured bounds and near the champion's."""
    mine, theirs = evidence.cost, evidence.champion_cost
    rows: list[dict[str, Any]] = []

    def check(what: str, value: float, bound: float, of: str) -> None:
        rows.append({"what": what, "value": value, "bound": bound, "of": of, "passed": bool(value <= bound)})

    check("active terms", mine.active_terms, config.max_active_terms, "configuration")
    check("FLOPS", mine.flops, config.max_flops, "configuration")
    if theirs is not None:
        for what, value, champion in (
            ("active terms", mine.active_terms, theirs.active_terms),
            ("FLOPS", mine.flops, theirs.flops),
            ("index entries", float(mine.postings), float(theirs.postings)),
        ):
            if champion > 0:
                check(what, value, champion * config.cost_growth, "champion")
    query_ms = evidence.servable.get("latency_p50_ms")
    if query_ms is not None:
        check("query time (ms)", float(query_ms), config.max_query_ms, "configuration")
    worst = max(rows, key=lambda row: float(row["value"]) / float(row["bound"]))
    said = ", ".join(
        f"{row['what']} {row['value']:.4g} (at most {row['bound']:.4g} by {row['of']})"
        for row in rows
        if not row["passed"]
    )
    sentence = (
        f"Too costly: {said}."
        if said
        else (
            f"{mine.active_terms:.0f} active terms and {mine.flops:.2f} FLOPS are within bounds; "
            f"nearest to its bound is "
            f"{worst['what']} with {worst['value']:.4g} of {worst['bound']:.4g}."
        )
    )
    return Rule(_COST, not said, float(worst["value"]), float(worst["bound"]), sentence, rows)


def own_floor(evidence: Evidence, config: GateConfig) -> Rule:
    """Rule 8: on no set is the candidate certainly worse than its own lexical floor: what it learned must not hurt.

    A randomization test a set, with Holm's correction for their number.
    """
    rows: list[dict[str, Any]] = []
    tested: list[float] = []
    for result in evidence.sets.values():
        if evidence.floor not in result.values:
            continue
        down = result.differences(evidence.floor, evidence.system)
        tested.append(p_value(down, permutations=config.permutations, seed=config.seed))
        rows.append(
            {
                "set": result.name,
                "queries": len(result.ids),
                "candidate": result.mean(evidence.system),
                "floor": result.mean(evidence.floor),
                "difference": -down.mean,
            }
        )
    if not rows:
        return Rule(_FLOOR, False, None, None, "The lexical floor alone was not measured: evaluate the model again.")
    for row, p in zip(rows, holm(tested), strict=True):
        row["p_value"] = p
        row["passed"] = p >= config.significance
    lowest = min(rows, key=lambda row: (float(row["p_value"]), float(row["difference"])))
    below = [row for row in rows if not row["passed"]]

    def told(row: Mapping[str, Any]) -> str:
        return f"{row['set']} ({row['floor']:.4f} to {row['candidate']:.4f}, p = {row['p_value']:.4f})"

    counted = f"{len(rows)} set{'s' * (len(rows) != 1)}"
    sentence = (
        f"What it learned hurts on {len(below)} of {counted}, against its own lexical floor: "
        f"{', '.join(told(row) for row in below)}."
        if below
        else f"On none of {counted} is it certainly below its own lexical floor; nearest to that is {told(lowest)}."
    )
    return Rule(_FLOOR, not below, float(lowest["p_value"]), config.significance, sentence, rows)
