"""Trends: the formulas by hand, few false discoveries without a change, what is shown and what is damped."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.temporal import TemporalConfig
from pipeline.store.counts import Counts
from pipeline.temporal import calendar, detect_trending_tokens
from pipeline.temporal.drift import jensen_shannon, measure
from pipeline.temporal.grouping import group
from pipeline.temporal.trending import (
    benjamini_hochberg,
    boost_of,
    compare,
    dispersion,
    last_burst,
    log_odds,
    score,
    surprise,
)

DAY = dt.date(2026, 2, 27)


def corpus(rng: np.random.Generator, days: int, per_day: int, words: int) -> tuple[list[list[str]], list[dt.date]]:
    """Documents of 20 words whose frequencies fall like those of a language, the same on every day."""
    share = 1 / np.arange(1, words + 1)
    share /= share.sum()
    documents, dates = [], []
    for back in range(days):
        for _ in range(per_day):
            documents.append([f"w{i}" for i in rng.choice(words, 20, p=share)])
            dates.append(DAY - dt.timedelta(days=back))
    return documents, dates


def test_log_odds_is_the_formula():
    y1, y2, n1, n2, prior = 30, 20, 100, 1000, 10.0
    a = prior * 50 / 1101
    delta = math.log((y1 + a) / (n1 + prior - y1 - a)) - math.log((y2 + a) / (n2 + prior - y2 - a))
    got, z = log_odds(np.array([y1]), np.array([y2]), n1, n2, prior)
    assert got[0] == pytest.approx(delta, abs=1e-12)
    assert z[0] == pytest.approx(delta / math.sqrt(1 / (y1 + a) + 1 / (y2 + a)), abs=1e-12)


def test_surprise_is_the_likelihood_ratio():
    y1, y2, n1, n2 = 30, 20, 100, 1000

    def loglik(share1: float, share2: float) -> float:
        one = y1 * math.log(share1) + (n1 - y1) * math.log(1 - share1)
        return one + y2 * math.log(share2) + (n2 - y2) * math.log(1 - share2)

    wanted = math.sqrt(2 * (loglik(y1 / n1, y2 / n2) - loglik(50 / 1100, 50 / 1100)))
    assert surprise(np.array([y1]), np.array([y2]), n1, n2)[0] == pytest.approx(wanted)
    assert surprise(np.array([1]), np.array([500]), n1, n2)[0] < 0
    assert surprise(np.array([0, 100]), np.array([0, 1000]), n1, n2).tolist() == [0, 0]


def test_benjamini_hochberg_rejects_what_its_definition_rejects():
    rng = np.random.default_rng(5)
    p = np.r_[rng.random(200), rng.random(20) * 1e-4]
    ordered = np.sort(p)
    below = [k for k in range(1, len(p) + 1) if ordered[k - 1] <= 0.05 * k / len(p)]
    assert (benjamini_hochberg(p) <= 0.05).sum() == max(below)


def test_without_a_change_there_is_nearly_no_trend():
    found = tried = 0
    for seed in range(20):
        documents, dates = corpus(np.random.default_rng(seed), 40, 20, 400)
        found += bool(detect_trending_tokens(documents, dates, 7))
        tried += 1
    # Benjamini-Hochberg at 5 %: without any true trend, a list is wrong (not empty) in at most 5 % of the runs.
    assert found <= 2, f"{found} of {tried} lists are not empty"


def test_a_word_that_comes_is_found_and_a_new_one_is_called_new():
    documents, dates = corpus(np.random.default_rng(1), 60, 20, 400)
    for number, date in enumerate(dates):
        if (DAY - date).days < 7 and number % 4 == 0:
            documents[number] += ["코로나19"]
            documents[number] += ["w300"] * (number % 8 == 0)
    found = {t.token: t for t in detect_trending_tokens(documents, dates, 7)}
    assert next(iter(found)) == "코로나19"
    assert found["코로나19"].is_new
    assert not found["w300"].is_new
    assert 1 < found["w300"].boost < found["코로나19"].boost <= TemporalConfig().boost_max
    off = detect_trending_tokens(documents, dates, 7, config=TemporalConfig(boosts=False))
    assert {t.boost for t in off} == {1.0}


def daily(words: dict[int, list[int]], stories: int = 1000) -> dict[dt.date, Counts]:
    """Counts of consecutive days up to DAY: word -> stories of each day."""
    days = len(next(iter(words.values())))
    found = {}
    for number in range(days):
        had = {id_: of[number] for id_, of in words.items() if of[number]}
        ids, seen = np.array(sorted(had), np.int64), np.array([had[i] for i in sorted(had)], np.int64)
        day = DAY - dt.timedelta(days=days - 1 - number)
        bits = np.full(len(ids), 3, np.uint64)
        found[day] = Counts(ids, seen, seen, bits, stories, stories, int(seen.sum()), int(seen.sum()), 3)
    return found


def test_a_word_that_the_past_does_not_have_can_trend():
    scores = score(compare(daily({1: [0] * 20 + [8], 2: [50] * 21}), DAY, TemporalConfig(), 1), TemporalConfig())
    assert scores.ids[scores.passed].tolist() == [1]


def test_a_word_that_swings_by_itself_needs_more_than_a_calm_one():
    swings, calm = [2, 30] * 10 + [70], [16] * 20 + [70]
    comparison = compare(daily({1: swings, 2: calm}), DAY, TemporalConfig(), 1)
    ids = np.array([1, 2], np.int64)
    loose, even = dispersion(ids, comparison.past.at(ids), comparison)
    assert even == 1
    assert loose == pytest.approx((5 + 19 * 14**2) / (5 + 19 * 16 * 0.984), rel=1e-6), "without one day of twenty"
    scores = score(comparison, TemporalConfig())
    assert scores.surprise[0] * math.sqrt(loose) == pytest.approx(scores.surprise[1])


def test_a_past_with_one_day_of_the_same_event_is_still_calm():
    comparison = compare(daily({1: [0] * 19 + [40, 90]}), DAY, TemporalConfig(), 1)
    one = np.array([1], np.int64)
    assert dispersion(one, comparison.past.at(one), comparison)[0] < 2


def test_nothing_to_compare_with_gives_no_trend():
    assert detect_trending_tokens([], [], 30) == []
    assert detect_trending_tokens([["a"]] * 50, [DAY] * 50, 30) == []
    assert detect_trending_tokens([["a"]] * 50, [DAY - dt.timedelta(days=n) for n in range(50)], 5) == []


def test_a_burst_is_found_where_it_was_put():
    stories = [20] * 60
    counted = [1] * 40 + [8, 9, 7, 8, 0, 9] + [1] * 14
    assert last_burst(counted, stories) == (40, 45)
    assert last_burst([1] * 60, stories) is None
    assert last_burst([0] * 60, stories) is None
    assert last_burst([], []) is None
    short = [0, 0, 21, 60]
    assert last_burst(short, [1000] * 4, usual=0.001) == (2, 3)
    assert last_burst(short, [1000] * 4) == (3, 3), "the burst itself makes its first day look usual"


def test_a_boost_is_bounded_and_fades():
    config = TemporalConfig(boosts=True, boost_max=2.0, boost_half_life_days=10)
    assert boost_of(1e6, 0, config) == pytest.approx(2.0)
    assert boost_of(8.0, 0, config) < 2.0
    assert boost_of(1e6, 10, config) == pytest.approx(1.5)
    assert boost_of(-3.0, 0, config) == 1.0


@pytest.mark.parametrize(
    "word",
    [
        "월요일",
        "설날",
        "설 연휴",
        "추석",
        "3·1절",
        "새해",
        "2분기",
        "연휴 첫날",
        "귀성길 정체",
        "설맞이 행사",
        "세뱃돈",
    ],
)
def test_words_of_the_calendar_are_known(word):
    assert calendar.named(word)


@pytest.mark.parametrize("word", ["설비", "설명회 개최", "월요일 폭락", "비상계엄", "봄바람"])
def test_other_words_are_not_of_the_calendar(word):
    assert not calendar.named(word)


def test_a_phrase_stands_for_its_halves_and_details_go_with_their_word():
    stories = {"비상계엄": 40, "계엄": 41, "비상": 60, "비상계엄 선포": 38, "선포": 39, "환율": 20, "환율 급등": 5}
    strength = {
        "비상계엄": 9.0,
        "계엄": 9.1,
        "비상": 8.0,
        "비상계엄 선포": 8.9,
        "선포": 8.8,
        "환율": 6.0,
        "환율 급등": 3.0,
    }
    shown = group(list(stories), stories, strength, 0.7)
    assert [entry.word for entry in shown] == ["비상계엄 선포", "비상", "환율"]
    everything = {w for e in shown for w in (e.word, *e.parts, *e.phrases)}
    assert everything == set(stories)
    assert [entry.phrases for entry in shown if entry.word == "환율"] == [["환율 급등"]]


def test_a_word_that_a_longer_trend_explains_is_its_part():
    stories, strength = {"존중": 37, "헌법존중": 22}, {"존중": 6.0, "헌법존중": 7.7}
    assert [e.word for e in group(list(stories), stories, strength, 0.7)] == ["헌법존중", "존중"]
    shown = group(list(stories), stories, strength, 0.7, {"존중": 34.0, "헌법존중": 2.0})
    assert [(e.word, e.parts) for e in shown] == [("헌법존중", ["존중"])]


def test_neighbouring_phrases_of_one_event_are_shown_once():
    words = ["다카미쓰 별세", "무라오카 다카미쓰", "다카미쓰"]
    shown = group(words, dict.fromkeys(words, 7), dict.fromkeys(words, 6.0), 0.7)
    assert len(shown) == 1
    assert {shown[0].word, *shown[0].parts, *shown[0].phrases} == set(words)


name = st.text("가나다", min_size=1, max_size=4)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.one_of(name, st.tuples(name, name).map(" ".join)), st.integers(4, 40), max_size=12))
def test_whatever_trends_there_are_each_is_shown_once(stories):
    strength = {word: count / 4 for word, count in stories.items()}
    shown = group(list(stories), stories, strength, 0.7, {word: count / 2 for word, count in stories.items()})
    assert sorted(w for e in shown for w in (e.word, *e.parts, *e.phrases)) == sorted(stories)


def test_divergence_is_none_for_the_same_and_one_for_the_disjoint():
    assert jensen_shannon(np.array([1, 2, 0]), np.array([2, 4, 0])) == pytest.approx(0)
    assert jensen_shannon(np.array([1, 0]), np.array([0, 5])) == pytest.approx(1)
    assert jensen_shannon(np.array([0, 0]), np.array([0, 5])) == 0


def test_drift_raises_the_level_when_the_language_changes():
    from pipeline.temporal.in_memory import _count

    rng = np.random.default_rng(3)
    documents, dates = corpus(rng, 100, 8, 400)
    same = _count(documents, dates, None, DAY).by_day
    quiet = measure(same, DAY, (0, 400))
    assert quiet["level"] == "quiet"
    changed = [[f"x{w}" for w in d] if (DAY - day).days < 7 else d for d, day in zip(documents, dates, strict=True)]
    moved = measure(_count(changed, dates, None, DAY).by_day, DAY, (400, 400))
    assert moved["level"] == "watch"
    assert moved["divergence"] == pytest.approx(1)
    assert moved["unseen_share"] == 1
    pieces = {
        day: dataclasses.replace(counts, terms=int(1.1 * counts.terms)) if (DAY - day).days < 7 else counts
        for day, counts in same.items()
    }
    alarm = measure(pieces, DAY, (0, 400))
    assert alarm["level"] == "alarm"
    assert "new vocabulary" in alarm["reason"]
    empty = measure({}, DAY, (0, 0))
    assert empty["level"] == "quiet"
    assert empty["divergence"] is None


def test_stray_stories_before_the_crawl_began_are_no_past():
    def counts(stories: int) -> Counts:
        one = np.array([1], np.int64)
        return Counts(one, one, one, np.array([1], np.uint64), stories, stories, 1, 1, 1)

    thin = {DAY - dt.timedelta(days=n): counts(3 if n > 6 else 1000) for n in range(60)}
    rich = {DAY - dt.timedelta(days=n): counts(1000) for n in range(60)}
    assert not compare(thin, DAY, TemporalConfig()).same_weekdays
    assert compare(thin, DAY, TemporalConfig()).past.n_stories > 6000
    assert compare(rich, DAY, TemporalConfig()).same_weekdays
    quiet = {day: counts(300) if day == DAY else c for day, c in thin.items()}
    assert not compare(quiet, DAY, TemporalConfig(), 1).same_weekdays, "one rich day of that weekday is not four"
