"""Trend weights in a real Postgres: rising words open the gates of their tokens, and no bad day does."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from pipeline.asof import SEOUL, AsOf, end_of
from pipeline.config import Config
from pipeline.store import trend_weights as store
from pipeline.temporal import count_articles, measure_trend_weights
from pipeline.temporal.trend_weights import gate, share_passed, token_gates
from tests.temporal_data import Given, open_context, put_articles, put_base, remove_article

DAY = dt.date(2026, 2, 2)
ORDINARY = "금리 인하 반도체 수출"


@pytest.fixture
def context(database: str, tmp_path: Path):
    ctx = open_context(database, tmp_path, Config())
    put_base(ctx, ["금리", "인하", "반도체", "수출", "확진자", "증가"], tmp_path / "base")
    yield ctx
    ctx.store.close()


def past(days: int = 28) -> list[Given]:
    return [Given(DAY - dt.timedelta(days=n), ORDINARY, "", f"매체{m}") for n in range(2, 2 + days) for m in range(4)]


def event(outlets: int = 3, day: dt.date = DAY, stories: bool = True) -> list[Given]:
    return [
        Given(day, f"확진자 {ORDINARY}", "", f"매체{n % outlets}", None if stories or not n else 0) for n in range(6)
    ]


def measured(ctx, as_of: AsOf | None = None) -> store.TrendWeights:
    count_articles(ctx)
    number = measure_trend_weights(ctx, as_of or AsOf(DAY, ctx.store.settle()))
    with ctx.store.begin() as conn:
        return store.get(conn, number)


def test_a_rising_word_opens_the_gate_of_its_token_alone(context):
    put_articles(context, past() + event())
    weights = measured(context)
    assert [(row["word"], row["stories"], row["expected"], row["outlets"]) for row in weights.words] == [
        ("확진자", 6.0, 0.0, 3)
    ]
    assert weights.gates.tolist() == [1.0], "six stories where none were expected; everyday words have no gate"
    assert weights.words[0]["tokens"] == ["확진자"]
    as_of = weights.as_of
    assert measured(context, as_of).id == weights.id, "the same as-of is measured once"
    put_articles(context, event(day=DAY))
    assert measured(context, as_of).content_hash == weights.content_hash, "what came later was not known then"


@pytest.mark.parametrize(
    ("articles", "reason"),
    [
        (past(), "no news of the last 24 hours"),
        (past(5) + event(), "5 days"),
        (past() + event(outlets=1), ""),
        (past() + event(day=DAY + dt.timedelta(days=1)), "no news of the last 24 hours"),
        ([*event(stories=False), *past()], ""),
    ],
    ids=[
        "no articles today",
        "a crawl that has just begun",
        "one outlet",
        "dates in the future",
        "copies of one story",
    ],
)
def test_a_bad_day_lifts_nothing(context, articles, reason):
    # Another outlet's everyday news, so that one outlet is not all there is.
    today = [Given(DAY, ORDINARY, "", f"매체{m}") for m in range(4)] if not reason else []
    put_articles(context, articles + today)
    weights = measured(context)
    assert not len(weights.tokens)
    assert reason in weights.note


def test_removed_articles_stay_in_what_was_measured_of_an_old_as_of(context):
    ids = put_articles(context, past() + event())
    before = measured(context)
    remove_article(context, ids[-1])
    assert measured(context, before.as_of).id == before.id


def test_yesterdays_stories_fade_as_the_day_goes_on():
    noon = AsOf(DAY, dt.datetime.combine(DAY, dt.time(12), SEOUL))
    assert share_passed(noon) == 0.5
    assert share_passed(AsOf(DAY, end_of(DAY) + dt.timedelta(days=9))) == 1.0, "a backfill sees the whole day"


def test_a_piece_is_lifted_by_the_share_of_its_stories_that_tell_the_word():
    # 조선 (0) is in 20 recent stories, 4 of them tell of 조선소 (pieces 0 and 1).
    gates = token_gates([(1.0, 4.0, [0, 1])], np.array([20.0, 4.0, 0.0]))
    assert gates.tolist() == [0.2, 1.0, 0.0]


def test_gates_are_bounded_and_open_with_the_lift():
    recent, expected = np.array([0, 3, 6, 10**6]), np.array([0, 3.5, 2.0, 1.0])
    values = gate(recent, expected)
    assert values[0] == 0
    assert values[1] == 0, "as expected"
    assert values[2] == pytest.approx(np.log(6.5 / 3) / np.log(3))
    assert values[3] == 1
