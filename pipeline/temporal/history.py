"""Daily frequencies of words, and the stored trends and drift of days."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.asof import refuse_future
from pipeline.errors import RefusedError, UsageError
from pipeline.store import counts as store
from pipeline.store import statistics
from pipeline.store.statistics import Trend
from pipeline.temporal.counting import readable_words

if TYPE_CHECKING:
    from pipeline.context import Context


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """The frequency of a word on a day: ``stories`` of ``of_stories`` mention it; ``share`` is the ratio."""

    word: str
    day: dt.date
    stories: int
    articles: int
    outlets: int
    of_stories: int
    share: float


def series(
    ctx: Context, words: Sequence[str], first: dt.date, last: dt.date, known_by: dt.datetime | None = None
) -> list[SeriesRow]:
    """A row for each word and each day of ``first..last`` (both included) that has articles, by word, then day.

    A word that was never in the news has rows of 0. Raises UsageError when no word is given or the range is backwards,
    RefusedError before anything is counted.
    """
    from pipeline.text.words import canonical

    names = list(dict.fromkeys(name for name in map(canonical, words) if name))
    if not names:
        raise UsageError("name a word whose series you want, such as: garam series 코로나19")
    _check(first, last)
    with ctx.store.begin() as conn:
        version = readable_words(conn)
        if version is None:
            raise RefusedError("nothing has been counted yet: run `garam learn` first")
        ids = store.word_ids(conn, version.id, names)
        known = known_by or dt.datetime.max.replace(tzinfo=dt.UTC)
        wanted = np.array([ids.get(name, -1) for name in names], np.int64)
        rows: dict[str, list[SeriesRow]] = {name: [] for name in names}
        for day, counts in store.read_days(conn, version.id, first, last, known):
            stories, articles = counts.at(wanted), counts.at(wanted, "articles")
            outlets = store.bits_set(counts.outlets_at(wanted))
            for index, name in enumerate(names):
                df = int(stories[index])
                share = df / counts.n_stories if counts.n_stories else 0.0
                rows[name].append(
                    SeriesRow(name, day, df, int(articles[index]), int(outlets[index]), counts.n_stories, share)
                )
    return [row for name in names for row in rows[name]]


def _check(first: dt.date, last: dt.date) -> None:
    if first > last:
        raise UsageError(f"the range ends ({last}) before it begins ({first})")
    refuse_future(first)


def trends(ctx: Context, day: dt.date, known_by: dt.datetime | None = None) -> list[Trend]:
    """The trends in the newest statistics of a day (known by ``known_by``); may be empty.

    Raises UsageError when that day has no statistics, or has not begun.
    """
    refuse_future(day)
    with ctx.store.begin() as conn:
        statistics_id = statistics.newest(conn, day, known_by)
        if statistics_id is None:
            raise UsageError(f"there are no statistics of {day}: run `garam learn --day {day}`")
        return statistics.trends_of(conn, statistics_id)


def no_trends(ctx: Context, day: dt.date, known_by: dt.datetime | None = None) -> str:
    """Why a day that has statistics has no trend, as a sentence."""
    with ctx.store.begin() as conn:
        statistics_id = statistics.newest(conn, day, known_by)
        summary = statistics.get(conn, statistics_id).summary if statistics_id is not None else {}
    least, stories = ctx.config.temporal.min_lift, summary.get("recent_stories", 0)
    return (
        summary.get("note") or f"none of the words in {stories} recent stories is {least:g} times as frequent as before"
    )


def drift_of_days(
    ctx: Context, first: dt.date, last: dt.date, known_by: dt.datetime | None = None
) -> list[tuple[dt.date, dict[str, Any]]]:
    """The drift of each day of ``first..last`` that was learned, from its newest statistics (see `temporal.drift`)."""
    _check(first, last)
    with ctx.store.begin() as conn:
        return statistics.drifts(conn, first, last, known_by)
