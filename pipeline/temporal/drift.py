"""Vocabulary drift of the news: daily metrics with an alarm level.

The divergence is the Jensen-Shannon divergence (base 2, so 0 to 1) between the tokens of the last week and those of the
weeks before, compared with its values in earlier weeks. Single days are not used: their divergence depends mostly on
the number of articles and the weekday. Tokens per word (fertility) rises when the vocabulary fits the news less and
less.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.store.counts import Counts
from pipeline.temporal.idf import ONE_DAY, Floats

_WEEK = 7  # days
_BEFORE = 4  # weeks that the last one is compared with
_EARLIER = 8  # weeks before the last one that define the usual divergence
_STRAY = 0.1  # share of the stories of the last week that an earlier week needs to be compared
_LEAST = 4  # earlier weeks that a comparison needs
_WATCH_Z = 4.0  # standard deviations above the usual: of ten weeks, only Seollal with a verdict (docs/time.md)
_ALARM_FERTILITY = 0.05  # relative rise of tokens per word that suggests a vocabulary refresh


def jensen_shannon(p: NDArray[Any], q: NDArray[Any]) -> float:
    """Jensen-Shannon divergence of two frequency arrays of one shape, in bits; 0 when one of them is empty."""
    if not p.sum() or not q.sum():
        return 0.0
    a: Floats = p / p.sum()
    b: Floats = q / q.sum()
    mean = (a + b) / 2

    def against(x: Floats) -> float:
        used = x > 0
        return float(np.sum(x[used] * np.log2(x[used] / mean[used])))

    return (against(a) + against(b)) / 2


def reach() -> int:
    """Number of days before the day that `measure` reads."""
    return _WEEK * (_EARLIER + 1 + _BEFORE)


def measure(
    tokens: Mapping[dt.date, Counts],
    day: dt.date,
    unseen: tuple[int, int],
) -> dict[str, Any]:
    """Drift of the week up to ``day``; ``unseen`` is (new words, words) of the recent days.

    Keys: divergence, usual_divergence, divergence_z (None with too few earlier weeks), unseen_share, tokens_per_word,
    usual_tokens_per_word, level (quiet, watch, alarm) and reason (a sentence).
    """
    series = []
    for back in range(_EARLIER + 1):
        end = day - back * _WEEK * ONE_DAY
        start = end - _WEEK * ONE_DAY
        now = _between(tokens, start, end)
        before = _between(tokens, start - _WEEK * _BEFORE * ONE_DAY, start)
        ids = np.union1d(now.ids, before.ids)
        if back == 0:
            least = max(1, int(_STRAY * now.n_stories))
            fertility, usual_fertility = _fertility(now), _fertility(before)
        # Weeks before the crawl began have a few stray stories each and are left out.
        enough = min(now.n_stories, before.n_stories) >= least
        series.append(jensen_shannon(now.at(ids), before.at(ids)) if enough else None)
    current, earlier = series[0], np.array([value for value in series[1:] if value is not None])
    z = usual = None
    if current is not None and len(earlier) >= _LEAST:
        usual = float(earlier.mean())
        # A standard deviation below 2 % of the mean is an artefact of few weeks.
        z = (current - usual) / max(float(earlier.std(ddof=1)), 0.02 * usual, 1e-9)
    rise = fertility / usual_fertility - 1 if fertility and usual_fertility else 0.0
    level, reason = _level(z, rise)
    return {
        "divergence": current,
        "usual_divergence": usual,
        "divergence_z": z,
        "unseen_share": unseen[0] / unseen[1] if unseen[1] else 0.0,
        "tokens_per_word": fertility,
        "usual_tokens_per_word": usual_fertility,
        "level": level,
        "reason": reason,
    }


def _between(days: Mapping[dt.date, Counts], after: dt.date, last: dt.date) -> Counts:
    return Counts.union([counts for day, counts in sorted(days.items()) if after < day <= last])


def _fertility(counts: Counts) -> float | None:
    return counts.terms / counts.spaces if counts.spaces else None


def _level(z: float | None, rise: float) -> tuple[str, str]:
    moved = z is not None and z > _WATCH_Z
    longer = rise > _ALARM_FERTILITY
    if longer:
        return "alarm", f"words need {rise:.1%} more tokens: think of a new vocabulary (`garam base --grow`)"
    if moved:
        return "watch", f"the language moved {z:.1f} standard deviations more than usual"
    if z is None:
        return "quiet", "too few earlier weeks to say what is usual"
    return "quiet", "the language moved as it usually does"
