"""Evidence of trends: frequencies, bursts, outlets, example titles, and the boost."""

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

_GROUPED = 5  # times max_trends: the number of words that are grouped
_EXAMPLES = 3  # titles of a trend
_ABSORB_SHARE = 0.7  # share of a word's stories from which it is shown as part of a compound or phrase
_DETAILS = 5  # parts and phrases that are stored with a trend, at most


def trends_with_evidence(
    conn: Connection,
    as_of: AsOf,
    version_id: int,
    comparison: Comparison,
    scores: Scores,
    seen: RunningSums,
    start: dt.date,
    config: TemporalConfig,
) -> list[Trend]:
    """The trends of an as-of with their evidence, by falling surprise, at most ``max_trends``."""
    passed = np.flatnonzero(scores.passed)
    passed = passed[np.lexsort((scores.ids[passed], -scores.surprise[passed]))][: _GROUPED * config.max_trends]
    if not len(passed):
        return []
    names = store.words_of(conn, scores.ids[passed].tolist())
    at = {names[int(scores.ids[index])]: int(index) for index in passed}
    for word in derived_attributes(conn, version_id, at, comparison):
        del at[word]
    scale = comparison.recent.n_stories / comparison.past.n_stories
    entries = group(
        list(at),
        {word: int(scores.recent[index]) for word, index in at.items()},
        {word: float(scores.surprise[index]) for word, index in at.items()},
        _ABSORB_SHARE,
        {word: config.min_lift * float(scores.past[index]) * scale for word, index in at.items()},
    )[: config.max_trends]
    heads = statistics.heads(conn, as_of, start)
    # Read separately: the past that a large crawl is compared with may be much shorter than a year.
    reach = calendar.days_a_year_ago(comparison.recent_days)
    year_ago = [counts for _, counts in store.read_days(conn, version_id, *reach, as_of.known_by)]
    return [
        _trend(rank, entry, at[entry.word], comparison, scores, seen, start, heads, year_ago, config)
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
    year_ago: Collection[Counts],
    config: TemporalConfig,
) -> Trend:
    id_ = np.array([scores.ids[index]], np.int64)
    recent, past = comparison.recent, comparison.past
    days = sorted(comparison.by_day)
    by_day = [(int(comparison.by_day[day].at(id_)[0]), comparison.by_day[day].n_stories) for day in days]
    y1, y2 = int(scores.recent[index]), int(scores.past[index])
    usual = (y2 + 0.5) / (past.n_stories + 1)
    burst = last_burst([df for df, _ in by_day], [stories for _, stories in by_day], usual=usual)
    # A burst is still active where it reaches into the recent days: a single day without the word may end the state.
    since = days[burst[0]] if burst is not None and days[burst[1]] >= start else None
    first = dt.date.fromordinal(int(store.look_up(seen.ids, seen.first, id_)[0]))
    ago = calendar.year_ago(int(id_[0]), year_ago)
    by_calendar = calendar.explanation(entry.word, ago, y1 / recent.n_stories)
    strength = float(scores.surprise[index])
    # Boosts of words that have been trending for longer than the recent days decay.
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
        "examples": _examples(entry.word, heads, _EXAMPLES),
    }
    evidence["sentence"] = sentences.english(entry.word, evidence, is_new)
    boost = 1.0 if by_calendar else boost_of(strength, age, config)
    return Trend(rank, entry.word, float(scores.z[index]), float(scores.q[index]), boost, is_new, evidence)


def derived_attributes(conn: Connection, version_id: int, words: Collection[str], comparison: Comparison) -> list[str]:
    """Nouns with the suffix -적 (`상식적`) whose stem (`상식`) is at least as frequent: the stem stands for them."""
    stems = {word: word[:-1] for word in words if len(word) > 2 and word.endswith("적") and " " not in word}
    ids = store.word_ids(conn, version_id, [*stems, *stems.values()]) if stems else {}

    def articles(word: str) -> int:
        return int(comparison.recent.at(np.array([ids[word]], np.int64), "articles")[0]) if word in ids else 0

    return [word for word, stem in stems.items() if articles(stem) >= articles(word)]


def _examples(word: str, heads: Sequence[Head], wanted: int) -> list[dict[str, Any]]:
    """Example articles, one a story, newest first: with the word in the title, then in the opening of the text."""
    contains = _matcher(word)
    in_title = (head for head in heads if contains(head.title))
    in_opening = (head for head in heads if contains(head.opening))
    by_story: dict[int, Head] = {}
    for head in itertools.chain(in_title, in_opening):
        if len(by_story) >= wanted:
            break
        by_story.setdefault(head.story, head)
    return [
        {"article_id": head.article_id, "title": head.title, "day": head.day.isoformat(), "outlet": head.outlet}
        for head in by_story.values()
    ]


def _matcher(word: str) -> Callable[[str], bool]:
    """A predicate: does a text contain the word? Hyphens, spaces and case are ignored; ASCII words match whole words
    only (KR, not KKR)."""
    edge = "(?<![A-Z0-9]){}(?![A-Z0-9])" if word.isascii() else "{}"
    pattern = re.compile(edge.format("[- ]?".join(map(re.escape, word.replace(" ", "").replace("-", "")))))
    return lambda text: pattern.search(text.upper()) is not None
