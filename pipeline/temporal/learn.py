"""Statistics of an as-of: IDF of every token, trends and drift; a pure function of the counts known by then."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from pipeline import asof
from pipeline.artifacts import content_hash
from pipeline.asof import AsOf
from pipeline.config.temporal import TemporalConfig
from pipeline.errors import RefusedError, UsageError
from pipeline.store import counts as store
from pipeline.store import statistics
from pipeline.store.base import settle
from pipeline.store.counts import CountingVersion, Counts
from pipeline.store.packed import digest
from pipeline.temporal import drift
from pipeline.temporal.counting import readable_words, vocabularies
from pipeline.temporal.idf import ONE_DAY, RunningSums, advance_to, ensemble_idf, smoothed_idf
from pipeline.temporal.trend_evidence import describe
from pipeline.temporal.trending import LENGTHS, compare, score

if TYPE_CHECKING:
    from pipeline.context import Context

_KEEP_DAYS = 8  # days whose running sums are all kept: late articles are mostly days late
_EVERY = 32  # of older days one in so many is kept
_LAYOUT = 2  # of kept running sums: others are not read
_NOT_COUNTED = "nothing has been counted yet: run `garam learn` or the counting task first"


def learn_statistics(ctx: Context, as_of: AsOf) -> int:
    """The id of the statistics of ``as_of``: computed once, the same bits whenever it is computed.

    Costs the new day's counts, the days that leave the windows, and the bounded past that trends compare with.
    Raises UsageError for a day or ``known_by`` in the future, RefusedError without a base or before anything is
    counted. An as-of without articles has statistics that say so in their summary.
    """
    with ctx.store.begin() as conn:
        # What is being written right now is stamped before this instant: wait for it, or a rerun would see more.
        now = settle(conn)
    if as_of.known_by > now:
        raise UsageError(f"known_by {as_of.known_by.isoformat()} is in the future: nobody knows yet what will be known")
    if as_of.day > asof.day_of(now):
        raise UsageError(f"{as_of.day} is in the future: learn of today ({asof.day_of(now)}) or an earlier day")
    config = ctx.config.temporal
    config_hash = ctx.config.hash_of("temporal")
    token, word = usable_versions(ctx)
    with ctx.store.begin() as conn:
        known = statistics.find(conn, as_of, token.id, word.id, config_hash)
    if known is not None:
        return known
    vocabulary = _vocabulary_size(ctx, token.key)
    with ctx.store.lock(f"garam.learn.{token.id}.{word.id}"), ctx.store.begin() as conn:
        computed = compute(conn, as_of, token, word, vocabulary, config)
        return statistics.add(
            conn, as_of, token_version_id=token.id, word_version_id=word.id, config_hash=config_hash, **computed
        )


def usable_versions(ctx: Context) -> tuple[CountingVersion, CountingVersion]:
    """The token and the word level's counting version to read: ready, and of the newest vocabulary and analyser."""
    known = vocabularies(ctx)
    with ctx.store.begin() as conn:
        token = [v for v in store.versions(conn, "token") if v.ready_at and v.key in known]
        word = readable_words(conn)
    if not token or word is None:
        raise RefusedError(_NOT_COUNTED)
    order = list(known)
    return min(token, key=lambda v: order.index(v.key)), word


def compute(
    conn: Connection,
    as_of: AsOf,
    token: CountingVersion,
    word: CountingVersion,
    vocabulary: int,
    config: TemporalConfig,
) -> dict[str, Any]:
    """The columns of a row of statistics (see `pipeline.store.statistics.add`)."""
    windows = tuple(config.window_days)
    tokens = running_sums(conn, token, as_of, config.decay_factor, windows)
    words = running_sums(conn, word, as_of, None, ())

    by_day = read_back(conn, word, as_of, config)
    comparison = compare(by_day, as_of.day, config)
    scores = score(comparison, config)
    start = as_of.day - (comparison.length - 1) * ONE_DAY
    trends = describe(conn, as_of, word.id, comparison, scores, words, start, config)

    reach = max(drift.reach(config), comparison.length)
    token_days = dict(store.read_days(conn, token.id, as_of.day - reach * ONE_DAY, as_of.day, as_of.known_by))
    recent_tokens = Counts.union([c for d, c in sorted(token_days.items()) if d >= start])
    seen_first = store.look_up(words.ids, words.first, comparison.recent.ids) >= start.toordinal()
    moved = drift.measure(token_days, as_of.day, (int(seen_first.sum()), len(comparison.recent.ids)), config)

    arrays = idf_arrays(tokens, vocabulary, config)
    arrays["recent_df"] = recent_tokens.at(np.arange(vocabulary, dtype=np.int64))
    today = by_day.get(as_of.day)
    summary = {
        "stories": words.n_total,
        "decayed_stories": tokens.n_decayed,
        "window_stories": tokens.n_window,
        "window_days": config.window_days,
        "shares": config.ensemble_weights,
        "day_articles": today.n_articles if today is not None else 0,
        "recent_days": comparison.length,
        "recent_stories": comparison.recent.n_stories,
        "past_days": len(comparison.past_days),
        "past_stories": comparison.past.n_stories,
        "same_weekdays": comparison.same_weekdays,
        "tested": len(scores.ids),
        "trending": int(scores.passed.sum()),
        "note": _note(words.n_articles, comparison.recent.n_stories, comparison.past.n_stories, as_of),
    }
    numbers = [[t.word, t.z, t.q_value, t.boost, t.is_new, _numbers(t.evidence)] for t in trends]
    return {
        "content_hash": digest(arrays, json.dumps([numbers, moved, summary], sort_keys=True, ensure_ascii=False)),
        "n_articles": words.n_articles,
        "arrays": arrays,
        "drift": moved,
        "summary": summary,
        "trends": trends,
    }


def idf_arrays(tokens: RunningSums, vocabulary: int, config: TemporalConfig) -> dict[str, NDArray[Any]]:
    """The IDF of every token of the vocabulary, also of those never seen, and what it was made of."""
    dense = tokens.dense(vocabulary)
    temporal = smoothed_idf(dense["decayed"], tokens.n_decayed)
    windowed = [smoothed_idf(df, n) for df, n in zip(dense["window"], tokens.n_window, strict=True)]
    return {
        "temporal_idf": temporal,
        "windowed_idf": np.stack(windowed),
        "ensemble_idf": ensemble_idf([temporal, *windowed], config.ensemble_weights),
        "decayed_df": dense["decayed"],
        "window_df": dense["window"],
    }


def running_sums(
    conn: Connection, version: CountingVersion, as_of: AsOf, decay: float | None, windows: tuple[int, ...]
) -> RunningSums:
    """Running sums up to the as-of's day, from the nearest kept ones that agree with what was known; kept again."""
    key = content_hash([_LAYOUT, decay, windows])[:16]
    oldest = store.first_day(conn, version.id)
    if oldest is None or oldest > as_of.day:
        return RunningSums(decay, windows, as_of.day)
    kept = store.nearest_sums(conn, version.id, key, as_of.day, as_of.known_by)
    sums = RunningSums.from_bytes(kept[1], decay, windows) if kept else RunningSums(decay, windows, oldest - ONE_DAY)

    def keep(at: RunningSums) -> None:
        assert at.day is not None
        age = (as_of.day - at.day).days
        if age == 0 or (age <= 400 and at.day.toordinal() % _EVERY == 0):
            store.put_sums(conn, version.id, key, at.day, as_of.known_by, at.to_bytes())

    if sums.day != as_of.day:
        assert sums.day is not None
        # Steps that end at multiples of _EVERY, so that what is kept on the way is what pruning keeps.
        first_stop = min(sums.day + (-sums.day.toordinal() % _EVERY) * ONE_DAY, as_of.day)

        def read(first: dt.date, last: dt.date) -> dict[dt.date, Counts]:
            return dict(store.read_days(conn, version.id, first, last, as_of.known_by))

        advance_to(sums, first_stop, read, after=keep)
        advance_to(sums, as_of.day, read, step=_EVERY, after=keep)
        store.prune_sums(conn, version.id, key, as_of.day, keep_days=_KEEP_DAYS, every=_EVERY)
    return sums


def read_back(conn: Connection, word: CountingVersion, as_of: AsOf, config: TemporalConfig) -> dict[dt.date, Counts]:
    """Days of words back from the as-of's: what can be recent, and a past that is long or rich enough."""
    longest = max(*LENGTHS, config.recent_days)
    furthest = as_of.day - (longest + config.past_days) * ONE_DAY
    least = as_of.day - (longest + config.past_days_least) * ONE_DAY
    had, first = 0, furthest
    for day, articles, _ in reversed(store.totals(conn, word.id, furthest, as_of.day, as_of.known_by)):
        if day < least and had >= config.past_articles:
            first = day + ONE_DAY
            break
        had += articles
    return dict(store.read_days(conn, word.id, first, as_of.day, as_of.known_by))


def _vocabulary_size(ctx: Context, vocabulary_hash: str) -> int:
    from tokenizers import Tokenizer

    folder = ctx.artifacts.get(vocabularies(ctx)[vocabulary_hash])
    return int(Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size(with_added_tokens=True))


def _numbers(evidence: dict[str, Any]) -> dict[str, Any]:
    # Titles are read from the articles, which can be removed later: they explain the numbers and are none of them.
    return {key: value for key, value in evidence.items() if key not in ("examples", "sentence")}


def _note(n_articles: int, recent: int, past: int, as_of: AsOf) -> str:
    if not n_articles:
        return f"no article of {as_of} has been counted: nothing is known of that time"
    if not recent:
        return f"no article in the days up to {as_of.day}: there can be no trend"
    if not past:
        return "no article before the recent days: nothing to compare with, so no trend"
    return ""
