"""Statistics of an as-of: IDF of every token, trends and drift; a pure function of the counts known by it."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from pipeline.asof import AsOf, refuse_future
from pipeline.config.temporal import TemporalConfig
from pipeline.errors import RefusedError
from pipeline.hashing import content_hash
from pipeline.store import counts as store
from pipeline.store import statistics
from pipeline.store.base import settle
from pipeline.store.counts import CountingVersion, Counts
from pipeline.store.packed import digest
from pipeline.temporal import drift
from pipeline.temporal.counting import readable_words, vocabularies
from pipeline.temporal.idf import ONE_DAY, RunningSums, advance_to, ensemble_idf, smoothed_idf
from pipeline.temporal.trend_evidence import trends_with_evidence
from pipeline.temporal.trending import LENGTHS, compare, score

if TYPE_CHECKING:
    from pipeline.context import Context

_LEAST_PAST_DAYS = 56  # always read before the recent days: eight of each weekday
_KEEP_DAYS = 8  # newest days whose running sums are all stored: late articles are mostly a few days late
_EVERY = 32  # of older days, one in 32 is stored
_LAYOUT = 2  # version of the stored running sums: others are not read
_NOT_COUNTED = "nothing has been counted yet: run `garam learn` or the counting task first"


def learn_statistics(ctx: Context, as_of: AsOf) -> int:
    """The id of the statistics of ``as_of``; computed where they do not exist yet, deterministically.

    Reads the counts of the new day, of the days that leave the windows, and of the bounded past that trends are
    compared with. Raises UsageError for a day or ``known_by`` in the future, RefusedError without a base or before
    anything is counted. Statistics without articles have a note in their summary.
    """
    with ctx.store.begin() as conn:
        # Waits for running transactions, whose rows have earlier time stamps: otherwise a rerun could see more rows.
        now = settle(conn)
    refuse_future(as_of.day, as_of.known_by, now=now)
    config = ctx.config.temporal
    config_hash = ctx.config.hash_of("temporal")
    token, word = usable_versions(ctx)
    with ctx.store.begin() as conn:
        existing = statistics.find(conn, as_of, token.id, word.id, config_hash)
    if existing is not None:
        return existing
    vocabulary = _vocabulary_size(ctx, token.key)
    with ctx.store.lock(f"garam.learn.{token.id}.{word.id}"), ctx.store.begin() as conn:
        computed = compute(conn, as_of, token, word, vocabulary, config)
        return statistics.add(
            conn, as_of, token_version_id=token.id, word_version_id=word.id, config_hash=config_hash, **computed
        )


def usable_versions(ctx: Context) -> tuple[CountingVersion, CountingVersion]:
    """The counting versions of tokens and words to read: complete, and of the newest vocabulary and analyser."""
    counted = vocabularies(ctx)
    with ctx.store.begin() as conn:
        token = [v for v in store.versions(conn, "token") if v.ready_at and v.key in counted]
        word = readable_words(conn)
    if not token or word is None:
        raise RefusedError(_NOT_COUNTED)
    order = list(counted)
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

    by_day = read_word_days(conn, word, as_of, config)
    comparison = compare(by_day, as_of.day, config)
    scores = score(comparison, config)
    start = as_of.day - (comparison.length - 1) * ONE_DAY
    trends = trends_with_evidence(conn, as_of, word.id, comparison, scores, words, start, config)

    reach = max(drift.reach(), comparison.length)
    token_days = dict(store.read_days(conn, token.id, as_of.day - reach * ONE_DAY, as_of.day, as_of.known_by))
    recent_tokens = Counts.union([c for d, c in sorted(token_days.items()) if d >= start])
    seen_first = store.look_up(words.ids, words.first, comparison.recent.ids) >= start.toordinal()
    moved = drift.measure(token_days, as_of.day, (int(seen_first.sum()), len(comparison.recent.ids)))

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
    """Arrays (V,) over the whole vocabulary: the IDFs and the document frequencies they are computed from."""
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
    """Running sums up to the day of the as-of, advanced from the nearest stored ones; stored again.

    Stored sums are used only where they agree with what the as-of knows.
    """
    key = content_hash([_LAYOUT, decay, windows])[:16]
    oldest = store.first_day(conn, version.id)
    if oldest is None or oldest > as_of.day:
        return RunningSums(decay, windows, as_of.day)
    stored = store.nearest_sums(conn, version.id, key, as_of.day, as_of.known_by)
    sums = (
        RunningSums.from_bytes(stored[1], decay, windows) if stored else RunningSums(decay, windows, oldest - ONE_DAY)
    )

    def store_sums(at: RunningSums) -> None:
        assert at.day is not None
        age = (as_of.day - at.day).days
        if age == 0 or (age <= 400 and at.day.toordinal() % _EVERY == 0):
            store.put_sums(conn, version.id, key, at.day, as_of.known_by, at.to_bytes())

    if sums.day != as_of.day:
        assert sums.day is not None
        # Steps end at multiples of _EVERY, so that the sums stored on the way are those that pruning keeps.
        first_stop = min(sums.day + (-sums.day.toordinal() % _EVERY) * ONE_DAY, as_of.day)

        def read(first: dt.date, last: dt.date) -> dict[dt.date, Counts]:
            return dict(store.read_days(conn, version.id, first, last, as_of.known_by))

        advance_to(sums, first_stop, read, after=store_sums)
        advance_to(sums, as_of.day, read, step=_EVERY, after=store_sums)
        store.prune_sums(conn, version.id, key, as_of.day, keep_days=_KEEP_DAYS, every=_EVERY)
    return sums


def read_word_days(
    conn: Connection, word: CountingVersion, as_of: AsOf, config: TemporalConfig
) -> dict[dt.date, Counts]:
    """Word counts of the recent days, and of a past before them with enough days or articles."""
    longest = max(*LENGTHS, config.recent_days)
    furthest = as_of.day - (longest + config.past_days) * ONE_DAY
    least = as_of.day - (longest + _LEAST_PAST_DAYS) * ONE_DAY
    articles_read, first = 0, furthest
    for day, articles, _ in reversed(store.totals(conn, word.id, furthest, as_of.day, as_of.known_by)):
        if day < least and articles_read >= config.past_articles:
            first = day + ONE_DAY
            break
        articles_read += articles
    return dict(store.read_days(conn, word.id, first, as_of.day, as_of.known_by))


def _vocabulary_size(ctx: Context, vocabulary_hash: str) -> int:
    from tokenizers import Tokenizer

    folder = ctx.artifacts.get(vocabularies(ctx)[vocabulary_hash])
    return int(Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size(with_added_tokens=True))


def _numbers(evidence: dict[str, Any]) -> dict[str, Any]:
    # Titles of articles can be removed later, so they are left out of the content hash.
    return {key: value for key, value in evidence.items() if key not in ("examples", "sentence")}


def _note(n_articles: int, recent: int, past: int, as_of: AsOf) -> str:
    if not n_articles:
        return f"no article of {as_of} has been counted: there is nothing to compute"
    if not recent:
        return f"no article in the days up to {as_of.day}: there can be no trend"
    if not past:
        return "no article before the recent days: nothing to compare with, so no trend"
    return ""
