"""Windows of time and the sample of sentences that each is seen through."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.errors import UsageError
from pipeline.progress import Progress, silent
from pipeline.text.words import analyse

_SENTENCE = re.compile(r"(?<=[.!?…。])\s+|\n+")
_PARENTHESES = re.compile(r"\s?[(（\[【][^()（）\[\]【】\n]{0,60}[)）\]】]")
_LONGEST = 400  # characters of a sentence that are read
_SHORTEST = 10


@dataclass(frozen=True, order=True)
class Window:
    """The days ``first`` to ``last``, both included."""

    first: dt.date
    last: dt.date

    def __contains__(self, day: object) -> bool:
        return isinstance(day, dt.date) and self.first <= day <= self.last

    def __str__(self) -> str:
        return f"{self.first.isoformat()}..{self.last.isoformat()}"


def windows_of(newest: dt.date, time_windows: Sequence[int | tuple[dt.date, dt.date] | Window]) -> list[Window]:
    """Windows, oldest first.

    A number means "the last so many days, less those of the shorter numbers": 30, 90 makes two windows, the last 30
    days and the 60 before them. Anything else gives first and last day. Overlapping windows are refused: their
    clusters would share articles, and a change between them would mean nothing.
    """
    lengths = sorted({w for w in time_windows if isinstance(w, int)})
    if lengths and lengths[0] < 1:
        raise UsageError(f"a window of {lengths[0]} days holds nothing: windows have at least 1 day")
    found, end = [], newest
    for length in lengths:
        start = newest - dt.timedelta(days=length - 1)
        found.append(Window(start, end))
        end = start - dt.timedelta(days=1)
    for given in time_windows:
        if not isinstance(given, int):
            first, last = (given.first, given.last) if isinstance(given, Window) else given
            if first > last:
                raise UsageError(f"the window {first}..{last} ends before it starts")
            found.append(Window(first, last))
    found.sort()
    if not found:
        raise UsageError("name at least one window, such as time_windows=[30, 90, 365]")
    for before, after in pairwise(found):
        if before.last >= after.first:
            raise UsageError(f"the windows {before} and {after} overlap: give windows without a common day")
    return found


def split_sentences(text: str) -> list[str]:
    """Sentences of a text, without what stands in parentheses (an alias would be its own neighbour there)."""
    plain = _PARENTHESES.sub("", text)
    return [s[:_LONGEST] for part in _SENTENCE.split(plain) if len(s := " ".join(part.split())) >= _SHORTEST]


def sample(items: Iterable[int], texts: Sequence[str], most: int) -> list[int]:
    """At most ``most`` of the ``items`` (indices into ``texts``), chosen by the texts' hashes.

    The same texts give the same sample, in whatever order they come, and a new text moves at most one out.
    """
    ranked = sorted(items, key=lambda i: (hashlib.sha256(texts[i].encode()).digest(), i))
    return sorted(ranked[:most])


@dataclass(frozen=True)
class WindowSample:
    """A window's sampled sentences with the words of each."""

    window: Window
    sentences: list[str]
    words: list[tuple[str, ...]]  # of each sentence, each once
    documents: list[int]  # the document each sentence is from
    weight: list[float]  # decay ** age of each sentence's document

    def frequencies(self) -> Counter[str]:
        """In how many documents each word stands."""
        seen: Counter[str] = Counter()
        held: set[str] = set()
        current = -1
        for number, words in zip(self.documents, self.words, strict=True):
            if number != current:
                seen.update(held)
                held, current = set(), number
            held.update(words)
        seen.update(held)
        return seen


def sample_windows(
    documents: Sequence[str],
    dates: Sequence[dt.date],
    windows: Sequence[Window],
    *,
    articles: int,
    decay_factor: float = 0.95,
    progress: Progress = silent,
) -> list[WindowSample]:
    """Sentences and words of at most ``articles`` documents, shared fairly by the windows.

    What a short window leaves of its share goes to the others. The cost is the morphological analysis: about 70
    articles of 500 characters a second and core.
    """
    if len(documents) != len(dates):
        raise UsageError(f"{len(documents)} documents have {len(dates)} dates: give one date a document")
    newest = max((w.last for w in windows), default=dt.date.min)
    members: dict[Window, list[int]] = defaultdict(list)
    for index, day in enumerate(dates):
        for window in windows:
            if day in window:
                members[window].append(index)
    shares = _shares([len(members[w]) for w in windows], articles)
    chosen = [sample(members[w], documents, share) for w, share in zip(windows, shares, strict=True)]
    total = sum(map(len, chosen))
    done = 0
    found = []
    for window, indices in zip(windows, chosen, strict=True):
        sentences: list[str] = []
        owners: list[int] = []
        for index in indices:
            for sentence in split_sentences(documents[index]):
                sentences.append(sentence)
                owners.append(index)
        words: list[tuple[str, ...]] = []
        before = -1
        for owner, analysis in zip(owners, analyse(sentences), strict=True):
            words.append(tuple(dict.fromkeys(analysis.words)))
            if owner != before:
                before = owner
                done += 1
                if done % 100 == 0:
                    progress("words of articles", done, total)
        weight = [decay_factor ** (newest - dates[owner]).days for owner in owners]
        found.append(WindowSample(window, sentences, words, owners, weight))
    progress("words of articles", total, total)
    return found


def _shares(sizes: Sequence[int], total: int) -> list[int]:
    """Split ``total`` evenly, giving what one does not need to the others."""
    shares = [0] * len(sizes)
    left = total
    for rank, index in enumerate(sorted(range(len(sizes)), key=lambda i: sizes[i])):
        shares[index] = min(sizes[index], left // (len(sizes) - rank))
        left -= shares[index]
    return shares


def occurrences(sample_: WindowSample, wanted: set[str]) -> Iterator[tuple[int, str, int, int]]:
    """(sentence, word, start, end): the first place of each wanted word in each sentence, in characters.

    Only where it stands by itself: 인공 inside 인공지능 has the context of 인공지능, not one of its own.
    """
    for index, (sentence, words) in enumerate(zip(sample_.sentences, sample_.words, strict=True)):
        upper = sentence.upper()
        if len(upper) != len(sentence) or not any(word in wanted for word in words):
            continue
        taken = bytearray(len(sentence))
        for word in sorted(words, key=len, reverse=True):
            start = upper.find(word)
            while start >= 0 and any(taken[start : start + len(word)]):
                start = upper.find(word, start + 1)
            if start >= 0:
                taken[start : start + len(word)] = b"\1" * len(word)
                if word in wanted:
                    yield index, word, start, start + len(word)
