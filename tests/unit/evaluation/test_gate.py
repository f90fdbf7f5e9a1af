"""The gate's rules: each passes where it should, fails where it should, and says why."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.asof import SEOUL, AsOf
from pipeline.config.gate import GateConfig
from pipeline.evaluation import gate, render_decision
from pipeline.evaluation.results import SetResult, read, write
from pipeline.evaluation.weights_gate import boosts_bounded, bounded, not_worse
from pipeline.ranking.metrics import Cost

CONFIG = GateConfig(permutations=10_000)
Array = NDArray[np.float64]


def as_of(day: int) -> AsOf:
    return AsOf(dt.date(2026, 3, day), dt.datetime(2026, 3, day, 23, tzinfo=SEOUL))


def held(name: str, slices: dict[str, NDArray[np.int64]] | None = None, **scores: Array) -> SetResult:
    queries = len(next(iter(scores.values())))
    made = SetResult(name, [str(i) for i in range(queries)], np.arange(queries), slices or {}, queries, name)
    made.values = {
        system: dict.fromkeys(("ndcg@10", "mrr@10", "recall@10", "recall@100"), s) for system, s in scores.items()
    }
    return made


def evidence(gain: float = 0.05, loss: float = 0.0, **changes: Any) -> gate.Evidence:
    rng = np.random.default_rng(1)
    old = rng.uniform(0.2, 0.9, 400)
    users = {"champion": old, "bm25": old, "floor": old - 0.2}
    fresh = held(
        "fresh", candidate=old[:200] + gain + rng.normal(0, 0.05, 200), **{name: v[:200] for name, v in users.items()}
    )
    anchor = held("anchor", candidate=old - loss + rng.normal(0, 0.05, 400), **users)
    base = gate.Evidence(
        candidate_as_of=as_of(9),
        champion_as_of=as_of(8),
        champion=4,
        is_champion=False,
        sets={"fresh": fresh, "anchor": anchor},
        system="candidate",
        reference="champion",
        floor="floor",
        best_anchor=None,
        servable={"passed": True, "sentence": "scores agree", "score_error": 0.001, "bound": 2**-8},
        cost=Cost(150, 6, 0.995, 2, 15_000, 0),
        champion_cost=Cost(150, 6, 0.995, 2, 15_000, 0),
    )
    return replace(base, **changes)


def failed(found: gate.Verdict) -> list[str]:
    return [rule.name for rule in found.rules if not rule.passed]


def test_a_better_model_is_promoted_with_a_row_a_rule() -> None:
    found = gate.judge(evidence(), CONFIG)
    assert (found.verdict, failed(found), len(found.rules)) == ("promote", [], 8)
    assert "nDCG@10 on 200 fresh queries" in found.reason


def test_the_same_evidence_gives_the_same_verdict() -> None:
    assert gate.judge(evidence(), CONFIG) == gate.judge(evidence(), CONFIG)


@pytest.mark.parametrize(
    ("changes", "rule", "said"),
    [
        ({"candidate_as_of": as_of(7)}, "right to promote", "backfill"),
        ({"candidate_as_of": as_of(8)}, "right to promote", "backfill"),
        ({"is_champion": True}, "right to promote", "already serves"),
        ({"candidate_as_of": None}, "right to promote", "no as-of"),
        ({"servable": {"passed": False, "sentence": "scores are off by 0.1"}}, "servable", "off by 0.1"),
        ({"servable": {}}, "servable", "not made"),
        ({"cost": Cost(150, 6, 0.99, 2, 15_000, 3)}, "servable", "not finite"),
        ({"cost": Cost(900, 6, 0.99, 2, 15_000, 0)}, "cost", "active terms 900"),
        ({"cost": Cost(190, 6, 0.99, 2, 15_000, 0)}, "cost", "by champion"),
        ({"cost": Cost(150, 6, 0.99, 2, 19_000, 0)}, "cost", "index entries"),
        ({"servable": {"passed": True, "latency_p50_ms": 900.0}}, "cost", "query time"),
    ],
)
def test_each_reason_to_reject_is_said(changes: dict[str, Any], rule: str, said: str) -> None:
    found = gate.judge(evidence(**changes), CONFIG)
    assert (found.verdict, failed(found)) == ("reject", [rule])
    assert said in found.reason


def test_no_gain_or_too_small_a_gain_is_rejected() -> None:
    assert failed(gate.judge(evidence(gain=0.0), CONFIG)) == ["better on fresh"]
    small = gate.judge(evidence(gain=0.02), CONFIG.model_copy(update={"minimum_gain": 0.1}))
    assert failed(small) == ["better on fresh"]
    assert "too small" in small.reason


def test_few_fresh_queries_decide_nothing() -> None:
    few = held("fresh", candidate=np.ones(12), champion=np.zeros(12), bm25=np.zeros(12), floor=np.zeros(12))
    found = gate.judge(evidence(sets={**evidence().sets, "fresh": few}), CONFIG)
    assert "12 fresh queries, and 30 are needed" in found.reason
    missing = gate.judge(evidence(sets={}), CONFIG)
    assert {"better on fresh", "not worse on anchor", "own floor"} <= set(failed(missing))


def test_a_loss_on_the_anchor_set_is_rejected() -> None:
    found = gate.judge(evidence(loss=0.04), CONFIG)
    assert failed(found) == ["not worse on anchor", "no slice falls"][:1]


def test_small_losses_do_not_add_up() -> None:
    """The champion has already lost 0.03 since the best; a candidate as good as the champion is no longer let pass."""
    ours = evidence()
    best = gate.Best(
        3, float(ours.sets["anchor"].mean("champion")) + 0.03, ours.sets["anchor"].values["champion"]["ndcg@10"] + 0.03
    )
    found = gate.judge(replace(ours, best_anchor=best), CONFIG)
    assert failed(found) == ["not worse on anchor"]
    assert "model 3" in found.reason
    without_values = gate.judge(replace(ours, best_anchor=replace(best, values=None)), CONFIG)
    assert failed(without_values) == ["not worse on anchor"]


def test_a_falling_slice_is_named_and_small_ones_do_not_count() -> None:
    rng = np.random.default_rng(4)
    old = rng.uniform(0.3, 0.9, 300)
    new = old + rng.normal(0.05, 0.05, 300)
    new[200:] = old[200:] - 0.25 + rng.normal(0, 0.05, 100)
    slices = {"politics": np.arange(200), "sports": np.arange(200, 300), "tiny": np.arange(200, 210)}
    words = held("new_words", slices, candidate=new, champion=old, bm25=old, floor=old - 0.2)
    found = gate.judge(evidence(sets={**evidence().sets, "new_words": words}), CONFIG)
    assert failed(found) == ["no slice falls"]
    assert "new_words/sports" in found.reason
    rows = {(row["set"], row["slice"]): row["passed"] for row in found.rules[4].details}
    assert rows[("new_words", "politics")]
    assert ("new_words", "tiny") not in rows


def test_what_was_learned_must_not_hurt_the_floor_on_any_set() -> None:
    rng = np.random.default_rng(5)
    floor = rng.uniform(0.3, 0.9, 300)
    noise = rng.normal(0, 0.05, 300)

    def judged(learned: Array) -> gate.Verdict:
        questions = held("questions", candidate=learned, champion=learned, bm25=learned, floor=floor)
        return gate.judge(evidence(sets={**evidence().sets, "questions": questions}), CONFIG)

    hurt = judged(floor - 0.02 + noise)
    assert failed(hurt) == ["own floor"]
    assert "on 1 of 3 sets" in hurt.reason
    assert "questions (" in hurt.reason
    for good in (floor, floor + noise - noise.mean(), floor + 0.05 + noise):
        assert judged(good).verdict == "promote", "nothing learned is no harm, and chance is none"
    rule = judged(floor).rules[-1]
    assert (rule.name, rule.bound) == ("own floor", CONFIG.significance)
    assert [row["set"] for row in rule.details] == ["fresh", "anchor", "questions"]
    with_bm25 = replace(evidence(), floor="floor+bm25")
    assert "was not measured" in gate.own_floor(with_bm25, CONFIG).sentence
    assert not gate.own_floor(with_bm25, CONFIG).passed


def test_only_a_certain_fall_takes_a_model_out_of_the_training_line() -> None:
    assert gate.illness(evidence(), CONFIG) is None
    assert gate.illness(evidence(gain=0.0), CONFIG) is None  # rejected, and still head: small gains may add up
    assert gate.illness(evidence(loss=CONFIG.anchor_margin), CONFIG) is None  # within what is allowed, as far as seen
    worse = gate.illness(evidence(gain=-0.03), CONFIG)
    assert worse is not None
    assert "200 fresh queries" in worse
    forgot = gate.illness(evidence(loss=CONFIG.anchor_margin + 0.03), CONFIG)
    assert forgot is not None
    assert "400 anchor queries" in forgot
    broken = gate.illness(evidence(cost=Cost(150, 6, 0.995, 2, 15_000, 3)), CONFIG)
    assert broken is not None
    assert "3 of its weights" in broken
    # A backfilled candidate meets a champion that may have been trained on its fresh queries: that proves nothing.
    assert gate.illness(evidence(gain=-0.03, candidate_as_of=as_of(7)), CONFIG) is None
    assert gate.illness(evidence(gain=-0.03, champion=None, champion_as_of=None), CONFIG) is None


def test_the_first_model_has_to_beat_bm25() -> None:
    first = {"champion": None, "champion_as_of": None, "champion_cost": None, "reference": "bm25"}
    assert gate.judge(evidence(**first), CONFIG).verdict == "promote"
    worse = gate.judge(evidence(gain=-0.01, **first), CONFIG)
    assert failed(worse) == ["first beats BM25"]
    assert "BM25" in worse.reason


def test_all_failing_rules_are_named_the_first_explained() -> None:
    found = gate.judge(evidence(gain=-0.05, loss=0.1, candidate_as_of=as_of(1)), CONFIG)
    assert found.reason.startswith("The candidate knows the news up to 2026-03-01")
    assert "Also failed: better on fresh, not worse on anchor" in found.reason


def test_a_decision_reads_well() -> None:
    found = gate.judge(evidence(gain=0.0), CONFIG)
    row = SimpleNamespace(
        id=7, model_id=5, evaluation_id=6, verdict=found.verdict, reason=found.reason, approval=None, approved_by=None,
        rules=[rule.row() for rule in found.rules],
    )  # fmt: skip
    text = render_decision(row)  # type: ignore[arg-type]
    assert "model 5: REJECT" in text
    assert text.count("FAIL") == 1
    assert all(f"{number}. " in text for number in range(1, 9))


def test_results_come_back_from_their_files(tmp_path: Any) -> None:
    before = held("anchor", {"경제": np.array([1, 2])}, candidate=np.linspace(0, 1, 5), bm25=np.zeros(5))
    before.costs["candidate"] = Cost(1.5, 2, 0.9, 1, 3, 0)
    write([before], tmp_path)
    (after,) = read(tmp_path)
    assert (after.values["candidate"]["mrr@10"] == before.values["candidate"]["mrr@10"]).all()
    assert after.slices["경제"].tolist() == [1, 2]
    assert after.costs == before.costs


def test_weights_must_be_finite_and_within_what_the_index_takes() -> None:
    good = np.array([0, 1, 64, 0.001], np.float32)
    blocked = np.array([True, False, False, False])
    assert bounded(good, blocked).passed
    for bad in ([0, 0, 64, 1], [0, np.nan, 1, 1], [0, 65, 1, 1], [0, -1, 1, 1], [0, 1, 1]):
        assert not bounded(np.array(bad, np.float32), blocked).passed
    assert not bounded(np.zeros(4, np.float32), None).passed


def test_boosts_are_bounded() -> None:
    assert boosts_bounded([], CONFIG).passed
    assert boosts_bounded([{"token": "코로나", "boost": 3.0}], CONFIG).passed
    assert not boosts_bounded([{"token": "코로나", "boost": 9.0}], CONFIG).passed


def test_worse_weights_are_rejected_and_equal_ones_pass() -> None:
    old = np.random.default_rng(0).uniform(0, 1, 300)
    assert not_worse(held("fresh", new=old, published=old), CONFIG).passed
    assert not not_worse(held("fresh", new=old - 0.05, published=old), CONFIG).passed
