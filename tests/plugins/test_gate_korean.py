"""The gate's rules in Korean: every rule that the gate makes has a Korean sentence with its numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.config.gate import GateConfig
from pipeline.evaluation import gate
from pipeline.evaluation.results import SetResult
from pipeline.ranking.metrics import Cost
from retraining import gate_korean

CONFIG = GateConfig(permutations=10_000)


def result(name: str, gain: float) -> SetResult:
    rng = np.random.default_rng(7)
    old = rng.uniform(0.2, 0.9, 60)
    systems = {"candidate": old + gain + rng.normal(0, 0.02, 60), "champion": old, "bm25": old, "floor": old}
    rows = {"": np.arange(0)} if name == "" else {"names": np.arange(30)}
    made = SetResult(name, [str(i) for i in range(60)], np.arange(60), rows, 60, name)
    made.values = {
        system: dict.fromkeys(("ndcg@10", "mrr@10", "recall@10", "recall@100"), values)
        for system, values in systems.items()
    }
    return made


def evidence(gain: float, **changes: Any) -> gate.Evidence:
    return replace(
        gate.Evidence(
            candidate_as_of=None, champion_as_of=None, champion=4, is_champion=False,
            sets={"fresh": result("fresh", gain), "anchor": result("anchor", gain)}, system="candidate",
            reference="champion", floor="floor", best_anchor=None,
            servable={"passed": True, "sentence": "scores agree", "score_error": 0.001, "bound": 2**-8},
            cost=Cost(150, 6, 0.995, 2, 15_000, 0), champion_cost=Cost(150, 6, 0.995, 2, 15_000, 0),
        ),
        **changes,
    )  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        evidence(0.1),
        evidence(0.001),
        evidence(-0.1),
        evidence(0.1, champion=None, reference="bm25"),
        evidence(0.1, sets={}),
        evidence(0.1, cost=Cost(900, 60, 0.9, 2, 90_000, 3), servable={}),
    ],
    ids=["better", "too small", "worse", "first", "no queries", "too costly"],
)
def test_every_rule_of_the_gate_has_a_korean_sentence(given: gate.Evidence) -> None:
    verdict = gate.judge(given, CONFIG)
    rules = [rule.row() for rule in verdict.rules]
    for rule in rules:
        assert re.search("[가-힣]", gate_korean.name(rule)), rule["name"]
        assert re.search("[가-힣]", gate_korean.sentence(rule)), rule["name"]
    reason = gate_korean.reason({"rules": rules})
    if verdict.verdict == "reject":
        first = next(rule for rule in rules if not rule["passed"])
        assert reason.startswith(gate_korean.sentence(first))


def test_the_numbers_are_those_of_the_decision() -> None:
    rules = {rule.name: rule for rule in gate.judge(evidence(-0.1), CONFIG).rules}
    fresh, slices = rules["better on fresh"], rules["no slice falls"]
    assert f"{fresh.value:+.4f}" in gate_korean.sentence(fresh.row())
    assert f"{fresh.details[0]['p_value']:.4f}" in gate_korean.sentence(fresh.row())
    assert "fresh/names" in gate_korean.sentence(slices.row())


def test_a_rule_that_is_not_known_shows_its_own_sentence() -> None:
    rule = {"name": "later rule", "passed": True, "value": None, "bound": None, "sentence": "As it is.", "details": []}
    assert (gate_korean.name(rule), gate_korean.sentence(rule)) == ("later rule", "As it is.")
