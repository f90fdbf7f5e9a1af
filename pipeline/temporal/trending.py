"""Trending words: words that are significantly more frequent in recent stories than before.

delta = ln[(y1 + a) / (n1 + a0 - y1 - a)] - ln[(y2 + a) / (n2 + a0 - y2 - a)], z = delta / sqrt(1/(y1+a) + 1/(y2+a)):
log-odds with an informative Dirichlet prior (Monroe, Colaresi, Quinn 2008), where y of n stories mention the word,
1 is recent, 2 is past, and the prior is the share of the word in all stories, with the weight of the recent stories:
a = a0 * (y1 + y2) / (n1 + n2 + 1) with a0 = ``prior_share`` * n1.

The test and the ranking use *surprise*, the signed root of the log-likelihood ratio statistic (Dunning 1993), instead
of z. The variance of z is dominated by the few past mentions (Hauck and Donner 1977), so a word without past mentions
could never be significant. `코로나19`, in 27 of 82 recent and 1 of 1,076 past presidential speeches, is 18th by z with
a weak prior and 1st by surprise.

News counts are overdispersed: the frequency of some words varies much from day to day. Surprise is divided by the root
of the *dispersion* of the word, the variance of its past daily counts relative to the binomial one (quasi-likelihood,
McCullagh and Nelder 1989). The day with the largest deviation is left out, as it may be an event of its own.
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
_STRAY = 0.1  # share of the stories of the richest past day: days with fewer are from before the crawl began
_BOOST_SURPRISE = 8.0  # surprise (about standard deviations) at which a boost has reached 63 % of its height
_PRIOR_STORIES = 5.0  # weight of the prior of no overdispersion, in stories


@dataclass(frozen=True, slots=True)
class Comparison:
    """The recent and the past days that are compared, with their total and daily counts."""

    recent_days: list[dt.date]
    past_days: list[dt.date]
    recent: Counts
    past: Counts
    by_day: Mapping[dt.date, Counts]
    same_weekdays: bool
    length: int  # days from the first recent one to the last, days without articles included


@dataclass(frozen=True, slots=True)
class Scores:
    """Test results of all terms of the family, by ascending term id (arrays of one shape)."""

    ids: Ids
    recent: Ids  # y1
    past: Ids  # y2
    z: Floats
    surprise: Floats  # after dispersion
    p: Floats
    q: Floats
    lift: Floats
    outlets: Ids
    passed: NDArray[np.bool_]  # a trend: above the thresholds and significant after false discovery control


def compare(
    by_day: Mapping[dt.date, Counts], day: dt.date, config: TemporalConfig, length: int | None = None
) -> Comparison:
    """Select the recent days up to ``day`` and the past days before them.

    ``length`` is the number of recent days; by default the smallest of `LENGTHS` with ``trend_stories`` stories, else
    ``recent_days``.
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
        # Days before the crawl began have a few stray stories each and are left out.
        least = _STRAY * max((by_day[d].n_stories for d in past), default=0)
        alike = [d for d in past if d.weekday() in weekdays and by_day[d].n_stories >= least]
        past_stories, recent_stories = (sum(by_day[d].n_stories for d in days) for days in (alike, recent))
        if past_stories >= 2 * recent_stories and all(
            sum(d.weekday() == w for d in alike) >= _SAME_WEEKDAYS for w in weekdays
        ):
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
    """Test every term; empty where there are no recent or no past stories.

    The p-value is the larger of that of surprise (normal approximation) and that of the exact binomial test of the
    split of y1 + y2 stories, because the approximation is anticonservative for rare words. The Benjamini-Hochberg
    family is selected by y1 + y2, which is independent of the split under the null hypothesis. The thresholds on recent
    stories, outlets and lift only remove terms afterwards.
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
    # Half a story keeps the ratio finite for words without past stories.
    lift = ((y1 + 0.5) / (recent.n_stories + 1)) / ((y2 + 0.5) / (past.n_stories + 1))
    outlets = bits_set(recent.outlets_at(ids)).astype(np.int64)
    possible = min(config.min_outlets, recent.all_outlets.bit_count())
    above = (y1 >= config.min_stories) & (outlets >= possible) & (lift >= config.min_lift) & (delta > 0)
    p = np.where(above, p, 1.0)
    q = benjamini_hochberg(p)
    return Scores(ids, y1, y2, z, strength, p, q, lift, outlets, above & (q <= config.false_discovery_rate))


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
    """Overdispersion of the past daily counts of ``ids`` relative to the binomial distribution, at least 1.

    (k + sum of squared deviations) / (k + sum of binomial variances), both without the day of the largest deviation.
    k = 5 stories shrinks rare words towards 1.
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
    return np.maximum((_PRIOR_STORIES + moved - most) / (_PRIOR_STORIES + usual - most_usual), 1.0)


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
    """First and last day (indices) of the newest burst, or None: the batched two-state automaton of Kleinberg (2002).

    In state 0 the word is mentioned in its overall share of stories, or the ``usual`` share where that is smaller (a
    short history may be mostly burst); in state 1 in ``scale`` times that. Entering state 1 costs gamma * ln(days). The
    state sequence of least cost is found by dynamic programming.
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
    """The boost of a trending word, 1 to ``boost_max``: grows with surprise, decays with the age of its burst."""
    if not config.boosts or strength <= 0:
        return 1.0
    height = (config.boost_max - 1.0) * (1.0 - float(np.exp(-strength / _BOOST_SURPRISE)))
    return 1.0 + height * float(0.5 ** (max(days_in_burst, 0) / config.boost_half_life_days))
