"""Synonym pairs with evidence, and groups of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SynonymPair:
    """Two words that may be synonyms; ``a < b``. ``evidence`` holds what speaks for and against them."""

    a: str
    b: str
    source: str  # alias, cluster
    similarity: float | None = None  # cosine, mean over the windows weighted by time; None without embeddings
    confidence: float = 0.0  # 0..1
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """The two words."""
        return (self.a, self.b)


@dataclass(frozen=True)
class SynonymGroup:
    """Words of which every two are synonyms; ``confidence`` is that of the weakest two."""

    words: tuple[str, ...]
    confidence: float
    evidence: dict[str, Any] = field(default_factory=dict)


def ordered(a: str, b: str) -> tuple[str, str]:
    """The two words in alphabetical order, as pairs are stored."""
    return (a, b) if a <= b else (b, a)


def complete_groups(pairs: Iterable[SynonymPair], threshold: float = 0.0) -> list[SynonymGroup]:
    """Groups in which every two words are a pair with at least ``threshold`` confidence (cliques: no chains).

    A word may be in several groups (한은 = 한국은행 = BOK is one group only with 한은 = BOK). Every pair is in a group.
    """
    edges = {pair.key: pair for pair in pairs if pair.confidence >= threshold and pair.a != pair.b}
    near: dict[str, set[str]] = defaultdict(set)
    for a, b in edges:
        near[a].add(b)
        near[b].add(a)
    covered: set[tuple[str, str]] = set()
    groups = []
    for a, b in sorted(edges, key=lambda key: (-edges[key].confidence, key)):
        if (a, b) in covered:
            continue
        members = [a, b]
        while candidates := set.intersection(*(near[word] for word in members)):
            members.append(max(candidates, key=lambda w: (min(edges[ordered(w, m)].confidence for m in members), w)))
        inside = [edges[ordered(x, y)] for i, x in enumerate(members) for y in members[i + 1 :]]
        covered.update(pair.key for pair in inside)
        evidence = [
            {"a": p.a, "b": p.b, "source": p.source, "similarity": p.similarity, "confidence": round(p.confidence, 4)}
            | {name: p.evidence[name] for name in ("alias", "verdicts") if name in p.evidence}
            for p in sorted(inside, key=lambda p: p.key)
        ]
        groups.append(SynonymGroup(tuple(sorted(members)), min(p.confidence for p in inside), {"pairs": evidence}))
    return groups
