"""Labelled pairs, derived from the corpus, that validators are evaluated on (weak supervision).

Positives: acronyms and abbreviations that the text writes in parentheses (text in parentheses is left out of all
counts). Negatives: random pairs, pairs that differ in a productive contrast, and pairs that the text coordinates. No
pair is scored by the evidence that labelled it: contrasts are withheld, and coordinated pairs are found in one half of
the articles and measured in the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.synonyms.candidates import Neighbourhood, form, measured
from pipeline.synonyms.contrast import Usage
from pipeline.synonyms.pairs import ordered
from pipeline.synonyms.validators.proof import Question
from pipeline.synonyms.windows import WindowSample
from pipeline.text.aliases import Alias


def halves(samples: Sequence[WindowSample]) -> tuple[list[WindowSample], list[WindowSample]]:
    """The samples split into those of even and of odd documents."""
    split = []
    for parity in (0, 1):
        split.append(
            [
                WindowSample(
                    sample.window,
                    [sample.sentences[i] for i in keep],
                    [sample.words[i] for i in keep],
                    [sample.documents[i] for i in keep],
                    [sample.weight[i] for i in keep],
                )
                for sample in samples
                for keep in [[i for i, number in enumerate(sample.documents) if number % 2 == parity]]
            ]
        )
    return split[0], split[1]


def labelled_pairs(
    samples: Sequence[WindowSample],
    words: Sequence[str],
    neighbourhood: Neighbourhood,
    aliases: Sequence[Alias],
    *,
    limit: int,
    seed: int,
) -> tuple[list[Question], list[Question]]:
    """Positive and negative pairs of embedded words, at most ``limit`` of each."""
    labelling, measuring = halves(samples)
    usage = Usage(measuring, words)
    embedded = {word for snapshot in neighbourhood.windows for word in snapshot.words}
    aliased = {ordered(form(a.long), form(a.short)) for a in aliases}

    def question(a: str, b: str) -> Question:
        evidence: dict[str, Any] = measured(a, b, neighbourhood.of(a, b), usage)
        evidence["use"]["contrast"] = ""
        return Question(a, b, evidence)

    positive = [
        question(*ordered(form(a.long), form(a.short)))
        for a in aliases
        if a.kind != "apposition" and form(a.long) in embedded and form(a.short) in embedded
    ][:limit]
    random = np.random.default_rng(seed)
    pool = sorted(embedded)
    chosen: dict[tuple[str, str], None] = {}
    for _ in range(limit * 4 if len(pool) > 1 else 0):
        i, j = random.choice(len(pool), 2, replace=False)
        chosen.setdefault(ordered(pool[i], pool[j]))
        if len(chosen) >= limit:
            break
    contrasts = [(a, b) for a, b, _ in usage.contrasts.pairs(pool, limit * 20)]
    random.shuffle(contrasts)
    # The closest coordinated pairs: rivals and members of one list are the hardest negatives.
    coordinated = [pair for pair in Usage(labelling, words).coordinated(1) if set(pair) <= embedded]
    coordinated.sort(key=lambda pair: (-_surprise(neighbourhood, *pair), pair))
    for pair in contrasts[: limit // 2] + coordinated[: limit // 2]:
        chosen.setdefault(ordered(*pair))
    negative = [question(a, b) for a, b in chosen if (a, b) not in aliased and a not in b and b not in a]
    return positive, negative


def _surprise(neighbourhood: Neighbourhood, a: str, b: str) -> float:
    closeness = neighbourhood.of(a, b)
    return closeness.surprise if closeness else 0.0
