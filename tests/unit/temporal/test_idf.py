"""The plan's functions against an implementation written from the formula over all documents."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.temporal import (
    analyze_token_frequency_over_time,
    calculate_ensemble_idf,
    calculate_temporal_idf,
    calculate_windowed_idf,
)
from pipeline.temporal.idf import RunningSums

DAY = dt.date(2026, 2, 1)


def formula(df: float, n: float) -> float:
    return math.log(1 + (n - df + 0.5) / (df + 0.5))


def weighted(documents: list[list[str]], dates: list[dt.date], weight) -> dict[str, float]:
    last = max(dates)
    n = sum(weight((last - date).days) for date in dates)
    found = {}
    for token in {token for document in documents for token in document}:
        df = sum(weight((last - d).days) for document, d in zip(documents, dates, strict=True) if token in document)
        found[token] = formula(df, n)
    return found


def assert_close(got: dict[str, float], wanted: dict[str, float]) -> None:
    assert got.keys() == wanted.keys()
    assert max((abs(got[token] - wanted[token]) for token in wanted), default=0) < 1e-9


corpora = st.lists(
    st.tuples(st.lists(st.sampled_from("가나다라마바사"), max_size=6), st.integers(0, 120)), min_size=1, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(corpora, st.sampled_from([0.5, 0.95, 1.0]))
def test_temporal_idf_is_the_formula(corpus, decay):
    documents = [words for words, _ in corpus]
    dates = [DAY - dt.timedelta(days=age) for _, age in corpus]
    assert_close(calculate_temporal_idf(documents, dates, decay), weighted(documents, dates, lambda age: decay**age))


@settings(max_examples=60, deadline=None)
@given(corpora, st.sampled_from([[1], [30, 90, 365], [7, 100]]))
def test_windowed_idf_is_the_formula(corpus, windows):
    documents = [words for words, _ in corpus]
    dates = [DAY - dt.timedelta(days=age) for _, age in corpus]
    got = calculate_windowed_idf(documents, dates, windows)
    assert list(got) == windows
    for days in windows:
        assert_close(got[days], weighted(documents, dates, lambda age, days=days: float(age < days)))


@pytest.mark.shared
def test_real_news_agree_with_the_formula(shared: Path):
    with gzip.open(shared / "data/news/economy-rss-2026-02.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for number, line in enumerate(lines) if number % 40 == 0]
    documents = [sorted(set((row["title"] + " " + row["text"]).split())) for row in rows]
    instants = [dt.datetime.fromisoformat(row["date"]) for row in rows]
    seoul = dt.timezone(dt.timedelta(hours=9))
    dates = [instant.astimezone(seoul).date() for instant in instants]
    last = max(dates)
    df: dict[str, float] = {}
    window: dict[str, int] = {}
    for document, date in zip(documents, dates, strict=True):
        for token in document:
            df[token] = df.get(token, 0.0) + 0.95 ** (last - date).days
            window[token] = window.get(token, 0) + ((last - date).days < 30)
    n = sum(0.95 ** (last - date).days for date in dates)
    n30 = sum((last - date).days < 30 for date in dates)
    decayed = {token: formula(value, n) for token, value in df.items()}
    windowed = {token: formula(value, n30) for token, value in window.items()}
    assert_close(calculate_temporal_idf(documents, instants), decayed)
    assert_close(calculate_windowed_idf(documents, instants, [30])[30], windowed)
    mixed = calculate_ensemble_idf(documents, instants, 0.95, [30], weights=[1, 3])
    assert_close(mixed, {token: 0.25 * decayed[token] + 0.75 * windowed[token] for token in df})


@settings(max_examples=40, deadline=None)
@given(corpora, st.integers(0, 119))
def test_kept_sums_go_on_with_the_same_bits(corpus, stop):
    from pipeline.temporal.idf import ONE_DAY, advance_to
    from pipeline.temporal.in_memory import _count

    documents = [words for words, _ in corpus]
    dates = [DAY - dt.timedelta(days=age) for _, age in corpus]
    counted = _count(documents, dates, None, DAY)
    first = min(dates) - ONE_DAY

    def read(a: dt.date, b: dt.date):
        return {day: counts for day, counts in counted.by_day.items() if a <= day <= b}

    whole = advance_to(RunningSums(0.95, (7, 30), first), DAY, read, step=50)
    half = advance_to(RunningSums(0.95, (7, 30), first), max(first, DAY - stop * ONE_DAY), read, step=3)
    again = advance_to(RunningSums.from_bytes(half.to_bytes(), 0.95, (7, 30)), DAY, read, step=11)
    assert again.to_bytes() == whole.to_bytes()
    assert again.n_decayed == whole.n_decayed


def test_texts_are_cut_by_the_tokenizer_given():
    idf = calculate_temporal_idf(["a b", "b c"], [DAY, DAY], tokenizer=str.split)
    assert idf == {
        "a": pytest.approx(formula(1, 2)),
        "b": pytest.approx(formula(2, 2)),
        "c": pytest.approx(formula(1, 2)),
    }


def test_texts_without_a_tokenizer_are_cut_into_korean_words():
    assert "코로나19" in calculate_temporal_idf(["코로나19 확진자가 늘었다"], ["2020-02-29"])


def test_documents_after_the_as_of_are_not_looked_at():
    later = calculate_temporal_idf([["a"], ["b"]], ["2026-01-01", "2026-01-05"], as_of="2026-01-02")
    assert set(later) == {"a"}


def test_no_documents_and_one_document():
    assert calculate_temporal_idf([], []) == {}
    assert calculate_windowed_idf([["a"]], [DAY])[30] == {"a": pytest.approx(formula(1, 1))}


@pytest.mark.parametrize(
    "call",
    [
        lambda: calculate_temporal_idf([["a"]], []),
        lambda: calculate_temporal_idf([["a"]], [DAY], 0),
        lambda: calculate_windowed_idf([["a"]], [DAY], []),
        lambda: calculate_windowed_idf([["a"]], [DAY], [0]),
        lambda: calculate_ensemble_idf([["a"]], [DAY], weights=[1]),
        lambda: calculate_temporal_idf([["a"]], ["gestern"]),
    ],
)
def test_wrong_use_is_a_sentence(call):
    with pytest.raises(UsageError):
        call()


def test_series_counts_documents_a_day():
    rows = analyze_token_frequency_over_time(
        [["a", "a"], ["a"], ["b"]], ["2026-01-01", "2026-01-02", "2026-01-02"], ["a", "없음"]
    )
    assert [(r.word, r.day.day, r.stories, r.of_stories) for r in rows] == [
        ("a", 1, 1, 1),
        ("a", 2, 1, 2),
        ("없음", 1, 0, 1),
        ("없음", 2, 0, 2),
    ]
    assert rows[1].share == 0.5
