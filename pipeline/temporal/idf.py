"""Document frequencies over time as running sums, and the IDF computed from them.

Stored statistics and in-memory functions share this code. Days are added in order, each at a cost that does not depend
on the length of the history:

    decayed:  N <- g * N + n_day        df <- g * df + df_day
    window W: N <- N + n_day - n_(day-W), df likewise (integers, so exact)

There is one step for each day, also for days without articles. So the order of the floating-point operations depends on
the days only: starting from stored sums gives the same bits as starting from the first day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.store.counts import Counts, Ids, look_up
from pipeline.store.packed import pack, unpack

Floats = NDArray[np.float64]
ONE_DAY = dt.timedelta(days=1)


def smoothed_idf(df: NDArray[Any] | Sequence[float], n: float) -> Floats:
    """ln(1 + (n - df + 0.5) / (df + 0.5)): the BM25 IDF of Lucene, never negative; shape of ``df``."""
    frequency = np.asarray(df, np.float64)
    return np.log1p((n - frequency + 0.5) / (frequency + 0.5))


def ensemble_idf(parts: Sequence[Floats], shares: Sequence[float]) -> Floats:
    """The weighted mean of several IDFs of the same terms; ``shares`` are normalised to sum to 1."""
    total = sum(shares)
    combined = np.zeros_like(parts[0])
    for part, share in zip(parts, shares, strict=True):
        combined = combined + (share / total) * part
    return combined


@dataclass
class RunningSums:
    """Document frequencies over all days up to ``day``, aligned with the ascending term ``ids``.

    Without ``decay`` there are no decayed sums, without ``windows`` no window sums. ``first`` is the ordinal of the day
    on which a term was first seen.
    """

    decay: float | None
    windows: tuple[int, ...]
    day: dt.date | None = None
    ids: Ids = field(default_factory=lambda: np.zeros(0, np.int64))
    decayed: Floats = field(default_factory=lambda: np.zeros(0))
    window: list[Ids] = field(default_factory=list)
    first: Ids = field(default_factory=lambda: np.zeros(0, np.int64))
    n_decayed: float = 0.0
    n_window: list[int] = field(default_factory=list)
    n_total: int = 0
    n_articles: int = 0

    def __post_init__(self) -> None:
        self.window = self.window or [np.zeros(len(self.ids), np.int64) for _ in self.windows]
        self.n_window = self.n_window or [0 for _ in self.windows]

    def advance(self, day: dt.date, entering: Counts | None, leaving: Sequence[Counts | None]) -> None:
        """Step to ``day`` (the one after the last): its counts enter, those of W days ago leave window W."""
        if self.day is not None and day != self.day + ONE_DAY:
            raise ValueError(f"{day} does not follow {self.day}")
        if self.decay is not None:
            self.decayed *= self.decay
            self.n_decayed *= self.decay
        if entering is not None:
            self._grow(entering.ids, day.toordinal())
            at = np.searchsorted(self.ids, entering.ids)
            if self.decay is not None:
                self.decayed[at] += entering.stories
                self.n_decayed += entering.n_stories
            self.n_total += entering.n_stories
            self.n_articles += entering.n_articles
            for number, sums in enumerate(self.window):
                sums[at] += entering.stories
                self.n_window[number] += entering.n_stories
        for number, gone in enumerate(leaving):
            if gone is not None:
                self.window[number][np.searchsorted(self.ids, gone.ids)] -= gone.stories
                self.n_window[number] -= gone.n_stories
        self.day = day

    def _grow(self, ids: Ids, ordinal: int) -> None:
        new = ids[look_up(self.ids, np.ones(len(self.ids), np.int8), ids) == 0]
        if not len(new):
            return
        place = np.searchsorted(self.ids, new)
        self.ids = np.insert(self.ids, place, new)
        self.first = np.insert(self.first, place, ordinal)
        self.window = [np.insert(sums, place, 0) for sums in self.window]
        if self.decay is not None:
            self.decayed = np.insert(self.decayed, place, 0.0)

    def dense(self, size: int) -> dict[str, NDArray[Any]]:
        """Sums as arrays over term ids 0 to ``size`` - 1: decayed (float64), window (int64, windows x size)."""
        kept = self.ids < size
        arrays: dict[str, NDArray[Any]] = {"decayed": np.zeros(size)}
        if self.decay is not None:
            arrays["decayed"][self.ids[kept]] = self.decayed[kept]
        arrays["window"] = np.zeros((len(self.windows), size), np.int64)
        for number, sums in enumerate(self.window):
            arrays["window"][number, self.ids[kept]] = sums[kept]
        return arrays

    def to_bytes(self) -> bytes:
        """Serialise the sums for the database."""
        arrays: dict[str, NDArray[Any]] = {
            "ids": np.diff(self.ids, prepend=0).astype(np.uint32),
            "first": self.first.astype(np.uint32),
            "decayed": self.decayed,
        }
        arrays |= {f"window{number}": sums.astype(np.uint32) for number, sums in enumerate(self.window)}
        day = self.day.toordinal() if self.day else None
        # A float goes through JSON without loss: repr gives the shortest text that reads back as the same bits.
        n = {"n": self.n_total, "n_articles": self.n_articles, "n_window": self.n_window, "n_decayed": self.n_decayed}
        return pack(arrays, {"day": day, **n})

    @classmethod
    def from_bytes(cls, value: bytes, decay: float | None, windows: tuple[int, ...]) -> RunningSums:
        """Read the output of `to_bytes`."""
        arrays, meta = unpack(value)
        return cls(
            decay,
            windows,
            None if meta["day"] is None else dt.date.fromordinal(meta["day"]),
            np.cumsum(arrays["ids"], dtype=np.int64),
            arrays["decayed"].copy(),
            [arrays[f"window{number}"].astype(np.int64) for number in range(len(windows))],
            arrays["first"].astype(np.int64),
            meta["n_decayed"],
            list(meta["n_window"]),
            meta["n"],
            meta["n_articles"],
        )


def advance_to(
    sums: RunningSums,
    day: dt.date,
    read: Callable[[dt.date, dt.date], Mapping[dt.date, Counts]],
    *,
    step: int = 32,
    after: Callable[[RunningSums], None] | None = None,
) -> RunningSums:
    """Advance ``sums`` to ``day`` in steps of ``step`` days; ``read(first, last)`` returns the counts of these days.

    ``sums.day`` must be set (for new sums to the day before the first one). ``after`` is called after each step.
    """
    if sums.day is None:
        raise ValueError("set the day before the first one")
    while sums.day < day:
        first, last = sums.day + ONE_DAY, min(sums.day + step * ONE_DAY, day)
        entering = read(first, last)
        leaving = [read(first - w * ONE_DAY, last - w * ONE_DAY) for w in sums.windows]
        current = first
        while current <= last:
            gone = [days.get(current - w * ONE_DAY) for days, w in zip(leaving, sums.windows, strict=True)]
            sums.advance(current, entering.get(current), gone)
            current += ONE_DAY
        if after is not None:
            after(sums)
    return sums
