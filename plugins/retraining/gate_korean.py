# ruff: noqa: E501 - a sentence a line
"""The gate's rules in Korean, made from the numbers that a decision recorded (`pipeline.evaluation.gate.Rule`).

A decision keeps its sentences in English. A rule of which nothing is known here shows that one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Rule = dict[str, Any]


def name(rule: Rule) -> str:
    """The rule's name."""
    return _RULES[rule["name"]][0] if rule["name"] in _RULES else str(rule["name"])


def sentence(rule: Rule) -> str:
    """What the rule compared and how it came out, in one sentence."""
    if rule["name"] not in _RULES:
        return str(rule["sentence"])
    return _RULES[rule["name"]][1](rule)


def reason(decision: dict[str, Any]) -> str:
    """Why the decision is what it is: the gain of a promotion, or the first rule that failed and the names of the others."""
    failed = [rule for rule in decision["rules"] if not rule["passed"]]
    if failed:
        others = ", ".join(name(rule) for rule in failed[1:])
        return sentence(failed[0]) + (f" 그 밖에 통과하지 못한 규칙: {others}." if others else "")
    gains = [rule for rule in decision["rules"] if rule["name"] in _GAINS and rule["value"] is not None]
    return f"규칙 {len(decision['rules'])}개를 모두 통과했습니다. {' '.join(sentence(rule) for rule in gains)}".strip()


def _right(rule: Rule) -> str:
    days = rule["value"]
    if rule["passed"]:
        if days is None:
            return "비교할 챔피언의 날짜가 없으므로 어떤 모델이든 승격할 수 있습니다."
        return (
            f"후보는 챔피언보다 {days:.0f}일 뒤의 뉴스까지 반영했습니다."
            if days
            else "후보는 챔피언과 같은 날의 뉴스를 더 늦은 시점까지 반영했습니다."
        )
    if days is None:
        return "후보가 이미 서비스 중인 모델이거나, 기준 시점이 없어 챔피언보다 새롭다고 할 수 없습니다."
    return (
        f"챔피언이 {-days:.0f}일 뒤의 뉴스까지 이미 반영했습니다. 백필은 더 새로운 모델을 대체하지 않습니다."
        if days
        else "챔피언이 같은 날의 뉴스를 이미 반영했습니다. 백필은 더 새로운 모델을 대체하지 않습니다."
    )


def _servable(rule: Rule) -> str:
    value, bound = rule["value"], rule["bound"]
    if rule["passed"]:
        return "OpenSearch의 점수와 질의 가중치가 인코더와 일치합니다" + (
            "." if value is None else f": 최대 오차 {value:.2g}, 허용 {bound:.2g}."
        )
    if bound == 0:
        return f"후보의 가중치 {value:.0f}개가 유한하지 않거나 0보다 작아 색인할 수 없습니다."
    return f"OpenSearch에서 후보를 그대로 서비스할 수 없습니다: {rule['sentence']}"


def _gain(rule: Rule) -> str:
    if rule["value"] is None:
        return "해당 없음: 첫 모델은 BM25와, 그 뒤로는 챔피언과 비교합니다."
    test = rule["details"][0]
    if test["low"] == test["high"] == 0:
        return "새 기사 질의가 적어 모델을 비교할 수 없습니다."
    against = "BM25" if rule["name"] == "first beats BM25" else "챔피언"
    numbers = f"새 기사 질의의 nDCG@10이 {against} 대비 {rule['value']:+.4f} (95% 신뢰구간 {test['low']:+.4f} ~ {test['high']:+.4f}, p = {test['p_value']:.4f})"
    if rule["passed"]:
        return f"개선: {numbers}."
    if test["p_value"] >= test["significance"]:
        return f"유의한 개선이 없습니다: {numbers}. p < {test['significance']:g} 이어야 합니다."
    return f"개선 폭이 작습니다: {numbers}. {rule['bound']:g} 이상이어야 합니다."


def _anchor(rule: Rule) -> str:
    if not rule["details"]:
        return f"고정 평가 질의가 {rule['value']:.0f}개입니다. {rule['bound']:.0f}개 이상이어야 합니다."
    one = rule["details"][0]
    start = "기존 성능을 유지합니다" if rule["passed"] else "기존 성능보다 낮을 수 있습니다"
    return f"{start}: 고정 평가 질의의 nDCG@10이 기준 {one['best']:.4f} 대비 {one['difference']:+.4f}, 신뢰 하한 {rule['value']:+.4f} (허용 {rule['bound']:+g})."


def _slices(rule: Rule) -> str:
    rows = rule["details"]
    fallen = [row for row in rows if not row["passed"]]
    if not fallen:
        return f"질의 묶음 {len(rows)}개 중 유의하게 낮아진 것이 없습니다."
    names = ", ".join(
        f"{'/'.join(filter(None, (row['set'], row['slice'])))} ({row['reference']:.4f} → {row['candidate']:.4f}, p = {row['p_value']:.4f})"
        for row in sorted(fallen, key=lambda row: float(row["difference"]))
    )
    return f"질의 묶음 {len(rows)}개 중 {len(fallen)}개가 낮아졌습니다: {names}."


_COSTS = {"active terms": "활성 항", "FLOPS": "FLOPS", "index entries": "색인 항목", "query time (ms)": "질의 시간(ms)"}


def _cost(rule: Rule) -> str:
    def shown(row: dict[str, Any]) -> str:
        of = "챔피언 기준" if row["of"] == "champion" else "설정 기준"
        return f"{_COSTS.get(row['what'], row['what'])} {row['value']:.4g} ({of} 최대 {row['bound']:.4g})"

    over = [row for row in rule["details"] if not row["passed"]]
    if over:
        return f"비용이 한도를 넘습니다: {', '.join(map(shown, over))}."
    nearest = max(rule["details"], key=lambda row: float(row["value"]) / float(row["bound"]))
    return f"비용이 한도 안입니다. 한도에 가장 가까운 값: {shown(nearest)}."


def _floor(rule: Rule) -> str:
    rows = rule["details"]
    if not rows:
        return "학습 전 어휘 가중치만으로 잰 성능이 없습니다. 모델을 다시 평가하세요."
    below = [row for row in rows if not row["passed"]]

    def shown(row: dict[str, Any]) -> str:
        return f"{row['set']} ({row['floor']:.4f} → {row['candidate']:.4f}, p = {row['p_value']:.4f})"

    if below:
        return f"학습이 평가 집합 {len(rows)}개 중 {len(below)}개에서 어휘 가중치만 쓸 때보다 성능을 낮췄습니다: {', '.join(map(shown, below))}."
    nearest = min(rows, key=lambda row: (float(row["p_value"]), float(row["difference"])))
    return f"평가 집합 {len(rows)}개 모두 어휘 가중치만 쓸 때보다 유의하게 낮지 않습니다. 가장 가까운 것: {shown(nearest)}."


_GAINS = ("better on fresh", "first beats BM25")
_RULES: dict[str, tuple[str, Callable[[Rule], str]]] = {
    "right to promote": ("승격 자격", _right),
    "servable": ("서비스 가능", _servable),
    "better on fresh": ("새 기사에서 개선", _gain),
    "not worse on anchor": ("고정 질의에서 유지", _anchor),
    "no slice falls": ("하락한 질의 묶음 없음", _slices),
    "cost": ("비용", _cost),
    "first beats BM25": ("첫 모델은 BM25보다 나음", _gain),
    "own floor": ("어휘 가중치 대비", _floor),
}
