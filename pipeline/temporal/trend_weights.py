"""Trend weights: which words of a query ask for today's articles, as a gate between 0 and 1 for each token.

gate(word) = clip(ln((y + 1/2) / (e + 1)) / ln 3, 0, 1)

``y`` are the stories of the last 24 hours that mention the word, ``e`` those that its share of the stories of the four
weeks before makes one expect. A word at three times its usual frequency has a gate of 1. Counts are those of days, so
the last 24 hours are today's stories and the part of yesterday's that the day has not reached yet.

A token gets the gates of the words that it is a piece of, each by the share of the token's recent stories that mention
the word: `조선`, a piece of a company's name in the news, does not lift `조선왕조`. Stories count once however many
articles tell them, and a word needs several outlets, so neither copies nor one outlet lift anything.

They are for the ranking: a token's query weight times its gate, times a decay by the age of the article, added to the
score. How formula, window and words were chosen, and what they are worth: docs/time.md.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.asof import SEOUL, AsOf
from pipeline.encoder.vocabulary import Vocabulary
from pipeline.hashing import content_hash
from pipeline.store import counts as store
from pipeline.store import trend_weights as rows
from pipeline.store.counts import Counts, Ids, bits_set
from pipeline.store.packed import digest
from pipeline.temporal.counting import vocabularies
from pipeline.temporal.idf import ONE_DAY, Floats
from pipeline.temporal.learn import usable_versions

if TYPE_CHECKING:
    from pipeline.context import Context

PAST_DAYS = 28  # whole weeks, so that each weekday weighs the same
LEAST_PAST_DAYS = 7  # with fewer days every word is new, and nothing is a trend
LEAST_STORIES = 3  # of the last 24 hours
FULL_LIFT = 3.0  # times the expected stories at which a gate is fully open
_STRAY = 0.1  # share of the stories of the richest day: days with fewer are from before the crawl began
_SHOWN_WORDS = 200
_RULES = 1  # increment it when the code below computes other gates


@dataclass(frozen=True, slots=True)
class WordGates:
    """Open gates of words by ascending word id (arrays of one shape); ``note`` says why there are none."""

    ids: Ids
    gates: Floats  # in (0, 1]
    recent: Floats  # stories of the last 24 hours
    expected: Floats  # stories
    outlets: Ids
    note: str = ""

    def only(self, chosen: NDArray[np.bool_]) -> WordGates:
        """Those where ``chosen`` (one shape) is true."""
        return WordGates(
            self.ids[chosen],
            self.gates[chosen],
            self.recent[chosen],
            self.expected[chosen],
            self.outlets[chosen],
            self.note,
        )


def gate(recent: NDArray[Any], expected: NDArray[Any]) -> Floats:
    """Gates in [0, 1] of the module's formula; arrays of one shape, in stories."""
    return np.asarray(np.clip(np.log((recent + 0.5) / (expected + 1.0)) / np.log(FULL_LIFT), 0.0, 1.0))


def recent_stories(today: Counts, yesterday: Counts, passed: float, ids: Ids) -> Floats:
    """Stories of the last 24 hours with each of ``ids``: today's, and yesterday's for the part that is not over."""
    return np.asarray(today.at(ids) + (1.0 - passed) * yesterday.at(ids))


def word_gates(by_day: Mapping[dt.date, Counts], day: dt.date, passed: float, min_outlets: int) -> WordGates:
    """The gates of words at a moment of ``day`` when the share ``passed`` (0 to 1) of it is over."""
    today, yesterday = by_day.get(day, Counts.empty()), by_day.get(day - ONE_DAY, Counts.empty())
    past_days = [d for d in sorted(by_day) if day - (PAST_DAYS + 1) * ONE_DAY <= d < day - ONE_DAY]
    least = max(1.0, _STRAY * max((by_day[d].n_stories for d in past_days), default=0))
    past_days = [d for d in past_days if by_day[d].n_stories >= least]
    if len(past_days) < LEAST_PAST_DAYS:
        return _none(f"{len(past_days)} days of the four weeks before have news, and {LEAST_PAST_DAYS} are needed")
    n_recent = today.n_stories + (1 - passed) * yesterday.n_stories
    if n_recent < LEAST_STORIES:
        return _none("there is no news of the last 24 hours")
    past = Counts.union([by_day[d] for d in past_days])
    ids = np.union1d(today.ids, yesterday.ids)
    recent = recent_stories(today, yesterday, passed, ids)
    bits, all_bits = today.outlets_at(ids), today.all_outlets
    if passed < 1:
        bits, all_bits = bits | yesterday.outlets_at(ids), all_bits | yesterday.all_outlets
    outlets = bits_set(bits).astype(np.int64)
    expected = np.asarray(past.at(ids) / past.n_stories * n_recent)
    found = WordGates(ids, gate(recent, expected), recent, expected, outlets)
    possible = min(min_outlets, all_bits.bit_count())
    return found.only((found.gates > 0) & (recent >= LEAST_STORIES) & (outlets >= possible))


def token_gates(words: Sequence[tuple[float, float, Sequence[int]]], recent: Floats) -> Floats:
    """Gates (V,) of tokens; ``words`` are (gate, recent stories, ids of the pieces), ``recent`` (V,) stories of tokens.

    A word counts by its share of its piece's recent stories. Of a word and its compounds the largest product counts,
    since their stories are the same ones.
    """
    gates = np.zeros(len(recent))
    for word_gate, stories, pieces in words:
        for piece in pieces:
            gates[piece] = max(gates[piece], word_gate * min(1.0, stories / max(float(recent[piece]), 1.0)))
    return gates


def share_passed(as_of: AsOf) -> float:
    """The share of the as-of's day, 0 to 1, that is over at ``known_by``."""
    start = dt.datetime.combine(as_of.day, dt.time(0), SEOUL)
    return min(1.0, max(0.0, (as_of.known_by - start) / (as_of.end - start)))


def measure_trend_weights(ctx: Context, as_of: AsOf) -> int:
    """The id of the trend weights at ``as_of``; computed where they do not exist yet, deterministically.

    The moment is ``as_of.known_by``, or the end of its day where that is earlier (a backfill). Raises RefusedError
    before anything is counted.
    """
    least = ctx.config.temporal.min_outlets
    token, word = usable_versions(ctx)
    key = content_hash([_RULES, least])[:16]
    passed, yesterday = share_passed(as_of), as_of.day - ONE_DAY
    with ctx.store.begin() as conn:
        known = rows.find(conn, as_of, token.id, word.id, key)
        if known is not None:
            return known
        first = as_of.day - (PAST_DAYS + 1) * ONE_DAY
        words = dict(store.read_days(conn, word.id, first, as_of.day, as_of.known_by))
        found = word_gates(words, as_of.day, passed, least)
        texts = store.words_of(conn, found.ids.tolist())
        tokens = dict(store.read_days(conn, token.id, yesterday, as_of.day, as_of.known_by))
    # A phrase would lift each of its words elsewhere, too; its words have gates of their own.
    found = found.only(np.array([" " not in texts[int(i)] for i in found.ids], np.bool_))
    names = [texts[int(i)] for i in found.ids]
    vocabulary = Vocabulary.read(ctx.artifacts.get(vocabularies(ctx)[token.key]))
    pieces = [list(vocabulary.tokenizer.encode(name, add_special_tokens=False).ids) for name in names]
    every = np.arange(len(vocabulary.names), dtype=np.int64)
    recent = recent_stories(tokens.get(as_of.day, Counts.empty()), tokens.get(yesterday, Counts.empty()), passed, every)
    gates = token_gates(list(zip(found.gates.tolist(), found.recent.tolist(), pieces, strict=True)), recent)
    gates[vocabulary.blocked] = 0.0
    open_tokens = np.flatnonzero(gates)
    values = gates[open_tokens].astype(np.float32)
    order = sorted(range(len(names)), key=lambda i: (-found.gates[i] * found.recent[i], names[i]))
    shown = [
        {
            "word": names[i],
            "gate": round(float(found.gates[i]), 4),
            "stories": round(float(found.recent[i]), 2),
            "expected": round(float(found.expected[i]), 2),
            "outlets": int(found.outlets[i]),
            "tokens": [vocabulary.names[piece] for piece in dict.fromkeys(pieces[i]) if gates[piece] > 0],
        }
        for i in order[:_SHOWN_WORDS]
    ]
    identity = digest({"tokens": open_tokens, "gates": values}, json.dumps(shown, ensure_ascii=False))
    with ctx.store.begin() as conn:
        return rows.add(
            conn,
            as_of,
            token_version_id=token.id,
            word_version_id=word.id,
            config_hash=key,
            content_hash=identity,
            vocabulary_hash=token.key,
            tokens=open_tokens,
            gates=values,
            words=shown,
            note=found.note,
        )


def _none(reason: str) -> WordGates:
    numbers, ids = np.zeros(0), np.zeros(0, np.int64)
    return WordGates(ids, numbers, numbers, numbers, ids, f"no word is lifted: {reason}")
