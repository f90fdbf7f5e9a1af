"""The holdout and the query sets made of it."""

import datetime as dt
from dataclasses import dataclass

import pytest

from pipeline.dataset.holdout import choose_anchor, holdout_from, slices_of, title_queries
from pipeline.errors import BadInputError


@dataclass(frozen=True)
class Item:
    id: int
    title: str
    text: str
    day: dt.date
    story_id: int
    category: str = "경제"


def item(number: int, day: int, title: str = "", story: int = 0) -> Item:
    return Item(number, title or f"제목 {number}번", f"본문 {number} " * 9, dt.date(2026, 2, day), story or number)


def first(articles, **changes):
    given = {"days": 1, "queries_min": 1, "share_max": 0.5, "usable": len} | changes
    return holdout_from(articles, **given)


def test_the_newest_days_are_held_out_until_there_are_enough_queries():
    articles = [item(n, 1 + n // 10) for n in range(100)]
    assert first(articles) == dt.date(2026, 2, 10)
    assert first(articles, days=3) <= dt.date(2026, 2, 8)
    assert first(articles, queries_min=35) == dt.date(2026, 2, 7)
    assert first(articles, queries_min=1000, share_max=0.25) == dt.date(2026, 2, 9)


def test_one_day_cannot_be_split():
    with pytest.raises(BadInputError, match="at least two days"):
        first([item(1, 1), item(2, 1)])
    with pytest.raises(BadInputError, match="too few older ones"):
        first([item(1, 1), *[item(n, 2) for n in range(2, 20)]])


def test_namesakes_and_other_tellings_answer_too():
    same = [item(1, 1, "같은 제목"), item(2, 1, "같은  제목!"), item(3, 1, "다른 제목", story=1), item(4, 1, "딴소리")]
    queries = title_queries(
        [same[0], same[1]], same, lambda text: text + "끝", 0.9, trending=["제목"], new_words=["없음"]
    )
    assert len(queries) == 1
    assert set(queries[0].relevant) == {"1", "2", "3"}
    assert queries[0].slices == ("category:경제", "trending")


def test_slices_want_the_word_at_a_words_start():
    assert slices_of("코로나19의 영향", "", ["코로나19"], ["코로나19"]) == ("trending", "new_words")
    assert slices_of("비코로나19", "", ["코로나19"], []) == ()


def test_the_anchor_has_one_query_a_story_and_its_documents():
    articles = [item(n, 1 + n % 20, story=n // 2 + 1) for n in range(1, 101)]
    asked, searched = choose_anchor(
        articles, list, queries=50, documents=30, share_max=0.2, usable=lambda a: a.id % 3 > 0, seed=1
    )
    assert len(asked) == 20
    assert len(searched) == 30
    assert len({a.story_id for a in asked}) == 20
    assert {a.id for a in asked} <= {a.id for a in searched}
    assert all(a.id % 3 for a in asked)
