"""The page in the Airflow UI: what it says, and that feed text on it stays text."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins"))

from retraining.page import render, render_problem


def overview(**changes: Any) -> dict[str, Any]:
    """An overview as `pipeline.overview.collect` gives it."""
    return {
        "live": {"id": 2, "model_id": 5, "index_name": "news-g0002", "promoted_at": "2026-11-03"},
        "paused": None,
        "decisions": [
            {
                "day": "2026-11-03",
                "model_id": 5,
                "verdict": "promote",
                "reason": "Better.",
                "rules": [{"name": "servable", "passed": True, "sentence": "Scores agree."}],
            }
        ],
        "day": "2026-11-03",
        "trends": [{"word": "코로나19", "new": True, "why": "30 of 80 stories"}],
        "synonyms": [{"words": ["한국은행", "한은"], "confidence": 0.9}],
        "deployments": [
            {"at": "2026-11-03 09:00", "action": "promote", "generation_id": 2, "actor": "loop", "reason": ""}
        ],
    } | changes


def test_it_says_what_is_served_and_why() -> None:
    page = render(overview())
    for said in ("Generation <b>2</b> is live", "코로나19", "한국은행 = 한은", "Better.", "Scores agree."):
        assert said in page, said


def test_before_the_first_generation_it_says_so() -> None:
    page = render(overview(live=None, decisions=[], trends=[], synonyms=[], deployments=[], day=None))
    assert "No generation is live yet" in page


def test_a_pause_is_seen() -> None:
    assert "Automatic promotion is paused: 검색이 나빠져서" in render(overview(paused="검색이 나빠져서"))


def test_feed_text_stays_text() -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    page = render(overview(trends=[{"word": hostile, "new": False, "why": hostile}], paused=hostile))
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "<script" not in render_problem(hostile)
