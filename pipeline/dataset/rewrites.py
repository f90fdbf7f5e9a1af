"""The same query in other words: names that the articles write as aliases, and validated synonym groups."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.text.aliases import Alias

_LETTER = "0-9A-Za-z가-힣"


@dataclass(frozen=True)
class SynonymGroup:
    """Words that may stand for one another, and how sure that is (0 to 1)."""

    words: tuple[str, ...]
    confidence: float


def alias_groups(aliases: Iterable[Alias]) -> list[SynonymGroup]:
    """Aliases as groups of two. Appositions are left out: "홍길동(서울)" is a label as often as another name."""
    return [SynonymGroup((a.long, a.short), a.confidence) for a in aliases if a.kind != "apposition"]


class Rewriter:
    """Rewrites queries by groups of words; ``kind`` names what the rewritten queries are."""

    def __init__(self, groups: Iterable[SynonymGroup], minimum_confidence: float, kind: str = "synonym") -> None:
        self.kind = kind
        others: dict[str, list[str]] = defaultdict(list)
        for group in groups:
            if group.confidence >= minimum_confidence:
                for word in group.words:
                    others[word] += [other for other in group.words if other != word and other not in others[word]]
        self._others = dict(others)
        words = sorted(self._others, key=lambda word: (-len(word), word))
        # At the start of a word only, as Korean puts its particles behind; Latin letters end with the word (AI, AIDS).
        ends = (re.escape(word) + ("(?![0-9A-Za-z])" if word[-1:].isascii() else "") for word in words)
        self._pattern = re.compile(f"(?<![{_LETTER}])(?:{'|'.join(ends)})") if words else None

    def rewrite(self, query: str) -> list[tuple[str, str]]:
        """(kind, query) with one word of a group replaced by another of it, each possibility once.

        Not where both are there already: "한국은행(한은)" would become "한은(한은)".
        """
        if self._pattern is None:
            return []
        return list(
            dict.fromkeys(
                (self.kind, query[: match.start()] + other + query[match.end() :])
                for match in self._pattern.finditer(query)
                for other in self._others[match.group()]
                if other not in query
            )
        )
