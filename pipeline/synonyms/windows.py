"""Time windows, and the sample of sentences that represents each."""

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
    """Windows up to ``newest``, oldest first.

    A number n means the last n days without those of smaller numbers: 30 and 90 give two windows, the last 30 days and
    the 60 before them. Other values are (first, last) days. Raises UsageError for windows that overlap: their clusters
    would share articles, so changes between them could not be interpreted.
    """
    lengths = sorted({w for w in time_windows if isinstance(w, int)})
    if lengths and lengths[0] < 1:
        raise UsageError(f"a window of {lengths[0]} days holds nothing: windows have at least 1 day")
    windows, end = [], newest
    for length in lengths:
        start = newest - dt.timedelta(days=length - 1)
        windows.append(Window(start, end))
        end = start - dt.timedelta(days=1)
    for given in time_windows:
        if not isinstance(given, int):
            first, last = (given.first, given.last) if isinstance(given, Window) else given
            if first > last:
                raise UsageError(f"the window {first}..{last} ends before it starts")
            windows.append(Window(first, last))
    windows.sort()
    if not windows:
        raise UsageError("name at least one window, such as time_windows=[30, 90, 365]")
    for before, after in pairwise(windows):
        if before.last >= after.first:
            raise UsageError(f"the windows {before} and {after} overlap: give windows without a common day")
    return windows


def split_sentences(text: str) -> list[str]:
    """Sentences of a text without parentheses (otherwise an alias and its long form would share a context there)."""
    text = _PARENTHESES.sub("", text)
    return [s[:_LONGEST] for part in _SENTENCE.split(text) if len(s := " ".join(part.split())) >= _SHORTEST]


def sample(items: Iterable[int], texts: Sequence[str], most: int) -> list[int]:
    """At most ``most`` of the ``items`` (indices into ``texts``), sampled by the hashes of the texts.

    The sample does not depend on the order of the texts, and a new text replaces at most one.
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
        """Document frequency of each word."""
        seen: Counter[str] = Counter()
        in_document: set[str] = set()
        current = -1
        for number, words in zip(self.documents, self.words, strict=True):
            if number != current:
                seen.update(in_document)
                in_document, current = set(), number
            in_document.update(words)
        seen.update(in_document)
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
    """Sentences and words of at most ``articles`` documents, distributed evenly over the windows.

    What a window with few documents does not use goes to the others. The cost is the morphological analysis: about 70
    articles of 500 characters for each second and core.
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
    samples = []
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
        samples.append(WindowSample(window, sentences, words, owners, weight))
    progress("words of articles", total, total)
    return samples


def _shares(sizes: Sequence[int], total: int) -> list[int]:
    """Distribute ``total`` evenly over the sizes; what one does not need goes to the others."""
    shares = [0] * len(sizes)
    left = total
    for rank, index in enumerate(sorted(range(len(sizes)), key=lambda i: sizes[i])):
        shares[index] = min(sizes[index], left // (len(sizes) - rank))
        left -= shares[index]
    return shares


def occurrences(sample_: WindowSample, wanted: set[str]) -> Iterator[tuple[int, str, int, int]]:
    """The first occurrence of each wanted word in each sentence: (sentence, word, start, end), in characters.

    Occurrences inside a longer word do not count: 인공 inside 인공지능 has the context of 인공지능.
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
