"""Counting: every article's terms, once a counting version, in batches of a day.

One transaction a batch, under a lock of the version: `kill -9` loses the batch that was being counted and nothing
else, and a second run waits for the first and finds nothing left to do.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from sqlalchemy.engine import Connection

from pipeline.errors import RefusedError
from pipeline.progress import Progress, silent
from pipeline.store import articles as article_rows
from pipeline.store import counts as store
from pipeline.store import models
from pipeline.store.articles import Article
from pipeline.store.base import settle, writing
from pipeline.store.counts import Counts, Group

if TYPE_CHECKING:
    from pipeline.context import Context

NO_BASE = "there is no base model yet, and its vocabulary is what is counted: run `garam base`"
RULES = 2  # raise it whenever what is taken of an article as words changes: counts by other rules are another version
PHRASE_REACH = 300  # characters from the start in which phrases are counted: headline and lede name the event


_LINE_END = re.compile(r"\s*\n\s*")


@dataclass(frozen=True, slots=True)
class CountReport:
    """What a run counted: articles at each level (those of one level are those of the other) and batches written."""

    token_articles: int
    word_articles: int
    batches: int


@dataclass(frozen=True, slots=True)
class Terms:
    """One article's terms: its set, how many there were with repeats, and the words between spaces."""

    terms: frozenset[int] | frozenset[str]
    occurrences: int
    spaces: int


class Counted(Protocol):
    """What counting needs to know of a document besides its terms."""

    @property
    def outlet(self) -> str: ...

    @property
    def story_id(self) -> int: ...


Analyser = Callable[[Sequence[Article]], Iterable[Terms]]


def document(title: str, text: str) -> str:
    """What is counted of an article."""
    return f"{title}\n{text}"


def by_words(found: Sequence[Article]) -> Iterable[Terms]:
    """Words, compounds, and the phrases of the article's beginning."""
    return word_terms([document(article.title, article.text) for article in found])


def word_terms(texts: Sequence[str]) -> Iterable[Terms]:
    """The terms of plain texts at the word level."""
    from pipeline.text import words

    # A headline's last word and the text's first are no phrase: the analyser joins words one character apart.
    apart = (_LINE_END.sub("\n\n", text) for text in texts)
    for text, analysis in zip(texts, words.analyse(apart), strict=True):
        phrases = {phrase for phrase, start in analysis.phrases if start < PHRASE_REACH}
        yield Terms(frozenset(analysis.words) | phrases, len(analysis.words), len(text.split()))


def word_key() -> str:
    """What defines the terms of the word level: the analyser, and the rules here."""
    from pipeline.text import words

    return f"{words.key()}-terms{RULES}"


def by_tokens(tokenizer_json: str) -> Analyser:
    """Tokens of a vocabulary, special ones left out; ids are the vocabulary's."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    special = frozenset(id_ for id_, token in tokenizer.get_added_tokens_decoder().items() if token.special)

    def analyse(found: Sequence[Article]) -> Iterable[Terms]:
        texts = [document(article.title, article.text) for article in found]
        for text, encoded in zip(texts, tokenizer.encode_batch_fast(texts, add_special_tokens=False), strict=True):
            ids = encoded.ids  # a new list each time it is asked for
            yield Terms(frozenset(ids) - special, len(ids), len(text.split()))

    return analyse


def tally(
    found: Sequence[Counted], terms: Sequence[Terms], earlier: Sequence[tuple[int, Terms]] = ()
) -> tuple[Counts, list[str] | None]:
    """The counts of some articles of one day; ``earlier`` are (story, terms) of articles that are counted already.

    A story counts once a term and day, whichever of its articles has it. With words as terms the ids are positions in
    the sorted words, which come second; with tokens they are the token ids.
    """
    in_articles: Counter[int | str] = Counter()
    in_stories: Counter[int | str] = Counter()
    outlets: dict[int | str, int] = defaultdict(int)
    seen: dict[int, set[int | str]] = defaultdict(set)
    for story, had in earlier:
        seen[story] |= had.terms
    known = set(seen)
    everyone = 0
    for article, had in zip(found, terms, strict=True):
        bit = store.outlet_bit(article.outlet)
        everyone |= bit
        in_articles.update(had.terms)
        in_stories.update(had.terms - seen[article.story_id])
        seen[article.story_id] |= had.terms
        for term in had.terms:
            outlets[term] |= bit
    ordered: list[int | str] = sorted(in_articles)
    names = [term for term in ordered if isinstance(term, str)]
    return (
        Counts(
            np.arange(len(names), dtype=np.int64) if names else np.array(ordered, np.int64),
            np.array([in_articles[term] for term in ordered], np.int64),
            np.array([in_stories[term] for term in ordered], np.int64),
            np.array([outlets[term] for term in ordered], np.uint64),
            len(found),
            len({article.story_id for article in found} - known),
            sum(had.occurrences for had in terms),
            sum(had.spaces for had in terms),
            everyone,
        ),
        names or None,
    )


def count_articles(ctx: Context, *, progress: Progress = silent) -> CountReport:
    """Count every article that is not counted yet, as tokens of the base model's vocabulary and as words.

    While a champion still serves an older vocabulary, that one is counted too. Raises RefusedError without a base.
    Take an as-of *after* counting (`Store.settle`): what is counted later than its ``known_by`` is not in it.
    """
    done = {"token": 0, "word": 0}
    batches = 0
    for vocabulary, artifact in vocabularies(ctx).items():
        text = (ctx.artifacts.get(artifact) / "tokenizer.json").read_text(encoding="utf-8")
        articles, written = _count_level(ctx, "token", vocabulary, by_tokens(text), progress)
        done["token"] += articles
        batches += written
    articles, written = _count_level(ctx, "word", word_key(), by_words, progress)
    return CountReport(done["token"], articles, batches + written)


def vocabularies(ctx: Context) -> dict[str, str]:
    """The vocabularies that are counted (hash -> a model artifact that has it): the newest base's comes first."""
    with ctx.store.begin() as conn:
        base, champion = models.base(conn), models.champion(conn)
    if base is None:
        raise RefusedError(NO_BASE)
    found = {base.vocabulary_hash: base.artifact}
    if champion is not None:
        found.setdefault(champion.vocabulary_hash, champion.artifact)
    return found


def readable_words(conn: Connection) -> store.CountingVersion | None:
    """The word level's counting version to read: of today's analyser once it is ready, else the newest that is.

    Not simply the newest: after an analyser was taken back, its version is counted no more.
    """
    key = word_key()
    ready = [v for v in store.versions(conn, "word") if v.ready_at]
    return next((v for v in ready if v.key == key), ready[0] if ready else None)


def _count_level(ctx: Context, level: str, key: str, analyse: Analyser, progress: Progress) -> tuple[int, int]:
    limit = ctx.config.temporal.batch_articles
    with ctx.store.begin() as conn:
        version = store.ensure_version(conn, level, key, writing(conn))
        older = next((v for v in store.versions(conn, level) if v.ready_at and v.id < version.id), None)
    articles = batches = 0

    def count(groups: Sequence[Group]) -> int:
        nonlocal articles, batches
        counted = _count_groups(ctx, version.id, groups, analyse)
        articles, batches = articles + sum(counted), batches + len(counted)
        return sum(counted)

    with ctx.store.lock(f"garam.count.{version.id}"):
        if version.ready_at is None and older is not None:
            # A recount keeps the older version's batches and their times, so that (day, known by) means the same
            # articles in both; nobody reads it before it is ready.
            with ctx.store.begin() as conn:
                redo = store.batches_to_redo(conn, version.id, older.id)
            for groups in _runs(redo, limit):
                count(groups)
                progress(f"recounting {level}s", articles, sum(len(group.article_ids) for group in redo))
        with ctx.store.begin() as conn:
            settle(conn)
            newest = store.newest_article(conn)
        with ctx.store.begin() as conn:
            days = store.open_days(conn, version.id)
        done, total = 0, sum(n for _, n in days)
        for first, last in _stretches(days, limit):
            while True:
                with ctx.store.begin() as conn:
                    groups = store.uncounted(conn, version.id, first, last, limit)
                if not groups:
                    break
                done += count(groups)
                progress(f"counting {level}s", done, total)
        with ctx.store.begin() as conn:
            store.mark_ready(conn, version.id, writing(conn), newest)
    return articles, batches


def _runs(groups: Sequence[Group], limit: int) -> Iterator[list[Group]]:
    """Groups that are counted together: about ``limit`` articles, each day once (a story is told once a day)."""
    run: list[Group] = []
    for group in groups:
        if run and (
            any(other.day == group.day for other in run)
            or sum(len(other.article_ids) for other in run) + len(group.article_ids) > limit
        ):
            yield run
            run = []
        run.append(group)
    if run:
        yield run


def _stretches(days: Sequence[tuple[dt.date, int]], limit: int) -> Iterator[tuple[dt.date, dt.date]]:
    """First and last days of stretches with about ``limit`` articles, from (day, articles) in order."""
    start, had = None, 0
    for day, articles in days:
        start, had = start or day, had + articles
        if had >= limit:
            yield start, day
            start, had = None, 0
    if start is not None:
        yield start, days[-1][0]


def _count_groups(ctx: Context, version_id: int, groups: Sequence[Group], analyse: Analyser) -> list[int]:
    """Count batches of different days in one transaction; how many articles each has.

    What was removed while it was being analysed is left out.
    """
    wanted = [id_ for group in groups for id_ in group.article_ids]
    while True:
        with ctx.store.begin() as conn:
            found = _read(conn, wanted, groups)
            told = store.counted_of_stories(
                conn, version_id, [group.day for group in groups], [article.story_id for article in found]
            )
            earlier = _read(conn, told, groups)
        if not found:
            return []
        terms = dict(zip([a.id for a in (*found, *earlier)], analyse([*found, *earlier]), strict=True))
        by_id = {article.id: article for article in found}
        batches = []
        for group in groups:
            mine = [by_id[id_] for id_ in group.article_ids if id_ in by_id]
            had = [(article.story_id, terms[article.id]) for article in earlier if article.day == group.day]
            if mine:
                batches.append((group, mine, *tally(mine, [terms[article.id] for article in mine], had)))
        with ctx.store.begin() as conn:
            if not store.still_there(conn, list(by_id)):
                continue
            names = sorted({name for *_, known in batches for name in known or ()})
            ids = store.word_ids(conn, version_id, names, add=True) if names else {}
            now = writing(conn)
            for group, mine, counts, known in batches:
                kept = _with_ids(counts, known, ids) if known is not None else counts
                at = group.counted_at or now
                store.add_batch(conn, version_id, group.day, at, kept, [article.id for article in mine])
        return [len(mine) for _, mine, *_ in batches]


def _read(conn: Connection, ids: Sequence[int], groups: Sequence[Group]) -> list[Article]:
    """These articles; where a batch is redone, in the version that it counted."""
    newest = article_rows.by_ids(conn, ids)
    redone = {group.day: group.counted_at for group in groups if group.counted_at is not None}
    then: dict[dt.datetime, list[int]] = defaultdict(list)
    for article in newest:
        if article.day in redone and article.version > 1:
            then[redone[article.day]].append(article.id)
    older = {a.id: a for known_by, some in then.items() for a in article_rows.by_ids(conn, some, known_by)}
    return [older.get(article.id, article) for article in newest]


def _with_ids(counts: Counts, names: Sequence[str], ids: dict[str, int]) -> Counts:
    mapped = np.array([ids[name] for name in names], np.int64)
    order = np.argsort(mapped)
    return Counts(
        mapped[order],
        counts.articles[order],
        counts.stories[order],
        counts.outlets[order],
        counts.n_articles,
        counts.n_stories,
        counts.terms,
        counts.spaces,
        counts.all_outlets,
    )
