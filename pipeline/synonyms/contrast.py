"""Usage of word pairs in sentences, as evidence for and against synonymy.

Embeddings put antonyms, rivals and members of a list close together (금리인상 / 금리인하: .96). Usage separates them:
they are coordinated ("A와 B", "A·B", "A, B"), they differ in a productive contrast (a part that alternates in many
words: 수출 / 수입, 유출 / 유입, 진출 / 진입), or they differ in a number. Synonyms replace each other, so they seldom
share a sentence.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from pipeline.synonyms.windows import WindowSample, occurrences

_BETWEEN = re.compile(
    r"[’'”\"]?\s*(?:와|과|나|이나|이냐|하고|·|,|/|및|또는|혹은|대|보다|에서|부터|~|→|vs)\s*(?:및|또는|혹은)?\s*[‘'“\"]?"
)
_DIGITS = re.compile(r"\d+")
_NEAR = 12  # characters between two words that stand side by side, at most
PRODUCTIVE_STEMS = 3  # stems that a contrast must appear with
PRODUCTIVE_SHARE = 0.15  # and their share of all stems that the rarer part appears with


@dataclass(frozen=True)
class Use:
    """Usage counts of two words in the sampled sentences."""

    sentences_a: int
    sentences_b: int
    together: int  # sentences with both
    side_by_side: int  # sentences that coordinate them: "A와 B"
    context: float  # cosine of what else stands in their sentences (positive PMI), each other left out
    contrast: str  # "" or the parts they differ in: 인상/인하

    def to_json(self) -> dict[str, object]:
        """Plain values for the evidence of a pair."""
        return {**asdict(self), "context": round(self.context, 4)}


class Usage:
    """Usage counts of all pairs of ``words`` in the samples."""

    def __init__(self, samples: Sequence[WindowSample], words: Sequence[str]) -> None:
        self.row = {word: index for index, word in enumerate(words)}
        wanted = set(words)
        lines: list[int] = []
        columns: list[int] = []
        self.side_by_side: Counter[tuple[str, str]] = Counter()
        offset = 0
        for sample in samples:
            here: list[tuple[str, int, int]] = []
            current = -1
            for index, word, start, end in occurrences(sample, wanted):
                lines.append(offset + index)
                columns.append(self.row[word])
                if index != current:
                    self._coordinate(sample.sentences[current] if current >= 0 else "", here)
                    here, current = [], index
                here.append((word, start, end))
            if current >= 0:
                self._coordinate(sample.sentences[current], here)
            offset += len(sample.sentences)
        ones = np.ones(len(lines), dtype=np.float32)
        matrix = sp.csr_matrix((ones, (lines, columns)), shape=(max(1, offset), max(1, len(words))))
        self.joint = (matrix.T @ matrix).tocsr()
        self.single = np.asarray(matrix.sum(axis=0)).ravel()
        self.sentences = offset
        self.ppmi = self._ppmi()
        self.contrasts = Contrasts({word for sample in samples for words_ in sample.words for word in words_})

    def _coordinate(self, sentence: str, here: list[tuple[str, int, int]]) -> None:
        ordered = sorted(here, key=lambda place: place[1])
        for (a, _, end), (b, start, _) in pairwise(ordered):
            if 0 <= start - end <= _NEAR and _BETWEEN.fullmatch(sentence[end:start]):
                self.side_by_side[min(a, b), max(a, b)] += 1

    def _ppmi(self) -> sp.csr_matrix:
        """Positive pointwise mutual information of words in a sentence, the diagonal left out."""
        joint = self.joint.tocoo()
        keep = (joint.row != joint.col) & (joint.data > 1)
        row, col, data = joint.row[keep], joint.col[keep], joint.data[keep]
        value = np.log(data * max(1, self.sentences) / (self.single[row] * self.single[col]))
        positive = value > 0
        shape = self.joint.shape
        return sp.csr_matrix((value[positive], (row[positive], col[positive])), shape=shape)

    def of(self, a: str, b: str) -> Use:
        """How two words are used; words that were not sampled have no sentences."""
        i, j = self.row.get(a), self.row.get(b)
        if i is None or j is None:
            count = [0 if k is None else int(self.single[k]) for k in (i, j)]
            return Use(count[0], count[1], 0, 0, 0.0, self.contrasts.between(a, b))
        x, y = self.ppmi[i].toarray().ravel(), self.ppmi[j].toarray().ravel()
        x[[i, j]] = y[[i, j]] = 0
        norm = float(np.linalg.norm(x) * np.linalg.norm(y))
        return Use(
            int(self.single[i]),
            int(self.single[j]),
            int(self.joint[i, j]),
            self.side_by_side[min(a, b), max(a, b)],
            float(x @ y) / norm if norm else 0.0,
            self.contrasts.between(a, b),
        )

    def coordinated(self, least: int = 2) -> list[tuple[str, str]]:
        """Pairs that at least ``least`` sentences coordinate: members of lists, rivals, opposites."""
        return sorted(pair for pair, count in self.side_by_side.items() if count >= least)


class Contrasts:
    """Productive contrasts: parts that alternate in many words of the corpus (인상/인하, 출/입, 남/북)."""

    def __init__(self, words: Iterable[str]) -> None:
        self.heads: dict[str, set[str]] = defaultdict(set)  # first part -> what follows it
        self.tails: dict[str, set[str]] = defaultdict(set)  # last part -> what precedes it
        for word in words:
            for cut in (1, 2):
                if len(word) > cut:
                    self.heads[word[:cut]].add(word[cut:])
                    self.tails[word[-cut:]].add(word[:-cut])

    def between(self, a: str, b: str) -> str:
        """The contrast between two words as "p/q"; empty where they differ in another way."""
        if a != b and _DIGITS.sub("#", a) == _DIGITS.sub("#", b) and _DIGITS.search(a):
            return "/".join(_DIGITS.findall(a)[:1] + _DIGITS.findall(b)[:1])
        start = 0
        while start < min(len(a), len(b)) and a[start] == b[start]:
            start += 1
        end = 0
        while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
            end += 1
        p, q = a[start : len(a) - end], b[start : len(b) - end]
        if not p or not q or (start and end) or not (start or end) or max(len(p), len(q)) > 2:
            return ""
        places = self.tails if start else self.heads
        p_stems, q_stems = places.get(p, set()), places.get(q, set())
        shared = len(p_stems & q_stems)
        if shared < PRODUCTIVE_STEMS or shared < PRODUCTIVE_SHARE * min(len(p_stems), len(q_stems)):
            return ""
        return f"{p}/{q}"

    def pairs(self, words: Sequence[str], most: int) -> list[tuple[str, str, str]]:
        """Up to ``most`` pairs of ``words`` that differ in a productive contrast."""
        by_stem: dict[tuple[bool, str], list[str]] = defaultdict(list)
        for word in words:
            for cut in (1, 2):
                if len(word) > cut:
                    by_stem[True, word[:-cut]].append(word)
                    by_stem[False, word[cut:]].append(word)
        found: dict[tuple[str, str], str] = {}
        for _, group in sorted(by_stem.items()):
            for n, a in enumerate(group):
                for b in group[n + 1 :]:
                    pair = (min(a, b), max(a, b))
                    if a != b and pair not in found and (contrast := self.between(*pair)):
                        found[pair] = contrast
                        if len(found) >= most:
                            return [(x, y, c) for (x, y), c in found.items()]
        return [(x, y, c) for (x, y), c in found.items()]
