"""Descriptions of trends as sentences in English and Korean.

The Korean sentence has no particle after a variable word, because its form depends on the word (`최가온이`, `KDX가`).
"""

from __future__ import annotations

from typing import Any

from pipeline.store.statistics import Trend


def english(word: str, evidence: dict[str, Any], is_new: bool) -> str:
    """Frequencies now and before, the burst, and why there is no boost."""
    days, outlets = evidence["days"], evidence["outlets"]
    when = "the last day" if days == 1 else f"the last {days} days"
    text = f"{word}: {evidence['stories']} of {evidence['of_stories']} stories of {when} from {outlets} outlet"
    text += "s" if outlets != 1 else ""
    if is_new:
        text += f", never seen before {evidence['first_seen']}"
    else:
        text += f", {evidence['past_stories']} of {evidence['of_past_stories']} before"
        text += f" ({evidence['lift']:.1f} times as often)"
    if evidence["burst_since"]:
        text += f", in a burst since {evidence['burst_since']}"
    return text + (f"; {evidence['calendar']}" if evidence["calendar"] else "")


def korean(trend: Trend) -> str:
    """The same in Korean."""
    evidence = trend.evidence
    when = "최근 하루" if evidence["days"] == 1 else f"최근 {evidence['days']}일"
    text = f"{trend.word}: {when} 기사 {evidence['of_stories']:,}건 중 {evidence['stories']:,}건"
    text += f", 매체 {evidence['outlets']}곳"
    if trend.is_new:
        text += f", {evidence['first_seen']} 처음 나온 말"
    else:
        text += f", 그 전 {evidence['of_past_stories']:,}건 중 {evidence['past_stories']:,}건"
        text += f"({evidence['lift']:.1f}배)"
    if evidence["burst_since"]:
        text += f", {evidence['burst_since']}부터 급증"
    if evidence["calendar"]:
        ago = evidence.get("year_ago")
        reason = f"한 해 전 같은 무렵에도 {ago[1]:,}건 중 {ago[0]:,}건" if ago else "때가 되면 돌아오는 말"
        text += f"; {reason}이어서 가중치를 올리지 않음"
    return text
