"""Which articles a round trains on: the newest, and older ones replayed over all of time."""

from __future__ import annotations

import datetime as dt
import math
import zlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol, TypeVar


class Dated(Protocol):
    """What is needed of an article here."""

    @property
    def id(self) -> int: ...
    @property
    def day(self) -> dt.date: ...


class Headed(Dated, Protocol):
    """What an article is chosen by: its text is read afterwards."""

    @property
    def story_id(self) -> int: ...


A = TypeVar("A", bound=Dated)


def chance(seed: int, *parts: object) -> float:
    """A number in (0, 1) that depends on its arguments alone: a choice that is the same in every order."""
    return (zlib.crc32("\0".join(map(str, (seed, *parts))).encode()) + 1) / (2**32 + 1)


def weight_of(age_days: int, half_life: float, least: float) -> float:
    """Weight of an example by its age: halves every ``half_life`` days, never below ``least``."""
    return max(least, float(0.5 ** (max(0, age_days) / half_life)))


def replayed(
    articles: Sequence[A],
    *,
    newest: dt.date,
    recent_days: int,
    most: int,
    replay_share: float,
    half_life: float,
    seed: int,
) -> list[A]:
    """At most ``most`` articles: the recent ones and a replay of older windows, in the order given.

    The older ones are stratified: each month gets a share of the places by its decayed weight (a month's articles
    count together, so that a flood of news in one month does not drown the others), at least one. Places that one
    part does not use go to the other.
    """
    edge = newest - dt.timedelta(days=recent_days)
    recent = [a for a in articles if a.day > edge]
    older = [a for a in articles if a.day <= edge]
    if len(articles) <= most:
        return list(articles)
    places = min(len(older), max(round(most * replay_share), most - len(recent)))
    kept = {a.id for a in _sample(recent, most - places, seed)}
    months: dict[tuple[int, int], list[A]] = defaultdict(list)
    for article in older:
        months[article.day.year, article.day.month].append(article)
    want = {
        month: math.sqrt(len(held)) * 0.5 ** ((newest - held[0].day).days / half_life) for month, held in months.items()
    }
    left, total = places, sum(want.values())
    for month in sorted(months, reverse=True):
        held = months[month]
        share = min(left, len(held), max(1, round(left * want[month] / total))) if total > 0 and left > 0 else 0
        kept.update(a.id for a in _sample(held, share, seed))
        left -= share
        total -= want[month]
    if left > 0:  # months that were smaller than their share leave places: the newest of the rest get them
        rest = [a for a in reversed(older) if a.id not in kept]
        kept.update(a.id for a in rest[:left])
    return [a for a in articles if a.id in kept]


def _sample(articles: Sequence[A], count: int, seed: int) -> list[A]:
    return sorted(articles, key=lambda a: chance(seed, "replay", a.id))[: max(0, count)]
