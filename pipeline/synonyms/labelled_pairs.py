"""Known pairs, made from the corpus itself, that validators have to prove themselves on.

Known synonyms: acronyms and abbreviations that the text writes in parentheses (with the parentheses taken out of
every count). Known non-synonyms: random pairs, pairs that differ in a productive contrast, and pairs that the text
coordinates. No pair is judged by the evidence that made it known: contrasts are withheld, and what is coordinated is
found in one half of the articles and measured in the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.synonyms.aliases import Alias
from pipeline.synonyms.candidates import Neighbourhood, form, measured
from pipeline.synonyms.contrast import Usage
from pipeline.synonyms.pairs import ordered
from pipeline.synonyms.validators.proof import Question
from pipeline.synonyms.windows import WindowSample


def halves(samples: Sequence[WindowSample]) -> tuple[list[WindowSample], list[WindowSample]]:
    """The samples' even and odd documents."""
    split = []
    for parity in (0, 1):
        split.append(
            [
                WindowSample(
                    held.window,
                    [held.sentences[i] for i in keep],
                    [held.words[i] for i in keep],
                    [held.documents[i] for i in keep],
                    [held.weight[i] for i in keep],
                )
                for held in samples
                for keep in [[i for i, number in enumerate(held.documents) if number % 2 == parity]]
            ]
        )
    return split[0], split[1]


def known_pairs(
    samples: Sequence[WindowSample],
    words: Sequence[str],
    near: Neighbourhood,
    aliases: Sequence[Alias],
    *,
    most: int,
    seed: int,
) -> tuple[list[Question], list[Question]]:
    """Known synonyms and known non-synonyms among the embedded words, at most ``most`` of each kind."""
    finding, measuring = halves(samples)
    usage = Usage(measuring, words)
    embedded = {word for held in near.windows for word in held.words}
    aliased = {ordered(form(a.long), form(a.short)) for a in aliases}

    def question(a: str, b: str) -> Question:
        evidence: dict[str, Any] = measured(a, b, near.of(a, b), usage)
        evidence["use"]["contrast"] = ""
        return Question(a, b, evidence)

    positive = [
        question(*ordered(form(a.long), form(a.short)))
        for a in aliases
        if a.kind != "apposition" and form(a.long) in embedded and form(a.short) in embedded
    ][:most]
    random = np.random.default_rng(seed)
    pool = sorted(embedded)
    chosen: dict[tuple[str, str], None] = {}
    for _ in range(most * 4 if len(pool) > 1 else 0):
        i, j = random.choice(len(pool), 2, replace=False)
        chosen.setdefault(ordered(pool[i], pool[j]))
        if len(chosen) >= most:
            break
    contrasts = [(a, b) for a, b, _ in usage.contrasts.pairs(pool, most * 20)]
    random.shuffle(contrasts)
    # The closest of what is coordinated: rivals and members of one list are what candidates are mistaken for.
    coordinated = [pair for pair in Usage(finding, words).coordinated(1) if set(pair) <= embedded]
    coordinated.sort(key=lambda pair: (-_surprise(near, *pair), pair))
    for pair in contrasts[: most // 2] + coordinated[: most // 2]:
        chosen.setdefault(ordered(*pair))
    negative = [question(a, b) for a, b in chosen if (a, b) not in aliased and a not in b and b not in a]
    return positive, negative


def _surprise(near: Neighbourhood, a: str, b: str) -> float:
    closeness = near.of(a, b)
    return closeness.surprise if closeness else 0.0
