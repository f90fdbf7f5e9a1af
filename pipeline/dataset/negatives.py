"""Negatives of a query: half hard (ranked high by BM25), half random, without likely relevant documents."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipeline.dataset.leakage import overlap, shingles
from pipeline.errors import BadInputError, UsageError
from pipeline.ranking.bm25 import BM25, Tokenizer, bigrams, top


@dataclass(frozen=True)
class Mined:
    """Negatives of a pair, as positions of documents."""

    hard: list[int]
    random: list[int]


@dataclass(frozen=True)
class PairWithNegatives:
    """A query, its relevant document, and documents that are not relevant."""

    query: str
    positive: str
    hard: list[str]
    random: list[str]


def mine(
    queries: Sequence[str],
    positives: Sequence[int],
    documents: Sequence[str],
    *,
    top_k: int = 100,
    negatives: int = 8,
    hard_share: float = 0.5,
    margin: float = 0.95,
    near_duplicate: float = 0.4,
    stories: Sequence[int] | None = None,
    seed: int = 13,
    tokenize: Tokenizer = bigrams,
    refused: Counter[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Mined]:
    """Negatives of each query, whose relevant document is ``documents[positives[i]]``.

    A candidate of the first ``top_k`` BM25 ranks is refused when it is the positive, of the positive's story
    (``stories[j]`` of document j), scores more than ``margin`` times what the positive scores (it may well be
    relevant too), or shares ``near_duplicate`` of its shingles with the positive. What hard ones are missing are
    drawn at random, so every query has ``negatives`` of them while the collection lasts. Deterministic by ``seed``.
    """
    if not 0 <= hard_share <= 1 or negatives < 1 or top_k < 1:
        raise UsageError("negatives and top_k must be at least 1, and hard_share from 0 to 1")
    refused = Counter() if refused is None else refused
    shingles_of = lru_cache(maxsize=20_000)(lambda document: shingles(documents[document]))
    wanted = round(negatives * hard_share)
    mined: list[Mined] = []
    for index, (positive, scores) in enumerate(zip(positives, BM25(documents, tokenize).scores(queries), strict=True)):
        hard: list[int] = []
        best, values = top(scores, top_k)
        for candidate, score in zip(best.tolist(), values.tolist(), strict=True):
            if len(hard) >= wanted:
                break
            reason = _reason(candidate, positive, score, float(scores[positive]), margin, stories)
            if reason is None and overlap(shingles_of(candidate), shingles_of(positive)) >= near_duplicate:
                reason = "near_duplicate"
            if reason is None:
                hard.append(candidate)
            elif reason != "positive":
                refused[reason] += 1
        draw = random.Random(zlib.crc32(f"{seed}\0{queries[index]}".encode()))
        mined.append(Mined(hard, _random(draw, negatives - len(hard), len(documents), positive, hard, stories)))
        if progress and index % 256 == 255:
            progress(index + 1, len(queries))
    return mined


def _reason(
    candidate: int, positive: int, score: float, own: float, margin: float, stories: Sequence[int] | None
) -> str | None:
    if candidate == positive:
        return "positive"
    if stories is not None and stories[candidate] == stories[positive]:
        return "same_story"
    return "score_margin" if score > margin * own else None


def _random(
    draw: random.Random, count: int, size: int, positive: int, hard: Sequence[int], stories: Sequence[int] | None
) -> list[int]:
    taken = {positive, *hard}
    chosen: list[int] = []
    for _ in range(20 * count):
        if len(chosen) >= count or len(taken) >= size:
            break
        candidate = draw.randrange(size)
        if candidate in taken or (stories is not None and stories[candidate] == stories[positive]):
            continue
        taken.add(candidate)
        chosen.append(candidate)
    return chosen


def add_hard_negatives_bm25(
    qd_pairs: Sequence[tuple[str, str]],
    documents: Sequence[str],
    top_k: int = 100,
    *,
    negatives: int = 8,
    hard_share: float = 0.5,
    margin: float = 0.95,
    near_duplicate: float = 0.4,
    seed: int = 13,
    tokenize: Tokenizer = bigrams,
) -> list[PairWithNegatives]:
    """Negatives for (query, document) pairs: ``hard_share`` of them from BM25's first ``top_k`` ranks.

    The ranking is Lucene's BM25 (`pipeline.ranking.bm25`). A pair's document that is not among
    ``documents`` is searched along with them. See `mine` for what is refused.
    """
    if not qd_pairs:
        return []
    place: dict[str, int] = {}
    for text in [*documents, *(document for _, document in qd_pairs)]:
        place.setdefault(text, len(place))
    texts = list(place)
    if len(texts) < 2:
        raise BadInputError("negatives need at least two different documents")
    mined = mine(
        [query for query, _ in qd_pairs],
        [place[document] for _, document in qd_pairs],
        texts,
        top_k=top_k,
        negatives=negatives,
        hard_share=hard_share,
        margin=margin,
        near_duplicate=near_duplicate,
        seed=seed,
        tokenize=tokenize,
    )
    return [
        PairWithNegatives(query, document, [texts[i] for i in m.hard], [texts[i] for i in m.random])
        for (query, document), m in zip(qd_pairs, mined, strict=True)
    ]
