"""What a trend says of itself: how often, since when, where, with titles to read, and the boost that follows."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
from sqlalchemy.engine import Connection

from pipeline.asof import AsOf
from pipeline.config.temporal import TemporalConfig
from pipeline.store import counts as store
from pipeline.store import statistics
from pipeline.store.statistics import Trend
from pipeline.temporal import calendar
from pipeline.temporal.grouping import Entry, group
from pipeline.temporal.idf import RunningSums
from pipeline.temporal.trending import Comparison, Scores, boost_of, last_burst

_GROUPED = 5  # times max_trends that are grouped: what is far below the last shown is left out first
_DETAILS = 5  # parts and phrases named with a trend


def describe(
    conn: Connection,
    as_of: AsOf,
    version_id: int,
    comparison: Comparison,
    scores: Scores,
    seen: RunningSums,
    start: dt.date,
    config: TemporalConfig,
) -> list[Trend]:
    """The trends of an as-of with their evidence, strongest first, at most ``max_trends``."""
    passed = np.flatnonzero(scores.passed)
    passed = passed[np.lexsort((scores.ids[passed], -scores.surprise[passed]))][: _GROUPED * config.max_trends]
    if not len(passed):
        return []
    names = store.words_of(conn, scores.ids[passed].tolist())
    at = {names[int(scores.ids[index])]: int(index) for index in passed}
    entries = group(
        list(at),
        {word: int(scores.recent[index]) for word, index in at.items()},
        {word: float(scores.surprise[index]) for word, index in at.items()},
        config.absorb_share,
    )[: config.max_trends]
    titles = statistics.titles(conn, as_of, start)
    return [
        _trend(rank, entry, at[entry.word], comparison, scores, seen, start, titles, config)
        for rank, entry in enumerate(entries, 1)
    ]


def _trend(
    rank: int,
    entry: Entry,
    index: int,
    comparison: Comparison,
    scores: Scores,
    seen: RunningSums,
    start: dt.date,
    titles: list[tuple[int, str, dt.date, str, int]],
    config: TemporalConfig,
) -> Trend:
    id_ = np.array([scores.ids[index]], np.int64)
    recent, past = comparison.recent, comparison.past
    days = sorted(comparison.by_day)
    by_day = [(int(comparison.by_day[day].at(id_)[0]), comparison.by_day[day].n_stories) for day in days]
    burst = last_burst([had for had, _ in by_day], [stories for _, stories in by_day])
    # A burst counts as lasting while it reaches into the recent days: a single day without the word ends a state.
    since = days[burst[0]] if burst is not None and days[burst[1]] >= start else None
    first = dt.date.fromordinal(int(store.look_up(seen.ids, seen.first, id_)[0]))
    y1, y2 = int(scores.recent[index]), int(scores.past[index])
    by_calendar = calendar.explanation(
        entry.word, int(id_[0]), comparison.by_day, comparison.recent_days, y1 / recent.n_stories
    )
    strength = float(scores.surprise[index])
    # What has been trending for longer than the recent days begins to fade.
    age = (start - (since or start)).days
    is_new = first >= start
    evidence: dict[str, Any] = {
        "stories": y1,
        "of_stories": recent.n_stories,
        "past_stories": y2,
        "of_past_stories": past.n_stories,
        "articles": int(recent.at(id_, "articles")[0]),
        "outlets": int(scores.outlets[index]),
        "lift": float(scores.lift[index]),
        "surprise": strength,
        "days": comparison.length,
        "first_seen": first.isoformat(),
        "burst_since": since.isoformat() if since else None,
        "calendar": by_calendar,
        "parts": entry.parts[:_DETAILS],
        "phrases": entry.phrases[:_DETAILS],
        "examples": _examples(entry.word, titles, config.examples),
    }
    evidence["sentence"] = _sentence(entry.word, evidence, is_new)
    boost = 1.0 if by_calendar else boost_of(strength, age, config)
    return Trend(rank, entry.word, float(scores.z[index]), float(scores.q[index]), boost, is_new, evidence)


def _examples(word: str, titles: list[tuple[int, str, dt.date, str, int]], wanted: int) -> list[dict[str, Any]]:
    """Titles with the word (hyphens, spaces and case aside), newest first, one a story."""
    found: list[dict[str, Any]] = []
    stories: set[int] = set()
    plain = _plain(word)
    for article_id, title, day, outlet, story in titles:
        if len(found) >= wanted:
            break
        if story not in stories and plain in _plain(title):
            stories.add(story)
            found.append({"article_id": article_id, "title": title, "day": day.isoformat(), "outlet": outlet})
    return found


def _plain(text: str) -> str:
    return text.upper().replace(" ", "").replace("-", "")


def _sentence(word: str, evidence: dict[str, Any], is_new: bool) -> str:
    days = evidence["days"]
    when = "the last day" if days == 1 else f"the last {days} days"
    outlets = evidence["outlets"]
    text = f"{word}: {evidence['stories']} of {evidence['of_stories']} stories of {when} from {outlets} outlet"
    text += "s" if outlets != 1 else ""
    if is_new:
        text += f", never seen before {evidence['first_seen']}"
    else:
        text += f", {evidence['past_stories']} of {evidence['of_past_stories']} before"
        text += f" ({evidence['lift']:.1f} times as often)"
    if evidence["burst_since"]:
        text += f", in a burst since {evidence['burst_since']}"
    return text + (f"; {evidence['calendar']}" if evidence["calendar"] else "")
