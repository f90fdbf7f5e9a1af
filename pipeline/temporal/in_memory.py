"""Temporal IDF, trends and series of documents in memory, by the same code as the daily run on stored counts.

``documents`` are texts or lists of tokens; ``dates`` are dates, datetimes or ISO strings, one for each document.
``tokenizer`` maps a text to its tokens (default: Korean words, compounds and phrases). Ages are counted from ``as_of``
(default: the latest date); later documents are ignored.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline import asof
from pipeline.config.temporal import TemporalConfig
from pipeline.errors import UsageError
from pipeline.store.counts import Counts
from pipeline.temporal.counting import Terms, tally, word_terms
from pipeline.temporal.history import SeriesRow
from pipeline.temporal.idf import ONE_DAY, RunningSums, advance_to, ensemble_idf, smoothed_idf
from pipeline.temporal.trending import boost_of, compare, score
from pipeline.text.normalise import normalise

Document = str | Sequence[str]
Date = dt.date | dt.datetime | str
Tokenizer = Callable[[str], Iterable[str]]


@dataclass(frozen=True, slots=True)
class TrendingToken:
    """A token that is more frequent in recent documents than before; ``boost`` >= 1 is a function of ``surprise``."""

    token: str
    z: float
    surprise: float
    q_value: float
    lift: float
    recent: int  # document frequency in recent documents
    past: int
    is_new: bool
    boost: float


def calculate_temporal_idf(
    documents: Sequence[Document],
    dates: Sequence[Date],
    decay_factor: float = 0.95,
    *,
    tokenizer: Tokenizer | None = None,
    as_of: Date | None = None,
) -> dict[str, float]:
    """IDF of each token, ln(1 + (N - df + .5) / (df + .5)); documents are weighted by decay_factor ** age in days."""
    if not 0 < decay_factor <= 1:
        raise UsageError(f"decay_factor is {decay_factor}: it must be above 0 and at most 1")
    corpus = _count(documents, dates, tokenizer, as_of)
    sums = corpus.sums(decay_factor, ())
    return corpus.named(sums, smoothed_idf(sums.decayed, sums.n_decayed))


def calculate_windowed_idf(
    documents: Sequence[Document],
    dates: Sequence[Date],
    window_days: Sequence[int] = (30, 90, 365),
    *,
    tokenizer: Tokenizer | None = None,
    as_of: Date | None = None,
) -> dict[int, dict[str, float]]:
    """IDF of each token over the documents of the last n days, by window length n (1: the day of the as-of only).

    Tokens of earlier documents are included, with the IDF of a document frequency of 0.
    """
    if not window_days or any(days < 1 for days in window_days):
        raise UsageError(f"window_days is {list(window_days)}: name at least one window of 1 day or more")
    corpus = _count(documents, dates, tokenizer, as_of)
    sums = corpus.sums(None, tuple(window_days))
    return {
        days: corpus.named(sums, smoothed_idf(df, n))
        for days, df, n in zip(window_days, sums.window, sums.n_window, strict=True)
    }


def calculate_ensemble_idf(
    documents: Sequence[Document],
    dates: Sequence[Date],
    decay_factor: float = 0.95,
    window_days: Sequence[int] = (30, 90, 365),
    *,
    weights: Sequence[float] | None = None,
    tokenizer: Tokenizer | None = None,
    as_of: Date | None = None,
) -> dict[str, float]:
    """Weighted mean of the decayed IDF and the IDFs of the windows (``weights`` in that order; equal by default)."""
    shares = list(weights) if weights is not None else [1.0] * (len(window_days) + 1)
    if len(shares) != len(window_days) + 1 or min(shares) < 0 or not sum(shares):
        raise UsageError(f"weights needs {len(window_days) + 1} numbers, none negative and not all 0")
    corpus = _count(documents, dates, tokenizer, as_of)
    sums = corpus.sums(decay_factor, tuple(window_days))
    parts = [smoothed_idf(sums.decayed, sums.n_decayed)]
    parts += [smoothed_idf(df, n) for df, n in zip(sums.window, sums.n_window, strict=True)]
    return corpus.named(sums, ensemble_idf(parts, shares))


def detect_trending_tokens(
    documents: Sequence[Document],
    dates: Sequence[Date],
    recent_days: int = 30,
    *,
    tokenizer: Tokenizer | None = None,
    as_of: Date | None = None,
    config: TemporalConfig | None = None,
) -> list[TrendingToken]:
    """Tokens that are significantly more frequent in the last ``recent_days`` days than before, by falling surprise.

    The test is that of `pipeline.temporal.trending`. Thresholds and boosts come from ``config`` (section ``temporal``;
    its defaults with boosts on). Empty where there are no earlier documents.
    """
    if recent_days < 1:
        raise UsageError(f"recent_days is {recent_days}: it must be 1 or more")
    config = config or TemporalConfig(past_days=36_500, boosts=True)
    corpus = _count(documents, dates, tokenizer, as_of)
    comparison = compare(corpus.by_day, corpus.day, config, recent_days)
    scores = score(comparison, config)
    first = corpus.day - (recent_days - 1) * ONE_DAY
    past_ids = {int(i) for d, c in corpus.by_day.items() if d < first for i in c.ids}
    tokens = [
        TrendingToken(
            corpus.names[int(scores.ids[i])],
            float(scores.z[i]),
            float(scores.surprise[i]),
            float(scores.q[i]),
            float(scores.lift[i]),
            int(scores.recent[i]),
            int(scores.past[i]),
            int(scores.ids[i]) not in past_ids,
            boost_of(float(scores.surprise[i]), 0, config),
        )
        for i in np.flatnonzero(scores.passed)
    ]
    return sorted(tokens, key=lambda t: (-t.surprise, t.token))


def analyze_token_frequency_over_time(
    documents: Sequence[Document],
    dates: Sequence[Date],
    tokens: Collection[str],
    *,
    tokenizer: Tokenizer | None = None,
) -> list[SeriesRow]:
    """A row for each token and each day with documents, ordered by token (as given), then day."""
    corpus = _count(documents, dates, tokenizer, None)
    ids = {name: id_ for id_, name in enumerate(corpus.names)}
    rows = []
    for token in dict.fromkeys(tokens):
        id_ = np.array([ids.get(token, -1)], np.int64)
        for day, counts in sorted(corpus.by_day.items()):
            df = int(counts.at(id_)[0])
            rows.append(SeriesRow(token, day, df, df, min(df, 1), counts.n_stories, df / counts.n_stories))
    return rows


# ---------------------------------------------------------------- counting in memory
@dataclass(frozen=True, slots=True)
class _Document:
    story_id: int
    outlet: str = ""


@dataclass(frozen=True)
class _Corpus:
    day: dt.date
    names: list[str]
    by_day: Mapping[dt.date, Counts]

    def sums(self, decay: float | None, windows: tuple[int, ...]) -> RunningSums:
        start = min(self.by_day, default=self.day) - ONE_DAY

        def read(first: dt.date, last: dt.date) -> dict[dt.date, Counts]:
            return {day: counts for day, counts in self.by_day.items() if first <= day <= last}

        return advance_to(RunningSums(decay, windows, start), self.day, read)

    def named(self, sums: RunningSums, values: np.ndarray) -> dict[str, float]:
        return {self.names[int(id_)]: float(value) for id_, value in zip(sums.ids, values, strict=True)}


def _count(
    documents: Sequence[Document], dates: Sequence[Date], tokenizer: Tokenizer | None, as_of: Date | None
) -> _Corpus:
    if len(documents) != len(dates):
        raise UsageError(f"{len(documents)} documents and {len(dates)} dates: each document needs its date")
    days = [_day(date) for date in dates]
    day = _day(as_of) if as_of is not None else max(days, default=dt.date(1970, 1, 1))
    kept = [(d, document) for d, document in zip(days, documents, strict=True) if d <= day]
    texts = [normalise(document) if isinstance(document, str) else document for _, document in kept]
    terms = _terms(texts, tokenizer)
    names = sorted({str(term) for document in terms for term in document.terms})
    ids = {name: id_ for id_, name in enumerate(names)}
    grouped: dict[dt.date, list[Terms]] = defaultdict(list)
    for (d, _), own in zip(kept, terms, strict=True):
        grouped[d].append(Terms(frozenset(ids[str(term)] for term in own.terms), own.occurrences, own.spaces))
    by_day = {d: tally([_Document(n) for n in range(len(all_))], all_)[0] for d, all_ in grouped.items()}
    return _Corpus(day, names, by_day)


def _terms(documents: Sequence[Document], tokenizer: Tokenizer | None) -> list[Terms]:
    texts = [document for document in documents if isinstance(document, str)]
    analysed = iter(word_terms(texts)) if tokenizer is None else None
    terms = []
    for document in documents:
        if isinstance(document, str) and analysed is not None:
            terms.append(next(analysed))
            continue
        tokens = list(tokenizer(document)) if isinstance(document, str) and tokenizer else list(document)
        terms.append(Terms(frozenset(tokens), len(tokens), len(tokens)))
    return terms


def _day(date: Date) -> dt.date:
    if isinstance(date, dt.datetime):
        return asof.day_of(date) if date.tzinfo else date.date()
    if isinstance(date, dt.date):
        return date
    return asof.parse_day(date) if len(date) == 10 else asof.day_of(asof.parse_instant(date))
