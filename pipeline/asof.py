"""Days in Seoul, and the as-of that everything computed carries."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from pipeline.errors import UsageError

SEOUL = ZoneInfo("Asia/Seoul")


def day_of(instant: dt.datetime) -> dt.date:
    """The date in Seoul of an instant; a naive instant is refused, because its day is unknown."""
    if instant.tzinfo is None:
        raise UsageError(f"{instant.isoformat()} has no time zone: its day in Seoul is unknown")
    return instant.astimezone(SEOUL).date()


def end_of(day: dt.date) -> dt.datetime:
    """The first instant after ``day`` in Seoul (exclusive bound)."""
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(0), SEOUL)


def today() -> dt.date:
    """The current day in Seoul."""
    return dt.datetime.now(SEOUL).date()


def refuse_future(day: dt.date, known_by: dt.datetime | None = None, *, now: dt.datetime | None = None) -> None:
    """UsageError for a day that has not begun in Seoul, or for a ``known_by`` after ``now`` (default: the clock's)."""
    now = now or dt.datetime.now(SEOUL)
    if day > day_of(now):
        raise UsageError(f"{day} is in the future: choose today ({day_of(now)} in Seoul) or an earlier day")
    if known_by is not None and known_by > now:
        raise UsageError(f"known_by {known_by.isoformat()} is in the future: choose a time that has passed")


def parse_day(text: str) -> dt.date:
    """``YYYY-MM-DD`` as a date; anything else is a UsageError."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a day: write it as YYYY-MM-DD, such as 2026-11-03") from error


def parse_instant(text: str) -> dt.datetime:
    """An ISO 8601 instant with a zone; without a zone it is read as Seoul time."""
    try:
        instant = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a time: write it as 2026-11-03T09:00:00+09:00") from error
    return instant if instant.tzinfo else instant.replace(tzinfo=SEOUL)


@dataclass(frozen=True, order=True)
class AsOf:
    """Articles of ``day`` (Seoul) or earlier that were known by the instant ``known_by``."""

    day: dt.date
    known_by: dt.datetime

    def __post_init__(self) -> None:
        if self.known_by.tzinfo is None:
            raise UsageError("known_by needs a time zone, such as 2026-11-03T09:00:00+09:00")

    @property
    def end(self) -> dt.datetime:
        """Exclusive upper bound of ``published_at``."""
        return end_of(self.day)

    def __str__(self) -> str:
        return f"{self.day.isoformat()} as known by {self.known_by.astimezone(SEOUL).isoformat(timespec='seconds')}"
