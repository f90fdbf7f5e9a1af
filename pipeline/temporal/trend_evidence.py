"""What a trend says of itself: how often, since when, where, with titles to read, and the boost that follows."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from sqlalchemy.engine import Connection

from pipeline.asof import AsOf
from pipeline.config.temporal import TemporalConfig
from pipeline.store import counts as store
from pipeline.store import statistics
from pipeline.store.counts import Counts
from pipeline.store.statistics import Head, Trend
from pipeline.temporal import calendar, sentences
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
    for word in attributes(conn, version_id, at, comparison):
        del at[word]
    scale = comparison.recent.n_stories / comparison.past.n_stories
    entries = group(
        list(at),
        {word: int(scores.recent[index]) for word, index in at.items()},
        {word: float(scores.surprise[index]) for word, index in at.items()},
        config.absorb_share,
        {word: config.min_lift * float(scores.past[index]) * scale for word, index in at.items()},
    )[: config.max_trends]
    heads = statistics.heads(conn, as_of, start)
    # Read by itself: a large crawl compares with a past that is rich long before it is a year old.
    reach = calendar.days_a_year_ago(comparison.recent_days)
    then = [counts for _, counts in store.read_days(conn, version_id, *reach, as_of.known_by)]
    return [
        _trend(rank, entry, at[entry.word], comparison, scores, seen, start, heads, then, config)
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
    heads: Sequence[Head],
    then: Collection[Counts],
    config: TemporalConfig,
) -> Trend:
    id_ = np.array([scores.ids[index]], np.int64)
    recent, past = comparison.recent, comparison.past
    days = sorted(comparison.by_day)
    by_day = [(int(comparison.by_day[day].at(id_)[0]), comparison.by_day[day].n_stories) for day in days]
    y1, y2 = int(scores.recent[index]), int(scores.past[index])
    usual = (y2 + 0.5) / (past.n_stories + 1)
    burst = last_burst([had for had, _ in by_day], [stories for _, stories in by_day], usual=usual)
    # A burst counts as lasting while it reaches into the recent days: a single day without the word ends a state.
    since = days[burst[0]] if burst is not None and days[burst[1]] >= start else None
    first = dt.date.fromordinal(int(store.look_up(seen.ids, seen.first, id_)[0]))
    ago = calendar.year_ago(int(id_[0]), then)
    by_calendar = calendar.explanation(entry.word, ago, y1 / recent.n_stories)
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
        "year_ago": list(ago) if by_calendar and not calendar.named(entry.word) else None,
        "parts": entry.parts[:_DETAILS],
        "phrases": entry.phrases[:_DETAILS],
        "examples": _examples(entry.word, heads, config.examples),
    }
    evidence["sentence"] = sentences.english(entry.word, evidence, is_new)
    boost = 1.0 if by_calendar else boost_of(strength, age, config)
    return Trend(rank, entry.word, float(scores.z[index]), float(scores.q[index]), boost, is_new, evidence)


def attributes(conn: Connection, version_id: int, words: Collection[str], comparison: Comparison) -> list[str]:
    """Words that only qualify others (`상식적` of `상식`): a noun with -적, whose noun is counted wherever it is."""
    stems = {word: word[:-1] for word in words if len(word) > 2 and word.endswith("적") and " " not in word}
    ids = store.word_ids(conn, version_id, [*stems, *stems.values()]) if stems else {}

    def told(word: str) -> int:
        return int(comparison.recent.at(np.array([ids[word]], np.int64), "articles")[0]) if word in ids else 0

    return [word for word, stem in stems.items() if told(stem) >= told(word)]


def _examples(word: str, heads: Sequence[Head], wanted: int) -> list[dict[str, Any]]:
    """Titles with the word, newest day first, one a story; then titles of articles whose text begins with it."""
    says = _finder(word)
    in_title = (head for head in heads if says(head.title))
    in_opening = (head for head in heads if says(head.opening))
    found: dict[int, Head] = {}
    for head in itertools.chain(in_title, in_opening):
        if len(found) >= wanted:
            break
        found.setdefault(head.story, head)
    return [
        {"article_id": head.article_id, "title": head.title, "day": head.day.isoformat(), "outlet": head.outlet}
        for head in found.values()
    ]


def _finder(word: str) -> Callable[[str], bool]:
    """Whether a text says the word, hyphens, spaces and case aside; Latin letters and digits stand alone (KR, KKR)."""
    edge = "(?<![A-Z0-9]){}(?![A-Z0-9])" if word.isascii() else "{}"
    pattern = re.compile(edge.format("[- ]?".join(map(re.escape, word.replace(" ", "").replace("-", "")))))
    return lambda text: pattern.search(text.upper()) is not None
