"""The pages in the Airflow UI: what they say, and that feed text on them stays text."""

from __future__ import annotations

import datetime as dt
import re
import sys
from pathlib import Path
from typing import Any

from retraining import rendering
from retraining.translations import KOREAN, Translation

NOW = dt.datetime(2026, 11, 24, 9, 30)
KO = Translation("ko")


def decision(**changes: Any) -> dict[str, Any]:
    """A round as `pipeline.overview.collect` gives it."""
    rules = [{"name": "cost", "passed": True, "value": 6.0, "bound": 20.0, "sentence": "Cheap.", "details": [
        {"what": "FLOPS", "value": 6.0, "bound": 20.0, "of": "configuration", "passed": True}]}]  # fmt: skip
    return {
        "day": dt.date(2026, 11, 3), "model_id": 5, "verdict": "promote", "reason": "Better.", "approval": None,
        "approved_by": None, "waits": False, "rules": rules,
    } | changes  # fmt: skip


def overview(**changes: Any) -> dict[str, Any]:
    """An overview as `pipeline.overview.collect` gives it."""
    return {
        "live": {"id": 2, "model_id": 5, "index_name": "news-g0002", "promoted_at": NOW},
        "paused": None,
        "round": decision(),
        "others": [decision(day=dt.date(2026, 11, 2), verdict="reject", reason="Worse.")],
        "days": [dt.date(2026, 11, 3), dt.date(2026, 11, 2)],
        "day": "2026-11-03",
        "trends": [{"word": "코로나19", "new": True, "why": {"en": "30 of 80 stories", "ko": "기사 80건 중 30건"}}],
        "synonyms": [{"words": ["한국은행", "한은"], "confidence": 0.9}],
        "synonyms_validation": ["No readable answer for 2 candidates, so no veto: openai:m: empty."],
        "deployments": [{"at": NOW, "action": "promote", "generation_id": 2, "actor": "loop", "reason": ""}],
    } | changes


EMPTY = overview(live=None, round=None, others=[], days=[], trends=[], synonyms=[], deployments=[], day=None)


def test_it_shows_what_is_served_and_why() -> None:
    page = rendering.overview(overview())
    for text in ("Generation 2 is live", "코로나19", "한국은행 = 한은", "Better.", "Cheap.", "30 of 80 stories"):
        assert text in page, text


def test_the_verdict_of_the_round_stands_first_and_unfolded() -> None:
    page = rendering.overview(overview())
    main = page[page.index("</nav>") :]
    first = main[: main.index("<details")]
    assert main.index("Round of 2026-11-03: promote") < main.index("<h2>In service")
    assert first.index("Better.") < first.index("Cheap.") < first.index("Other rounds") < main.index("Worse.")


def test_an_approval_is_shown() -> None:
    def shown(**changes: Any) -> str:
        return rendering.overview(overview(round=decision(**changes)))

    assert "refused: nobody responded in time" in shown(approval="refused", approved_by="timeout")
    assert "refused by kim" in shown(approval="refused", approved_by="kim")
    assert "approved by kim" in shown(approval="approved", approved_by="kim")
    assert "Waits for an approval" in shown(waits=True)


def test_before_the_first_round_it_says_so() -> None:
    page = rendering.overview(EMPTY)
    assert "No generation is live yet" in page
    assert "No model has been evaluated yet" in page
    assert "아직 평가한 모델이 없습니다" in rendering.overview(EMPTY, KO)


def test_a_pause_is_shown() -> None:
    assert "Automatic promotion is paused: 검색이 나빠져서" in rendering.overview(overview(paused="검색이 나빠져서"))


def test_the_korean_page_is_korean() -> None:
    page = rendering.overview(overview(), KO)
    main = page[page.index("</nav>") :]
    assert "2026-11-03 회차: 승격" in main
    assert "비용이 한도 안입니다" in main
    assert "기사 80건 중 30건" in main
    for english in ("Better.", "Cheap.", "stories", "Round"):
        assert english not in main, english


def test_feed_text_stays_text() -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    trend = {"word": hostile, "new": False, "why": {"en": hostile, "ko": hostile}}
    page = rendering.overview(overview(trends=[trend], paused=hostile, round=decision(reason=hostile)))
    assert page.count("&lt;script&gt;") == 4
    for one in (page, rendering.problem(hostile), rendering.no_round(hostile, [], malformed=True)):
        assert "<script" not in one
        assert "<img" not in one


def feed(**changes: Any) -> dict[str, Any]:
    """A feed as `pipeline.overview.feeds` gives it."""
    return {
        "url": "https://www.garam.example/rss.xml", "outlet": "가람일보", "category": "경제", "enabled": True,
        "interval_s": 1800.0, "failures": 0, "quarantined_until": None, "last_polled_at": NOW, "last_ok_at": NOW,
        "last_new_at": None, "articles": 7, "items": 20, "new": 3, "error": None, "item_errors": None,
        "condition": "ok",
    } | changes  # fmt: skip


def test_a_feed_shows_its_state_and_problems_in_both_languages() -> None:
    refused = [{"item": "https://x.example/1", "error": "its language is en, which news.languages does not name"}]
    values = {
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
    english = rendering.feeds(values, may_edit=True)
    for text in (
        "6 feeds: failing 1, quarantined 1, doubtful 1, waiting 1, ok 1, disabled 1.", "failing 3 times",
        "HTTP status 503", "quarantined until 11-24 09:30", "its language is en", "30 min", "never",
        "11-24 09:30: 20 items, 3 new", "고요일보: nothing new since 2026-11-20 10:00; usually at most 2.0 h",
        "무소식: no article yet", "items of the last response: 1", ">Disable</button>", ">Add</button>",
    ):  # fmt: skip
        assert text in english, text
    korean = rendering.feeds(values, KO, may_edit=True)
    for text in (
        "실패 3회",
        "11-24 09:30까지 격리",
        "30분",
        "고요일보: 2026-11-20 10:00 이후",
        ">끄기</button>",
        ">켜기</button>",
    ):
        assert text in korean, text
    assert english.count(">Enable</button>") == 1
    assert english.count(">Try now</button>") == 2, "those that fail"
    assert "<form" not in rendering.feeds(values)
    assert rendering.feeds(values, troubled=True).count('<tr class="on">') == 4


def test_hostile_feeds_stay_text() -> None:
    hostile = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"
    names = ("url", "outlet", "category", "error")
    one = feed(**dict.fromkeys(names, hostile), item_errors=[{"item": hostile, "error": hostile}], condition="failing")
    values = {"feeds": [one], "silent": [{"outlet": hostile, "last_new_at": None, "usual_gap_s": None}]}
    page = rendering.feeds(values, may_edit=True, notice=hostile)
    assert "<script" not in page
    assert "<img" not in page
    assert 'value="&#34;&#39;&gt;' in page


def test_each_sentence_has_a_korean_one_with_the_same_placeholders() -> None:
    for english, korean in KOREAN.items():
        assert english.count("{}") == korean.count("{}"), english
        assert re.search("[가-힣]", korean), english
    templates = (Path(__file__).parents[2] / "plugins" / "retraining" / "templates").glob("*.html")
    used = {text for one in templates for text in re.findall(r'_\("([^"]+)"', one.read_text())}
    assert used <= set(KOREAN)


def test_the_language_is_the_chosen_one_or_the_browsers() -> None:
    assert Translation.choose("ko", "en").language == "ko"
    assert Translation.choose(None, "fr,ko-KR;q=0.9,en;q=0.8").language == "ko"
    assert Translation.choose(None, "en-US,ko;q=0.5").language == "en"
    assert Translation.choose("xx", None).language == "en"


def test_no_file_here_takes_the_place_of_a_module_of_python() -> None:
    """Airflow loads each file of the folder under its bare name: an html.py here is everybody's html."""
    files = (Path(__file__).parents[2] / "plugins").rglob("*.py")
    assert not {file.stem for file in files} & sys.stdlib_module_names
