"""Grouping of trending words and phrases, so that each event is shown once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Entry:
    """A trending word with the words shown as parts of it, and longer or neighbouring phrases shown with it."""

    word: str
    stories: int
    strength: float
    parts: list[str] = field(default_factory=list)
    phrases: list[str] = field(default_factory=list)


def contains(phrase: str, part: str) -> bool:
    """Whether ``part`` is inside the longer word or phrase ``phrase``, at the start or end of one of its words."""
    if len(part) >= len(phrase):
        return False
    if " " in part:
        return part in phrase
    return any(word.startswith(part) or word.endswith(part) for word in phrase.split())


def group(
    words: Sequence[str],
    stories: Mapping[str, int],
    strength: Mapping[str, float],
    share: float,
    needed: Mapping[str, float] | None = None,
) -> list[Entry]:
    """Group trends by event, by falling strength.

    A word is shown as part of a longer one that has at least ``share`` of its stories (`비상계엄 선포` rather than
    `계엄` and `선포`), or without whose stories it would have fewer than it ``needed`` to be a trend (`존중` on the day
    of `헌법존중 TF`). Of several such longer ones, one represents the others (`무라오카 다카미쓰` for `다카미쓰 별세`).
    A longer one with fewer stories is a detail of the word it contains.
    """
    least = needed or {}
    entries = {word: Entry(word, stories[word], strength[word]) for word in words}
    into: dict[str, str] = {}
    # Shortest first, so that a part is gone before what holds it is looked at; ties by word, to be the same always.
    for part in sorted(entries, key=lambda w: (len(w), w)):
        enough = min(share * stories[part], stories[part] - least.get(part, 0.0))
        phrases = [w for w in entries if contains(w, part) and stories[w] >= enough]
        if phrases:
            # The phrase with most stories represents it; of equals the shorter one.
            best = min(phrases, key=lambda w: (-stories[w], len(w), w))
            _show_with(into, part, best)
            for other in phrases:
                apart = not contains(other, best) and not contains(best, other)
                if other not in into and apart and stories[other] >= share * stories[part]:
                    _show_with(into, other, best)
    for phrase in sorted(entries, key=lambda w: (-len(w), w)):
        if phrase in into:
            continue
        parts = [
            w for w in entries if contains(phrase, w) and into.get(w) != phrase and strength[w] >= strength[phrase]
        ]
        standing = [w for w in parts if w not in into]
        if standing:
            _show_with(into, phrase, max(standing, key=lambda w: (strength[w], -len(w), w)))
    for word in into:
        final = _end(into, word)
        shown = entries[final].parts if contains(final, word) else entries[final].phrases
        if word not in shown:
            shown.append(word)
    kept = [entry for word, entry in entries.items() if word not in into]
    for entry in kept:
        entry.parts.sort(key=lambda w: (-stories[w], w))
        entry.phrases.sort(key=lambda w: (-stories[w], w))
    return sorted(kept, key=lambda e: (-e.strength, e.word))


def _show_with(into: dict[str, str], word: str, other: str) -> None:
    """Show a word with another, unless that one is shown with it already."""
    if _end(into, other) != word:
        into[word] = other


def _end(into: Mapping[str, str], word: str) -> str:
    """The entry that a word is shown with, through all that it is shown with on the way."""
    while word in into:
        word = into[word]
    return word
