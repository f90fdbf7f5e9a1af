"""Trending words: what recent stories mention more often than the past would let one expect.

delta = ln[(y1 + a) / (n1 + a0 - y1 - a)] - ln[(y2 + a) / (n2 + a0 - y2 - a)], z = delta / sqrt(1/(y1+a) + 1/(y2+a)):
log-odds with an informative Dirichlet prior (Monroe, Colaresi, Quinn 2008), where y of n stories mention the word,
1 is recent, 2 is past, and the prior is a word's share of everything, as strong as the recent stories themselves:
a = a0 * (y1 + y2) / (n1 + n2 + 1) with a0 = ``prior_share`` * n1.

What is tested and ranked is *surprise*, the root of twice the log-likelihood ratio of "changed" over "did not change"
(Dunning 1993). z cannot be: its variance is that of the past's few mentions (Hauck and Donner 1977), so a word that the
past does not have at all could never pass. `코로나19`, in 27 of 82 and 1 of 1,076 presidential speeches, is 18th by z
with a weak prior and 1st by surprise.

News is not drawn from an urn: some words swing from day to day by themselves. Surprise is divided by the root of the
word's *dispersion*, the variance of its counts over the past days relative to chance (quasi-likelihood, McCullagh and
Nelder 1989), without the day that differs most, which may be an event of its own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.temporal import TemporalConfig
from pipeline.store.counts import Counts, Ids, bits_set
from pipeline.temporal.idf import ONE_DAY, Floats

LENGTHS = (1, 3, 7, 14)  # days; `recent_days` is the longest
_SAME_WEEKDAYS = 4  # days of the past that each weekday needs before only the same weekdays are compared
_STRAY = 0.1  # of the richest past day's stories: a day with less was before the crawl began
_CALM = 5.0  # stories' worth of belief that a word's counts vary by chance only


@dataclass(frozen=True, slots=True)
class Comparison:
    """The recent days and the past ones they are compared with: days, their counts together, each day's counts."""

    recent_days: list[dt.date]
    past_days: list[dt.date]
    recent: Counts
    past: Counts
    by_day: Mapping[dt.date, Counts]
    same_weekdays: bool
    length: int  # days from the first recent one to the last, days without articles included


@dataclass(frozen=True, slots=True)
class Scores:
    """Of every term of the family that was tested together, by ascending id (arrays of one shape)."""

    ids: Ids
    recent: Ids  # y1
    past: Ids  # y2
    z: Floats
    surprise: Floats  # after dispersion
    p: Floats
    q: Floats
    lift: Floats
    outlets: Ids
    passed: NDArray[np.bool_]  # a trend: floors and false-discovery control hold


def compare(
    by_day: Mapping[dt.date, Counts], day: dt.date, config: TemporalConfig, length: int | None = None
) -> Comparison:
    """Choose the recent days up to ``day`` and the past before them from the days that have counts.

    Without ``length`` the shortest stretch with ``trend_stories`` stories is recent, else ``recent_days`` days.
    """
    if length is None:
        length = config.recent_days
        for candidate in sorted(n for n in LENGTHS if n < config.recent_days):
            stories = sum(c.n_stories for d, c in by_day.items() if day - candidate * ONE_DAY < d <= day)
            if stories >= config.trend_stories:
                length = candidate
                break
    start = day - (length - 1) * ONE_DAY
    recent = sorted(d for d in by_day if start <= d <= day)
    past = sorted(d for d in by_day if start - config.past_days * ONE_DAY <= d < start)
    same = False
    if length < 7 and recent:
        weekdays = {d.weekday() for d in recent}
        # Days before the crawl began hold a few stray stories each: they are no past to compare with.
        least = _STRAY * max((by_day[d].n_stories for d in past), default=0)
        alike = [d for d in past if d.weekday() in weekdays and by_day[d].n_stories >= least]
        told, now = (sum(by_day[d].n_stories for d in days) for days in (alike, recent))
        if told >= 2 * now and all(sum(d.weekday() == w for d in alike) >= _SAME_WEEKDAYS for w in weekdays):
            past, same = alike, True
    return Comparison(
        recent,
        past,
        Counts.union([by_day[d] for d in recent]),
        Counts.union([by_day[d] for d in past]),
        by_day,
        same,
        length,
    )


def score(comparison: Comparison, config: TemporalConfig) -> Scores:
    """Score every term; empty when there is no past or nothing recent.

    The p-value is the larger of the normal one of surprise and the exact one of a binomial split of y1 + y2 stories
    (the normal one is too hopeful about rare words). The family of Benjamini-Hochberg is chosen by y1 + y2, which under
    "no change" says nothing about the split; the floors on recent stories, outlets and lift then only take away.
    """
    recent, past = comparison.recent, comparison.past
    none = np.zeros(0, np.int64)
    if not recent.n_stories or not past.n_stories:
        zeros = np.zeros(0)
        return Scores(none, none, none, zeros, zeros, zeros, zeros, zeros, none, np.zeros(0, np.bool_))
    from scipy.stats import binom, norm

    ids = np.union1d(recent.ids, past.ids)
    y1, y2 = recent.at(ids), past.at(ids)
    family = y1 + y2 >= config.min_stories
    ids, y1, y2 = ids[family], y1[family], y2[family]
    delta, z = log_odds(y1, y2, recent.n_stories, past.n_stories, config.prior_share * recent.n_stories)
    strength = surprise(y1, y2, recent.n_stories, past.n_stories)
    strength = strength / np.sqrt(dispersion(ids, y2, comparison))
    exact = binom.sf(y1 - 1, y1 + y2, recent.n_stories / (recent.n_stories + past.n_stories))
    p = np.maximum(norm.sf(strength), exact)
    # Half a story keeps the ratio finite for words the past does not have.
    lift = ((y1 + 0.5) / (recent.n_stories + 1)) / ((y2 + 0.5) / (past.n_stories + 1))
    outlets = bits_set(recent.outlets_at(ids)).astype(np.int64)
    possible = min(config.min_outlets, recent.all_outlets.bit_count())
    floors = (y1 >= config.min_stories) & (outlets >= possible) & (lift >= config.min_lift) & (delta > 0)
    p = np.where(floors, p, 1.0)
    q = benjamini_hochberg(p)
    return Scores(ids, y1, y2, z, strength, p, q, lift, outlets, floors & (q <= config.false_discovery_rate))


def log_odds(y1: Ids, y2: Ids, n1: float, n2: float, prior: float) -> tuple[Floats, Floats]:
    """(delta, z) of the module's formula; ``prior`` is a0 in stories; arrays of one shape."""
    # One more than n keeps the odds finite for a word that is in every story.
    a = prior * (y1 + y2) / (n1 + n2 + 1)
    delta = np.log((y1 + a) / (n1 + prior - y1 - a)) - np.log((y2 + a) / (n2 + prior - y2 - a))
    return delta, delta / np.sqrt(1 / (y1 + a) + 1 / (y2 + a))


def surprise(y1: Ids, y2: Ids, n1: int, n2: int) -> Floats:
    """Signed root of twice the log-likelihood ratio of two shares y1/n1, y2/n2 over one common share; about normal."""
    share = (y1 + y2) / (n1 + n2)

    def term(seen: NDArray[Any], expected: Floats) -> Floats:
        ratio = np.divide(seen, expected, out=np.ones_like(expected), where=(seen > 0) & (expected > 0))
        return np.asarray(seen * np.log(ratio))

    ratio = term(y1, n1 * share) + term(y2, n2 * share)
    ratio = ratio + term(n1 - y1, n1 * (1 - share)) + term(n2 - y2, n2 * (1 - share))
    return np.asarray(np.sign(y1 / n1 - y2 / n2) * np.sqrt(2 * np.maximum(ratio, 0.0)))


def dispersion(ids: Ids, y2: Ids, comparison: Comparison) -> Floats:
    """At least 1: how much more than chance the daily counts of ``ids`` vary over the past days (shape of ``ids``).

    (k + sum of squared deviations) / (k + sum of binomial variances), both without the day of the largest deviation;
    k = 5 stories hold rare words near 1.
    """
    share = y2 / max(comparison.past.n_stories, 1)
    moved, usual = np.zeros(len(ids)), np.zeros(len(ids))
    most, most_usual = np.zeros(len(ids)), np.zeros(len(ids))
    for day in comparison.past_days:
        counts = comparison.by_day[day]
        expected = counts.n_stories * share
        deviation, variance = (counts.at(ids) - expected) ** 2, expected * (1 - share)
        moved, usual = moved + deviation, usual + variance
        larger = deviation > most
        most, most_usual = np.where(larger, deviation, most), np.where(larger, variance, most_usual)
    return np.maximum((_CALM + moved - most) / (_CALM + usual - most_usual), 1.0)


def benjamini_hochberg(p: Floats) -> Floats:
    """q-values: the smallest false-discovery rate at which each hypothesis is rejected (Benjamini, Hochberg 1995)."""
    if not len(p):
        return p
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


def last_burst(
    counted: Sequence[int],
    totals: Sequence[int],
    *,
    usual: float | None = None,
    scale: float = 2.0,
    gamma: float = 1.0,
) -> tuple[int, int] | None:
    """The first and the last day (indices) of the newest burst, or None: Kleinberg's two states (2002), batched.

    State 0 mentions the word in the overall share of stories, or the ``usual`` share where that is less (a short
    history is mostly burst), state 1 in ``scale`` times that; going up costs gamma * ln(number of days); the cheapest
    sequence of states wins.
    """
    hits, stories = np.asarray(counted, np.float64), np.asarray(totals, np.float64)
    if not len(hits) or not hits.sum() or not stories.sum():
        return None
    low = min(hits.sum() / stories.sum(), 0.5 if usual is None else usual, 0.5)
    shares = np.array([low, min(low * scale, 0.9999)])
    cost = -(hits[:, None] * np.log(shares) + (stories - hits)[:, None] * np.log1p(-shares))
    up = gamma * np.log(max(len(hits), 2))
    best = np.array([cost[0, 0], cost[0, 1] + up])
    came_from = np.zeros((len(hits), 2), np.int8)
    for day in range(1, len(hits)):
        into_low = int(best[1] < best[0])
        into_high = int(best[1] <= best[0] + up)
        came_from[day] = into_low, into_high
        best = np.array([best[into_low], best[1] if into_high else best[0] + up]) + cost[day]
    day, state = len(hits) - 1, int(best[1] < best[0])
    while day > 0 and state == 0:
        state = int(came_from[day, 0])
        day -= 1
    if state == 0:
        return None
    end = day
    while day > 0 and came_from[day, 1] == 1:
        day -= 1
    return day, end


def boost_of(strength: float, days_in_burst: int, config: TemporalConfig) -> float:
    """A trending word's factor: 1 to ``boost_max``, rising with surprise, halving as its burst ages; 1 when off."""
    if not config.boosts or strength <= 0:
        return 1.0
    height = (config.boost_max - 1.0) * (1.0 - float(np.exp(-strength / config.boost_surprise)))
    return 1.0 + height * float(0.5 ** (max(days_in_burst, 0) / config.boost_half_life_days))
