"""Days in Seoul and as-ofs."""

from __future__ import annotations

import datetime as dt

import pytest

from pipeline.asof import SEOUL, AsOf, day_of, end_of, parse_day, parse_instant, refuse_future
from pipeline.errors import UsageError


def test_a_day_is_the_date_in_seoul() -> None:
    assert day_of(dt.datetime(2026, 2, 3, 14, 59, tzinfo=dt.UTC)) == dt.date(2026, 2, 3)
    assert day_of(dt.datetime(2026, 2, 3, 15, 0, tzinfo=dt.UTC)) == dt.date(2026, 2, 4)


def test_an_instant_without_zone_has_no_day() -> None:
    with pytest.raises(UsageError, match="no time zone"):
        day_of(dt.datetime(2026, 2, 3))


def test_the_end_of_a_day_is_exclusive() -> None:
    end = end_of(dt.date(2026, 2, 28))
    assert day_of(end) == dt.date(2026, 3, 1)
    assert day_of(end - dt.timedelta(microseconds=1)) == dt.date(2026, 2, 28)


@pytest.mark.parametrize("text", ["2026-2-3", "어제", "", "2026-02-30"])
def test_a_wrong_day_says_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match="YYYY-MM-DD"):
        parse_day(text)


def test_an_instant_is_read_as_seoul_time_unless_it_says_otherwise() -> None:
    assert parse_instant("2026-11-03T09:00:00") == dt.datetime(2026, 11, 3, 9, tzinfo=SEOUL)
    assert parse_instant("2026-11-03T09:00:00+00:00") == dt.datetime(2026, 11, 3, 9, tzinfo=dt.UTC)


def test_an_as_of_needs_a_zone_and_tells_its_bound() -> None:
    with pytest.raises(UsageError):
        AsOf(dt.date(2026, 1, 1), dt.datetime(2026, 1, 2))
    as_of = AsOf(dt.date(2026, 1, 1), dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
    assert as_of.end == end_of(dt.date(2026, 1, 1))
    assert str(as_of) == "2026-01-01 as known by 2026-01-02T09:00:00+09:00"


NOW = dt.datetime(2026, 3, 1, 0, 0, tzinfo=SEOUL)  # 28 February in UTC
DAY = dt.timedelta(days=1)


@pytest.mark.parametrize("now", [NOW, NOW.astimezone(dt.UTC)])
@pytest.mark.parametrize(
    ("day", "known_by", "refused"),
    [
        (NOW.date(), None, None),
        (NOW.date(), NOW, None),
        (NOW.date() - DAY, NOW - DAY, None),
        (NOW.date() + DAY, None, "2026-03-02 is in the future"),
        (NOW.date() + DAY, NOW, "2026-03-02 is in the future"),
        (NOW.date(), NOW + dt.timedelta(seconds=1), "known_by .* is in the future"),
    ],
)
def test_the_future_is_refused(
    now: dt.datetime, day: dt.date, known_by: dt.datetime | None, refused: str | None
) -> None:
    if refused is None:
        refuse_future(day, known_by, now=now)
    else:
        with pytest.raises(UsageError, match=refused):
            refuse_future(day, known_by, now=now)
