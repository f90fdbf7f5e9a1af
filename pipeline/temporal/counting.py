"""Counting of the terms of articles, once for each counting version (vocabulary or analyser), in batches by day.

A batch is one transaction, under a lock of the version: a kill loses the current batch only, and a second run waits for
the first.
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
RULES = 2  # increment it when the code takes other words of an article: then everything is counted again
PHRASE_REACH = 300  # characters from the start in which phrases are counted: headline and lead name the event


_LINE_END = re.compile(r"\s*\n\s*")


@dataclass(frozen=True, slots=True)
class CountReport:
    """Articles counted at the token and the word level, and batches written, in one run."""

    token_articles: int
    word_articles: int
    batches: int


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of an article: distinct terms, number of occurrences, and number of space-separated words."""

    terms: frozenset[int] | frozenset[str]
    occurrences: int
    spaces: int


class Counted(Protocol):
    """The fields of an article that `tally` reads."""

    @property
    def outlet(self) -> str: ...

    @property
    def story_id(self) -> int: ...


Analyser = Callable[[Sequence[Article]], Iterable[Terms]]


def document(title: str, text: str) -> str:
    """The text of an article that is counted."""
    return f"{title}\n{text}"


def by_words(articles: Sequence[Article]) -> Iterable[Terms]:
    """Words, compounds, and phrases near the beginning of the articles."""
    return word_terms([document(article.title, article.text) for article in articles])


def word_terms(texts: Sequence[str]) -> Iterable[Terms]:
    """The terms of texts at the word level."""
    from pipeline.text import words

    # Keeps the last word of a headline and the first of the text from becoming a phrase: the analyser joins words that
    # are one character apart.
    apart = (_LINE_END.sub("\n\n", text) for text in texts)
    for text, analysis in zip(texts, words.analyse(apart), strict=True):
        phrases = {phrase for phrase, start in analysis.phrases if start < PHRASE_REACH}
        yield Terms(frozenset(analysis.words) | phrases, len(analysis.words), len(text.split()))


def word_key() -> str:
    """Key of the word level: version of the analyser and of the rules here."""
    from pipeline.text import words

    return f"{words.key()}-terms{RULES}"


def by_tokens(tokenizer_json: str) -> Analyser:
    """An analyser into token ids of a vocabulary, without special tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    special = frozenset(id_ for id_, token in tokenizer.get_added_tokens_decoder().items() if token.special)

    def analyse(articles: Sequence[Article]) -> Iterable[Terms]:
        texts = [document(article.title, article.text) for article in articles]
        for text, encoded in zip(texts, tokenizer.encode_batch_fast(texts, add_special_tokens=False), strict=True):
            ids = encoded.ids  # the attribute builds a new list at each access
            yield Terms(frozenset(ids) - special, len(ids), len(text.split()))

    return analyse


def tally(
    articles: Sequence[Counted], terms: Sequence[Terms], earlier: Sequence[tuple[int, Terms]] = ()
) -> tuple[Counts, list[str] | None]:
    """The counts of articles of one day; ``earlier`` are (story, terms) of articles that are counted already.

    A term is counted once for each story and day, whichever of its articles contains it. For words, ids are indices
    into the sorted words, which are returned second; for tokens they are token ids.
    """
    in_articles: Counter[int | str] = Counter()
    in_stories: Counter[int | str] = Counter()
    outlets: dict[int | str, int] = defaultdict(int)
    seen: dict[int, set[int | str]] = defaultdict(set)
    for story, article_terms in earlier:
        seen[story] |= article_terms.terms
    earlier_stories = set(seen)
    all_outlets = 0
    for article, own in zip(articles, terms, strict=True):
        bit = store.outlet_bit(article.outlet)
        all_outlets |= bit
        in_articles.update(own.terms)
        in_stories.update(own.terms - seen[article.story_id])
        seen[article.story_id] |= own.terms
        for term in own.terms:
            outlets[term] |= bit
    ordered: list[int | str] = sorted(in_articles)
    names = [term for term in ordered if isinstance(term, str)]
    return (
        Counts(
            np.arange(len(names), dtype=np.int64) if names else np.array(ordered, np.int64),
            np.array([in_articles[term] for term in ordered], np.int64),
            np.array([in_stories[term] for term in ordered], np.int64),
            np.array([outlets[term] for term in ordered], np.uint64),
            len(articles),
            len({article.story_id for article in articles} - earlier_stories),
            sum(own.occurrences for own in terms),
            sum(own.spaces for own in terms),
            all_outlets,
        ),
        names or None,
    )


def count_articles(ctx: Context, *, progress: Progress = silent) -> CountReport:
    """Count all articles that are not counted yet, as tokens of the base model's vocabulary and as words.

    Where the champion has an older vocabulary, its tokens are counted, too. Raises RefusedError without a base. An
    as-of has to be taken *after* counting (`Store.settle`): it does not include what is counted after its ``known_by``.
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
    """The counted vocabularies, hash to an artifact of a model with it; that of the newest base comes first."""
    with ctx.store.begin() as conn:
        base, champion = models.base(conn), models.champion(conn)
    if base is None:
        raise RefusedError(NO_BASE)
    artifacts = {base.vocabulary_hash: base.artifact}
    if champion is not None:
        artifacts.setdefault(champion.vocabulary_hash, champion.artifact)
    return artifacts


def readable_words(conn: Connection) -> store.CountingVersion | None:
    """The counting version of words to read: that of the current analyser where it is complete, else the newest
    complete one. (After a downgrade of the analyser the newest version is no longer counted.)
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
            # A recount keeps the batches and times of the older version, so that an as-of has the same articles in
            # both. It is not read before it is complete.
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
        for first, last in _ranges(days, limit):
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
    """Batches to count together: about ``limit`` articles, each day at most once (stories count once a day)."""
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


def _ranges(days: Sequence[tuple[dt.date, int]], limit: int) -> Iterator[tuple[dt.date, dt.date]]:
    """(first, last) days of ranges with about ``limit`` articles, from (day, articles) in order."""
    start, total = None, 0
    for day, articles in days:
        start, total = start or day, total + articles
        if total >= limit:
            yield start, day
            start, total = None, 0
    if start is not None:
        yield start, days[-1][0]


def _count_groups(ctx: Context, version_id: int, groups: Sequence[Group], analyse: Analyser) -> list[int]:
    """Count batches of different days in one transaction; returns the number of articles of each.

    Articles that are removed during the analysis are left out.
    """
    wanted = [id_ for group in groups for id_ in group.article_ids]
    while True:
        with ctx.store.begin() as conn:
            articles = _read(conn, wanted, groups)
            counted = store.counted_of_stories(
                conn, version_id, [group.day for group in groups], [article.story_id for article in articles]
            )
            earlier = _read(conn, counted, groups)
        if not articles:
            return []
        terms = dict(zip([a.id for a in (*articles, *earlier)], analyse([*articles, *earlier]), strict=True))
        by_id = {article.id: article for article in articles}
        batches = []
        for group in groups:
            own = [by_id[id_] for id_ in group.article_ids if id_ in by_id]
            counted_terms = [(article.story_id, terms[article.id]) for article in earlier if article.day == group.day]
            if own:
                batches.append((group, own, *tally(own, [terms[article.id] for article in own], counted_terms)))
        with ctx.store.begin() as conn:
            if not store.still_there(conn, list(by_id)):
                continue
            names = sorted({name for *_, words in batches for name in words or ()})
            ids = store.word_ids(conn, version_id, names, add=True) if names else {}
            now = writing(conn)
            for group, own, counts, words in batches:
                kept = _with_ids(counts, words, ids) if words is not None else counts
                at = group.counted_at or now
                store.add_batch(conn, version_id, group.day, at, kept, [article.id for article in own])
        return [len(own) for _, own, *_ in batches]


def _read(conn: Connection, ids: Sequence[int], groups: Sequence[Group]) -> list[Article]:
    """The articles; for a batch that is recounted, in the versions that it counted."""
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
