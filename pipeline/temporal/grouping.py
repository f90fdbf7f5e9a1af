"""From many scored words and phrases to the few that a person reads: wholes before halves, details with their word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Entry:
    """A trending word: ``parts`` are words shown as part of it, ``phrases`` longer ones shown with it."""

    word: str
    stories: int
    strength: float
    parts: list[str] = field(default_factory=list)
    phrases: list[str] = field(default_factory=list)


def contains(whole: str, part: str) -> bool:
    """Whether ``part`` stands inside the longer word or phrase ``whole``, at the start or end of one of its words."""
    if len(part) >= len(whole):
        return False
    if " " in part:
        return part in whole
    return any(word.startswith(part) or word.endswith(part) for word in whole.split())


def group(words: Sequence[str], stories: Mapping[str, int], strength: Mapping[str, float], share: float) -> list[Entry]:
    """Trends by strength, each event once.

    A word of which a longer one makes up ``share`` of the stories is shown as its part (`비상계엄 선포` rather than
    `계엄` and `선포`); a longer one that makes up less is a detail, shown with the word it holds.
    """
    entries = {word: Entry(word, stories[word], strength[word]) for word in words}
    into: dict[str, str] = {}
    # Shortest first, so that a part is gone before what holds it is looked at; ties by word, to be the same always.
    for part in sorted(entries, key=lambda w: (len(w), w)):
        wholes = [w for w in entries if contains(w, part) and stories[w] >= share * stories[part]]
        if wholes:
            # The whole with most stories says it best; of equals the shorter one.
            into[part] = min(wholes, key=lambda w: (-stories[w], len(w), w))
    for whole in sorted(entries, key=lambda w: (-len(w), w)):
        if whole in into:
            continue
        parts = [w for w in entries if contains(whole, w) and into.get(w) != whole and strength[w] >= strength[whole]]
        standing = [w for w in parts if w not in into]
        if standing:
            into[whole] = max(standing, key=lambda w: (strength[w], -len(w), w))
            entries[into[whole]].phrases.append(whole)
    for word, target in into.items():
        final, seen = target, {word}
        while final in into and final not in seen:
            seen.add(final)
            final = into[final]
        if final not in seen and contains(final, word):
            entries[final].parts.append(word)
    kept = [entry for word, entry in entries.items() if word not in into]
    for entry in kept:
        entry.parts.sort(key=lambda w: (-stories[w], w))
        entry.phrases.sort(key=lambda w: (-stories[w], w))
    return sorted(kept, key=lambda e: (-e.strength, e.word))
