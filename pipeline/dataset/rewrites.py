"""The same query in other words: aliases an article itself gives, and validated synonym groups."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# "한국은행(한은)", "인공지능(AI)": a name and, at once behind it, another in brackets.
_ALIAS = re.compile(r"([0-9A-Za-z가-힣·]{2,20})\s?\(([0-9A-Za-z가-힣·]{2,20})\)")
_LETTER = "0-9A-Za-z가-힣"


@dataclass(frozen=True)
class SynonymGroup:
    """Words that may stand for one another, and how sure that is (0 to 1)."""

    words: tuple[str, ...]
    confidence: float


def aliases(text: str) -> list[tuple[str, str]]:
    """Pairs (name, other name) that the text itself introduces, numbers left out."""
    return [(a, b) for a, b in _ALIAS.findall(text) if a != b and not a.isdigit() and not b.isdigit()]


class Rewriter:
    """Rewrites queries by synonym groups."""

    def __init__(self, groups: Iterable[SynonymGroup], minimum_confidence: float) -> None:
        others: dict[str, list[str]] = defaultdict(list)
        for group in groups:
            if group.confidence >= minimum_confidence:
                for word in group.words:
                    others[word] += [other for other in group.words if other != word and other not in others[word]]
        self._others = dict(others)
        words = sorted(self._others, key=lambda word: (-len(word), word))
        # At the start of a word only: Korean puts its particles behind.
        pattern = f"(?<![{_LETTER}])(?:{'|'.join(map(re.escape, words))})"
        self._pattern = re.compile(pattern) if words else None

    def rewrite(self, query: str) -> list[tuple[str, str]]:
        """(kind, query) with one word of a group replaced by another of it, each possibility once."""
        if self._pattern is None:
            return []
        found = []
        for match in self._pattern.finditer(query):
            for other in self._others[match.group()]:
                found.append(("synonym", query[: match.start()] + other + query[match.end() :]))
        return list(dict.fromkeys(found))

    @staticmethod
    def by_aliases(query: str, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """(kind, query) with one name replaced by the other that the article gives, in either direction."""
        found = []
        for a, b in pairs:
            for name, other in ((a, b), (b, a)):
                match = re.search(f"(?<![{_LETTER}]){re.escape(name)}", query)
                # Not where both names stand already: "한국은행(한은)" would become "한은(한은)".
                if match and other not in query:
                    found.append(("alias", query[: match.start()] + other + query[match.end() :]))
        return list(dict.fromkeys(found))
