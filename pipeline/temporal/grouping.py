"""From many scored words and phrases to the few that a person reads: wholes before halves, details with their word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Entry:
    """A trending word: ``parts`` are words shown as part of it, ``phrases`` longer or neighbouring ones beside it."""

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


def group(
    words: Sequence[str],
    stories: Mapping[str, int],
    strength: Mapping[str, float],
    share: float,
    needed: Mapping[str, float] | None = None,
) -> list[Entry]:
    """Trends by strength, each event once.

    A word of which a longer one makes up ``share`` of the stories is shown as its part (`비상계엄 선포` rather than
    `계엄` and `선포`), and so is one that without the longer one's stories would have fewer than it ``needed`` to be a
    trend (`존중` on the day of `헌법존중 TF`). Of several longer ones that each make up the share, one stands for the
    others (`무라오카 다카미쓰` for `다카미쓰 별세`). A longer one that makes up less is a detail, shown with the word
    it holds.
    """
    least = needed or {}
    entries = {word: Entry(word, stories[word], strength[word]) for word in words}
    into: dict[str, str] = {}
    # Shortest first, so that a part is gone before what holds it is looked at; ties by word, to be the same always.
    for part in sorted(entries, key=lambda w: (len(w), w)):
        enough = min(share * stories[part], stories[part] - least.get(part, 0.0))
        wholes = [w for w in entries if contains(w, part) and stories[w] >= enough]
        if wholes:
            # The whole with most stories says it best; of equals the shorter one.
            best = min(wholes, key=lambda w: (-stories[w], len(w), w))
            _show_with(into, part, best)
            for other in wholes:
                apart = not contains(other, best) and not contains(best, other)
                if other not in into and apart and stories[other] >= share * stories[part]:
                    _show_with(into, other, best)
    for whole in sorted(entries, key=lambda w: (-len(w), w)):
        if whole in into:
            continue
        parts = [w for w in entries if contains(whole, w) and into.get(w) != whole and strength[w] >= strength[whole]]
        standing = [w for w in parts if w not in into]
        if standing:
            _show_with(into, whole, max(standing, key=lambda w: (strength[w], -len(w), w)))
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
