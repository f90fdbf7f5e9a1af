"""Synonym candidates: aliases in the text, and nearest neighbours inside a cluster.

Cosine thresholds do not transfer between embeddings (.75 passes half of all pairs in one and none in another), so they
are calibrated on random pairs of the same window. The confidence of a pair is 1 minus the number of words that would be
as close to a given word by chance.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.synonyms.clusters import TemporalClusters, cluster_tokens_temporal
from pipeline.synonyms.contrast import Usage
from pipeline.synonyms.embeddings import TemporalEmbeddings, WindowEmbeddings
from pipeline.synonyms.pairs import SynonymGroup, SynonymPair, complete_groups, ordered
from pipeline.text.aliases import Alias, compact, find_aliases
from pipeline.text.words import canonical

RANDOM_RATE = 0.0005  # share of random pairs of a window that the calibrated similarity threshold lets through
_MOST_RANDOM = 2000  # words whose pairs are the random pairs of a window: two million of them


def share_affix(a: str, b: str) -> bool:
    """Whether two words begin or end with the same syllable. They share subwords, so their cosine is higher."""
    return a[0] == b[0] or a[-1] == b[-1]


@dataclass(frozen=True)
class Calibration:
    """Cosines of random pairs of a window, ascending; pairs that share an affix (`share_affix`) separately."""

    cosines: NDArray[np.float32]  # of pairs without a common affix
    affix_cosines: NDArray[np.float32]
    words: int

    @classmethod
    def of(cls, snapshot: WindowEmbeddings, seed: int = 13) -> Calibration:
        """From all pairs of the window's words, or of a random choice of them."""
        rows = np.arange(len(snapshot.words))
        if len(rows) > _MOST_RANDOM:
            rows = np.sort(np.random.default_rng(seed).choice(len(rows), _MOST_RANDOM, replace=False))
        vectors = snapshot.vectors[rows]
        first = np.array([ord(snapshot.words[i][0]) for i in rows])
        last = np.array([ord(snapshot.words[i][-1]) for i in rows])
        upper = np.triu_indices(len(rows), 1)
        cosines = (vectors @ vectors.T)[upper]
        affix = ((first[:, None] == first) | (last[:, None] == last))[upper]
        return cls(np.sort(cosines[~affix]), np.sort(cosines[affix]), len(rows))

    def tail(self, cosine: float, affix: bool = False) -> float:
        """Share of random pairs of the same kind with at least this cosine (a p-value, never 0)."""
        cosines = self.affix_cosines if affix else self.cosines
        above = len(cosines) - int(np.searchsorted(cosines, cosine, side="left"))
        return max(1, above) / (len(cosines) + 1)

    def threshold(self, rate: float) -> float:
        """The cosine that a share ``rate`` of random pairs reaches; infinite without pairs."""
        if not len(self.cosines):
            return float("inf")
        return float(np.quantile(self.cosines, 1 - rate, method="higher"))

    def confidence(self, cosine: float, affix: bool = False) -> float:
        """1 minus the expected number of words that are as close to a given word by chance (an E-value), at least 0."""
        partners = 2 * len(self.affix_cosines if affix else self.cosines) / max(1, self.words)
        return max(0.0, 1 - self.tail(cosine, affix) * partners)


@dataclass(frozen=True)
class Closeness:
    """Similarity of two words over the windows; recent windows have larger weights."""

    similarity: float
    confidence: float
    surprise: float  # -log10 of the share of random pairs that are as close
    windows: list[dict[str, Any]]


class Neighbourhood:
    """Closeness of words over the windows of ``embeddings``."""

    def __init__(
        self, embeddings: TemporalEmbeddings, dates: Sequence[dt.date] = (), decay_factor: float = 0.95
    ) -> None:
        self.windows = embeddings.windows
        self.calibrations = [Calibration.of(snapshot) for snapshot in self.windows]
        newest = max((snapshot.window.last for snapshot in self.windows), default=dt.date.min)
        self.weights = []
        for snapshot in self.windows:
            ages = [(newest - day).days for day in dates if day in snapshot.window]
            if not ages:
                middle = snapshot.window.first + (snapshot.window.last - snapshot.window.first) / 2
                ages = [(newest - middle).days]
            self.weights.append(float(np.mean([decay_factor**age for age in ages])))

    def of(self, a: str, b: str) -> Closeness | None:
        """None where the two never have embeddings in the same window."""
        total = similarity = confidence = surprise = 0.0
        windows = []
        for snapshot, calibration, recency in zip(self.windows, self.calibrations, self.weights, strict=True):
            cosine = snapshot.similarity(a, b)
            if cosine is None:
                continue
            # The evidence of a window is limited by the rarer word.
            weight = recency * min(int(snapshot.articles[snapshot.row[a]]), int(snapshot.articles[snapshot.row[b]]))
            total += weight
            similarity += weight * cosine
            confidence += weight * calibration.confidence(cosine, share_affix(a, b))
            surprise += weight * -np.log10(calibration.tail(cosine, share_affix(a, b)))
            windows.append({"window": str(snapshot.window), "cosine": round(cosine, 4)})
        if total <= 0:
            return None
        return Closeness(similarity / total, confidence / total, float(surprise / total), windows)

    def nearest(self, index: int, rate: float, neighbours: int) -> list[tuple[str, str]]:
        """Pairs of window ``index`` that are mutual nearest neighbours and above the threshold."""
        snapshot = self.windows[index]
        if len(snapshot.words) < 3:
            return []
        cosines = snapshot.vectors @ snapshot.vectors.T
        np.fill_diagonal(cosines, -2)
        count = min(neighbours, len(snapshot.words) - 1)
        near = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        close = np.zeros_like(cosines, dtype=bool)
        np.put_along_axis(close, near, True, axis=1)
        close &= close.T & (cosines >= self.calibrations[index].threshold(rate))
        rows, columns = np.nonzero(np.triu(close, 1))
        return [ordered(snapshot.words[i], snapshot.words[j]) for i, j in zip(rows, columns, strict=True)]

    def to_json(self, rate: float) -> list[dict[str, Any]]:
        """The calibration of each window."""
        return [
            {
                "window": str(snapshot.window),
                "words": len(snapshot.words),
                "random_pairs": len(calibration.cosines),
                "random_rate": rate,
                "threshold": None if not len(calibration.cosines) else round(calibration.threshold(rate), 4),
                "median": None if not len(calibration.cosines) else round(float(np.median(calibration.cosines)), 4),
            }
            for snapshot, calibration in zip(self.windows, self.calibrations, strict=True)
        ]


def alias_pairs(
    aliases: Sequence[Alias], near: Neighbourhood | None = None, usage: Usage | None = None
) -> list[SynonymPair]:
    """Aliases as pairs.

    An apposition (중의원(하원), but also 김길리(성남시청)) is a candidate only when the text writes it in both
    directions or the embeddings agree; acronyms and abbreviations need neither.
    """
    found = []
    for alias in aliases:
        a, b = ordered(alias.long, alias.short)
        closeness = near.of(form(a), form(b)) if near else None
        if alias.kind == "apposition":
            mutual = alias.forward > 0 and alias.backward > 0 and alias.stories >= 3
            if not mutual and (closeness is None or closeness.confidence <= 0):
                continue
        evidence: dict[str, Any] = {
            "alias": {
                "long": alias.long,
                "short": alias.short,
                "kind": alias.kind,
                "forward": alias.forward,
                "backward": alias.backward,
                "share": round(alias.share, 4),
                "weight": round(alias.weight, 4),
                "first": alias.first.isoformat(),
                "last": alias.last.isoformat(),
                "examples": list(alias.examples),
            }
        }
        evidence |= measured(form(a), form(b), closeness, usage)
        similarity = closeness.similarity if closeness else None
        found.append(SynonymPair(a, b, "alias", similarity, alias.confidence, evidence))
    return found


def form(word: str) -> str:
    """The form of a word in the embeddings: canonical as of the analyser, without spaces."""
    return canonical(compact(word))


def measured(a: str, b: str, closeness: Closeness | None, usage: Usage | None) -> dict[str, Any]:
    """Evidence of embeddings and usage for a pair, JSON-able."""
    evidence: dict[str, Any] = {}
    if closeness is not None:
        evidence["closeness"] = {
            "confidence": round(closeness.confidence, 4),
            "surprise": round(closeness.surprise, 4),
            "windows": closeness.windows,
        }
    if usage is not None:
        evidence["use"] = usage.of(a, b).to_json()
    return evidence


def cluster_pairs(
    clusters: TemporalClusters,
    near: Neighbourhood,
    usage: Usage | None = None,
    *,
    random_rate: float = RANDOM_RATE,
    neighbours: int = 1,
) -> list[SynonymPair]:
    """Mutual nearest neighbours in one cluster of any window, unless one word contains the other (기업, 대기업)."""
    together: dict[tuple[str, str], list[str]] = {}
    for index, window in enumerate(clusters.windows):
        label = dict(zip(window.words, map(int, window.labels), strict=True))
        for a, b in near.nearest(index, random_rate, neighbours):
            if label[a] == label[b] >= 0 and a not in b and b not in a:
                together.setdefault((a, b), []).append(str(window.window))
    found = []
    for (a, b), windows in together.items():
        closeness = near.of(a, b)
        if closeness is None:
            continue
        evidence = {"clusters": windows} | measured(a, b, closeness, usage)
        found.append(SynonymPair(a, b, "cluster", closeness.similarity, closeness.confidence, evidence))
    return sorted(found, key=lambda p: (-p.confidence, -(p.similarity or 0), p.key))


def discover_synonyms_temporal(
    documents: Sequence[str],
    dates: Sequence[dt.date],
    embeddings: TemporalEmbeddings,
    decay_factor: float = 0.95,
    *,
    clusters: TemporalClusters | None = None,
    usage: Usage | None = None,
    near: Neighbourhood | None = None,
    aliases: Sequence[Alias] | None = None,
    random_rate: float = RANDOM_RATE,
    neighbours: int = 1,
) -> list[SynonymPair]:
    """Synonym candidates (plan 4.3): aliases of the documents and neighbours inside clusters, best first.

    A window counts by ``decay_factor ** age`` of its documents, so that recent use weighs more. The similarity
    threshold of a window is what a share ``random_rate`` of its random pairs reaches. Nothing here is validated.
    """
    near = near or Neighbourhood(embeddings, dates, decay_factor)
    clusters = clusters or cluster_tokens_temporal(embeddings)
    aliases = find_aliases(documents, dates, decay_factor=decay_factor) if aliases is None else aliases
    found: dict[tuple[str, str], SynonymPair] = {}
    for pair in alias_pairs(aliases, near, usage):
        found.setdefault(ordered(form(pair.a), form(pair.b)), pair)
    for pair in cluster_pairs(clusters, near, usage, random_rate=random_rate, neighbours=neighbours):
        existing = found.get(pair.key)
        if existing is None:
            found[pair.key] = pair
        else:
            existing.evidence["clusters"] = pair.evidence["clusters"]
    return sorted(found.values(), key=lambda p: (p.source != "alias", -p.confidence, p.key))


def build_synonym_groups_from_clusters(
    clusters: TemporalClusters, embeddings: TemporalEmbeddings, threshold: float = 0.8
) -> list[SynonymGroup]:
    """Groups of words of one cluster (plan 4.4) in which every two have at least ``threshold`` confidence.

    The confidence is calibrated (`Calibration.confidence`): 0.8 means that a fifth of a word would be as close by
    chance. Complete link: a chain A-B-C whose ends are not close is no group. Not validated: see `validate`.
    """
    near = Neighbourhood(embeddings)
    pairs = cluster_pairs(
        clusters, near, random_rate=1.0, neighbours=max((len(w.words) for w in near.windows), default=1)
    )
    return complete_groups(pairs, threshold)
