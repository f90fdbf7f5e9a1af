"""The plan's functions, the stored path and the formulas written out give the same numbers on real news.

With late arrivals, and removals before and after counting. A thirtieth of the 50,000 articles here; all of them with
GARAM_LONG_TESTS=1 (six minutes).
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import math
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from scipy.stats import binom, norm
from tokenizers import Tokenizer

from pipeline import news
from pipeline.asof import AsOf
from pipeline.config import Config
from pipeline.context import Context
from pipeline.store import articles as article_rows
from pipeline.store import counts as store
from pipeline.store import statistics
from pipeline.store.articles import Article
from pipeline.store.schema import articles
from pipeline.temporal import (
    analyze_token_frequency_over_time,
    calculate_ensemble_idf,
    calculate_temporal_idf,
    calculate_windowed_idf,
    count_articles,
    detect_trending_tokens,
    learn_statistics,
    series,
)
from pipeline.temporal.counting import word_terms
from pipeline.temporal.learn import read_word_days, usable_versions
from pipeline.temporal.trending import compare, score
from tests.temporal_data import open_context, put_base_folder

STEP = 1 if os.environ.get("GARAM_LONG_TESTS") else 30
NEWS, BASE = "data/news/economy-rss-2026-02.jsonl.gz", "models/e5-small-ko-wordpiece"
CONFIG = Config.model_validate(
    {  # loose, so that also a small sample has trends to compare
        "temporal": {
            "window_days": [7, 30, 365],
            "min_outlets": 1,
            "min_lift": 2.0,
            "min_stories": 3,
            "false_discovery_rate": 0.5,
        }
    }
)
DAYS = (dt.date(2026, 2, 20), dt.date(2026, 2, 27))


@dataclass(frozen=True)
class Told:
    """A story on a day: the terms of all its articles together, which is what counts once."""

    day: dt.date
    terms: list[str]


@pytest.fixture(scope="module")
def world(session_stack, shared: Path, tmp_path_factory):
    """A context in which news came in two rounds, and the articles counted in each."""
    from tests.services import create_database, drop_database

    session_stack.start("postgres")
    server = session_stack.postgres_url()
    url = create_database(server)
    folder = tmp_path_factory.mktemp("agreement")
    ctx = open_context(url, folder, CONFIG)
    put_base_folder(ctx, shared / BASE)
    with gzip.open(shared / NEWS, "rt", encoding="utf-8") as lines:
        rows = [line for number, line in enumerate(lines) if number % STEP == 0]
    counted: list[list[Article]] = []
    known: list[dt.datetime] = []
    for number, part in enumerate(([r for n, r in enumerate(rows) if n % 3], rows[::3])):
        (folder / f"{number}.jsonl").write_text("".join(part), encoding="utf-8")
        news.import_archive(ctx, folder / f"{number}.jsonl")
        for line in part[::100]:
            news.forget(ctx, json.loads(line)["url"])
        with ctx.store.begin() as conn:
            ids = list(conn.scalars(sa.select(articles.c.id).where(articles.c.removed_at.is_(None), ~articles.c.is_ad)))
            before = {a.id for round_ in counted for a in round_}
            counted.append(article_rows.by_ids(conn, sorted(set(ids) - before)))
        assert count_articles(ctx).token_articles == len(counted[-1])
        known.append(ctx.store.settle())
    for line in rows[50::100]:
        news.forget(ctx, json.loads(line)["url"])  # counted already: the past stays as it was
    yield ctx, counted, known
    ctx.store.close()
    drop_database(server, url)


def stories(found: list[Article], terms: list[set[str]]) -> list[Told]:
    """What is counted once: the terms of a story's articles of a day."""
    together: dict[tuple[dt.date, int], set[str]] = defaultdict(set)
    for article, had in zip(found, terms, strict=True):
        together[article.day, article.story_id] |= had
    return [Told(day, sorted(had)) for (day, _), had in sorted(together.items())]


def formula(df: float, n: float) -> float:
    return math.log(1 + (n - df + 0.5) / (df + 0.5))


def by_hand(told: list[Told], day: dt.date, weight) -> tuple[dict[str, float], float]:
    """(weighted document frequency by term, weighted number of documents)."""
    df: dict[str, float] = defaultdict(float)
    n = 0.0
    for one in told:
        if one.day <= day:
            w = weight((day - one.day).days)
            n += w
            for term in one.terms if w else ():
                df[term] += w
    return df, n


@pytest.mark.shared
def test_idf_agrees_three_ways(world):
    ctx, counted, known = world
    tokenizer = Tokenizer.from_file(str(ctx.artifacts.get(_base(ctx)) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    special = {id_ for id_, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    for day, number in ((DAYS[0], 0), (DAYS[1], 1)):
        found = [a for round_ in counted[: number + 1] for a in round_]
        texts = [f"{a.title}\n{a.text}" for a in found]
        encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
        told = stories(found, [{str(i) for i in e.ids if i not in special} for e in encoded])
        documents, dates = [one.terms for one in told], [one.day for one in told]
        as_of = AsOf(day, known[number])
        learned = learn_statistics(ctx, as_of)
        with ctx.store.begin() as conn:
            arrays = statistics.get(conn, learned).arrays
        size = len(arrays["temporal_idf"])
        parts = [("temporal_idf", calculate_temporal_idf(documents, dates, as_of=day), lambda age: 0.95**age)]
        windowed = calculate_windowed_idf(documents, dates, [7, 30, 365], as_of=day)
        for place, length in enumerate((7, 30, 365)):
            arrays[f"window {length}"] = arrays["windowed_idf"][place]
            parts.append((f"window {length}", windowed[length], lambda age, length=length: float(age < length)))
        written: list[np.ndarray] = []
        for name, planned, weight in parts:
            df, n = by_hand(told, day, weight)
            written.append(np.array([formula(df.get(str(i), 0.0), n) for i in range(size)]))
            assert np.abs(arrays[name] - written[-1]).max() < 1e-9, name
            assert max(abs(arrays[name][int(term)] - value) for term, value in planned.items()) < 1e-9, name
        ensemble = calculate_ensemble_idf(documents, dates, 0.95, [7, 30, 365], as_of=day)
        shares = ctx.config.temporal.ensemble_weights
        expected = sum(share * part for share, part in zip(shares, written, strict=True)) / sum(shares)
        assert np.abs(arrays["ensemble_idf"] - expected).max() < 1e-9
        equal = sum(written) / 4
        assert max(abs(equal[int(term)] - value) for term, value in ensemble.items()) < 1e-9


@pytest.mark.shared
def test_trends_and_series_agree_three_ways(world):
    ctx, counted, known = world
    found = [a for round_ in counted for a in round_]
    terms = [set(had.terms) for had in word_terms([f"{a.title}\n{a.text}" for a in found])]
    told = stories(found, terms)
    documents, dates = [one.terms for one in told], [one.day for one in told]
    day, config = DAYS[0], ctx.config.temporal
    _, word = usable_versions(ctx)
    with ctx.store.begin() as conn:
        comparison = compare(read_word_days(conn, word, AsOf(day, known[1]), config), day, config, 2)
        scores = score(comparison, config)
        names = store.words_of(conn, scores.ids[scores.passed].tolist())
    stored = {names[int(scores.ids[i])]: i for i in np.flatnonzero(scores.passed)}
    planned = detect_trending_tokens(documents, dates, 2, as_of=day, config=config)
    assert {t.token for t in planned} == set(stored)
    assert len(planned) > 3
    hand = _trends_by_hand(told, day, 2, config)
    assert {word for word, *_, passed in hand if passed} == set(stored)
    values = {word: row for word, *row in hand}
    for trend in planned:
        i = stored[trend.token]
        assert (trend.recent, trend.past) == (scores.recent[i], scores.past[i])
        for name in ("z", "surprise", "lift"):
            assert getattr(trend, name) == pytest.approx(float(getattr(scores, name)[i]), abs=1e-9)
        assert trend.q_value == pytest.approx(float(scores.q[i]), abs=1e-9)
        z, surprise, q, _ = values[trend.token]
        assert (trend.z, trend.surprise, trend.q_value) == pytest.approx((z, surprise, q), abs=1e-9)

    asked = [*list(stored)[:20], "코스피", "없는말"]
    rows = analyze_token_frequency_over_time(documents, dates, asked)
    kept = series(ctx, asked, min(dates), max(dates), known[1])
    assert [(r.word, r.day, r.stories, r.of_stories) for r in rows] == [
        (r.word, r.day, r.stories, r.of_stories) for r in kept
    ]


def _trends_by_hand(told: list[Told], day: dt.date, length: int, config) -> list[tuple[str, float, float, float, bool]]:
    """(word, z, surprise, q, passed) of every word, from the formulas in `pipeline.temporal.trending`."""
    start = day - dt.timedelta(days=length - 1)
    oldest = start - dt.timedelta(days=config.past_days)
    recent: dict[str, int] = defaultdict(int)
    past: dict[str, dict[dt.date, int]] = defaultdict(lambda: defaultdict(int))
    n1, of_day = 0, defaultdict(int)
    for one in told:
        if start <= one.day <= day:
            n1 += 1
            for term in one.terms:
                recent[term] += 1
        elif oldest <= one.day < start:
            of_day[one.day] += 1
            for term in one.terms:
                past[term][one.day] += 1
    n2 = sum(of_day.values())
    rows = []
    for word in sorted({*recent, *past}):
        y1, y2 = recent[word], sum(past[word].values())
        if y1 + y2 < config.min_stories:
            continue
        a0 = config.prior_share * n1
        a = a0 * (y1 + y2) / (n1 + n2 + 1)
        delta = math.log((y1 + a) / (n1 + a0 - y1 - a)) - math.log((y2 + a) / (n2 + a0 - y2 - a))
        z = delta / math.sqrt(1 / (y1 + a) + 1 / (y2 + a))
        same = (y1 + y2) / (n1 + n2)
        cells = ((y1, n1 * same), (y2, n2 * same), (n1 - y1, n1 * (1 - same)), (n2 - y2, n2 * (1 - same)))
        ratio = sum(seen * math.log(seen / expected) for seen, expected in cells if seen)
        surprise = math.copysign(math.sqrt(2 * max(ratio, 0.0)), y1 / n1 - y2 / n2)
        share = y2 / n2
        moved = sorted(((past[word][d] - n * share) ** 2, d) for d, n in of_day.items())
        most = moved[-1][0]
        last = min(d for value, d in moved if value == most)
        usual = sum(n * share * (1 - share) for d, n in of_day.items() if d != last)
        surprise /= math.sqrt(max((5 + sum(v for v, d in moved if d != last)) / (5 + usual), 1.0))
        lift = ((y1 + 0.5) / (n1 + 1)) / ((y2 + 0.5) / (n2 + 1))
        floors = y1 >= config.min_stories and lift >= config.min_lift and delta > 0
        rows.append((word, z, surprise, y1, y2, floors))
    exact = binom.sf(np.array([r[3] for r in rows]) - 1, np.array([r[3] + r[4] for r in rows]), n1 / (n1 + n2))
    chance = np.maximum(norm.sf(np.array([r[2] for r in rows])), exact)
    p = [float(value) if row[5] else 1.0 for value, row in zip(chance, rows, strict=True)]
    order = sorted(range(len(p)), key=p.__getitem__)
    q, smallest = [1.0] * len(p), 1.0
    for rank in range(len(p), 0, -1):
        smallest = min(smallest, p[order[rank - 1]] * len(p) / rank)
        q[order[rank - 1]] = smallest
    return [
        (word, z, surprise, q[n], floors and q[n] <= config.false_discovery_rate)
        for n, (word, z, surprise, _, _, floors) in enumerate(rows)
    ]


def _base(ctx: Context) -> str:
    from pipeline.temporal.counting import vocabularies

    return next(iter(vocabularies(ctx).values()))
