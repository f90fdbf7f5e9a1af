"""The page in the Airflow UI: what it says, and that feed text on it stays text."""

from __future__ import annotations

import datetime as dt
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins"))

from retraining import feeds_page
from retraining.page import render, render_problem
from retraining.words import KOREAN, Words


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
    for said in ("Generation 2 is live", "코로나19", "한국은행 = 한은", "Better.", "Scores agree."):
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


def feed(**changes: Any) -> dict[str, Any]:
    """A feed as `pipeline.overview.feeds` gives it."""
    return {
        "url": "https://www.garam.example/rss.xml", "outlet": "가람일보", "category": "경제", "enabled": True,
        "interval_s": 1800.0, "failures": 0, "quarantined_until": None, "last_polled_at": NOW, "last_ok_at": NOW,
        "last_new_at": None, "articles": 7, "items": 20, "new": 3, "error": None, "item_errors": None,
        "condition": "ok",
    } | changes  # fmt: skip


NOW = dt.datetime(2026, 11, 24, 9, 30)


def test_a_feed_says_how_it_does_and_what_is_wrong_in_both_languages() -> None:
    refused = [{"item": "https://x.example/1", "error": "its language is en, which news.languages does not name"}]
    some = {
        "feeds": [
            feed(),
            feed(condition="failing", failures=3, error="the server answers with HTTP status 503"),
            feed(condition="quarantined", failures=12, quarantined_until=NOW),
            feed(condition="doubtful", item_errors=refused),
            feed(condition="disabled", enabled=False),
            feed(condition="waiting", last_polled_at=None),
        ],
        "silent": [
            {"outlet": "고요일보", "last_new_at": "2026-11-20 10:00", "usual_gap_s": 7200.0},
            {"outlet": "무소식", "last_new_at": None, "usual_gap_s": None},
        ],
    }
    english = feeds_page.render(some, may_edit=True)
    for said in (
        "failing 3 times", "HTTP status 503", "quarantined until 11-24 09:30", "its language is en", "30 min", "never",
        "11-24 09:30: 20 items, 3 new", "고요일보: nothing new since 2026-11-20 10:00; usually at most 2.0 h",
        "무소식: it has never brought an article", "items of the last answer: 1", ">Disable</button>", ">Add</button>",
    ):  # fmt: skip
        assert said in english, said
    korean = feeds_page.render(some, Words("ko"), may_edit=True)
    for said in (
        "실패 3회",
        "11-24 09:30까지 격리",
        "30분",
        "고요일보: 2026-11-20 10:00 이후",
        ">끄기</button>",
        ">켜기</button>",
    ):
        assert said in korean, said
    assert english.count(">Enable</button>") == 1
    assert english.count(">Try now</button>") == 2, "those that fail"
    assert "<form" not in feeds_page.render(some)
    assert feeds_page.render(some, troubled=True).count("<tr class=on>") == 4


def test_hostile_feeds_stay_text() -> None:
    hostile = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"
    names = ("url", "outlet", "category", "error")
    one = feed(**dict.fromkeys(names, hostile), item_errors=[{"item": hostile, "error": hostile}], condition="failing")
    some = {"feeds": [one], "silent": [{"outlet": hostile, "last_new_at": None, "usual_gap_s": None}]}
    page = feeds_page.render(some, may_edit=True, notice=hostile)
    assert "<script" not in page
    assert "<img" not in page
    assert 'value="&quot;&#x27;&gt;' in page


def test_every_sentence_is_said_in_korean_with_the_same_blanks() -> None:
    for english, korean in KOREAN.items():
        assert english.count("{}") == korean.count("{}"), english
        assert re.search("[가-힣]", korean), english


def test_the_language_is_the_chosen_one_or_what_the_browser_likes() -> None:
    assert Words.of("ko", "en").language == "ko"
    assert Words.of(None, "fr,ko-KR;q=0.9,en;q=0.8").language == "ko"
    assert Words.of(None, "en-US,ko;q=0.5").language == "en"
    assert Words.of("xx", None).language == "en"


def test_no_file_here_takes_the_place_of_a_module_of_python() -> None:
    """Airflow loads each file of the folder under its bare name: an html.py here is everybody's html."""
    files = (Path(__file__).parents[2] / "plugins").rglob("*.py")
    assert not {file.stem for file in files} & sys.stdlib_module_names
