"""What is held out to judge models: fresh queries with their slices, the corpus, and the frozen anchor set."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from pipeline.dataset.leakage import Guard, overlap, shingles
from pipeline.dataset.passages import is_verbatim, normalised
from pipeline.dataset.sampling import chance
from pipeline.errors import BadInputError
from pipeline.querysets import Corpus, Query


class JudgedArticle(Protocol):
    """What a query set needs of an article; `pipeline.store.articles.Article` has it."""

    @property
    def id(self) -> int: ...
    @property
    def title(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def day(self) -> dt.date: ...
    @property
    def story_id(self) -> int: ...
    @property
    def category(self) -> str: ...


def fits(article: JudgedArticle, text: str, min_query_chars: int) -> bool:
    """Whether an article's title can be a query for its text: long enough, and not standing in it."""
    return len(article.title.strip()) >= min_query_chars and bool(text) and not is_verbatim(article.title, text)


def holdout_from(
    articles: Sequence[JudgedArticle],
    *,
    days: int,
    queries_min: int,
    share_max: float,
    usable: Callable[[JudgedArticle], bool],
) -> dt.date:
    """The first held-out day: the newest ``days`` days, and older ones until ``queries_min`` titles can be asked.

    Thin days exist, and so do weeks without any. At most ``share_max`` of the articles are held out. Raises
    BadInputError when even one day would be more than that, or leave nothing to train on.
    """
    by_day: dict[dt.date, list[JudgedArticle]] = defaultdict(list)
    for article in articles:
        by_day[article.day].append(article)
    if len(by_day) < 2:
        raise BadInputError(
            "articles of at least two days are needed: the newest is held out to judge, the others to learn from"
        )
    newest = max(by_day)
    first, held, asked = newest, 0, 0
    for day in sorted(by_day, reverse=True):
        if held and (asked >= queries_min and (newest - day).days >= days):
            break
        if held and held + len(by_day[day]) > share_max * len(articles):
            break
        first = day
        held += len(by_day[day])
        asked += sum(map(usable, by_day[day]))
    if held > len(articles) / 2:
        raise BadInputError(
            f"{held} of {len(articles)} articles are of {first}: too few older ones to learn from; import an archive"
        )
    return first


def slices_of(title: str, category: str, trending: Sequence[str], new_words: Sequence[str]) -> tuple[str, ...]:
    """Slices that a held-out title belongs to: its category, and whether it names a trending or a new word."""
    found = [f"category:{category}"] if category else []
    if _names(title, trending):
        found.append("trending")
    if _names(title, new_words):
        found.append("new_words")
    return tuple(found)


def _names(title: str, words: Sequence[str]) -> bool:
    return any(re.search(f"(?<![0-9A-Za-z가-힣]){re.escape(word)}", title, re.IGNORECASE) for word in words if word)


def title_queries(
    asked: Iterable[JudgedArticle],
    searched: Sequence[JudgedArticle],
    text_of: Callable[[str], str],
    near_duplicate: float,
    *,
    trending: Sequence[str] = (),
    new_words: Sequence[str] = (),
) -> list[Query]:
    """A query for each title; relevant are its article, its namesakes and tellings of the same story.

    Articles of one title (parts of one speech, corrections) all answer it. Other outlets' near-duplicates do too:
    they are found by story, and by common shingles where the day's clustering missed one. One query a title.
    """
    by_title: dict[str, list[JudgedArticle]] = defaultdict(list)
    by_story: dict[int, list[JudgedArticle]] = defaultdict(list)
    by_shingle: dict[int, list[int]] = defaultdict(list)
    own = [shingles(text_of(article.text)) for article in searched]
    for place, article in enumerate(searched):
        by_title[normalised(article.title)].append(article)
        by_story[article.story_id].append(article)
        for shingle in own[place]:
            by_shingle[shingle].append(place)
    queries: dict[str, Query] = {}
    for article in asked:
        key = normalised(article.title)
        if key in queries:
            continue
        relevant = {str(a.id): 1.0 for a in [*by_title[key], *by_story[article.story_id]]}
        mine = shingles(text_of(article.text))
        # A shingle of very many texts is a formula, not a telling.
        near = Counter(place for s in mine if len(by_shingle[s]) <= 50 for place in by_shingle[s])
        for place, _ in near.most_common(20):
            if overlap(mine, own[place]) >= near_duplicate:
                relevant[str(searched[place].id)] = 1.0
        slices = slices_of(article.title, article.category, trending, new_words)
        queries[key] = Query(f"t{article.id}", " ".join(article.title.split()), relevant, slices)
    return list(queries.values())


def corpus_of(articles: Sequence[JudgedArticle], text_of: Callable[[str], str]) -> Corpus:
    """Articles as documents: id = article id, the text that is searched, and never the title."""
    kept = [(str(article.id), text) for article in articles if (text := text_of(article.text))]
    return Corpus([i for i, _ in kept], [text for _, text in kept])


def choose_anchor(
    articles: Sequence[JudgedArticle],
    *,
    queries: int,
    documents: int,
    share_max: float,
    usable: Callable[[JudgedArticle], bool],
    seed: int,
) -> tuple[list[JudgedArticle], list[JudgedArticle]]:
    """Articles whose titles the anchor set asks, and the documents it searches (these articles among them).

    Chosen by hash over all of the articles' time, one of a story; at most ``share_max`` of the articles are asked.
    """
    order = sorted(articles, key=lambda a: chance(seed, "anchor", a.id))
    most = max(1, min(queries, int(share_max * len(articles))))
    asked: list[JudgedArticle] = []
    stories: set[int] = set()
    titles: set[str] = set()
    for article in order:
        if len(asked) >= most:
            break
        title = normalised(article.title)
        if article.story_id not in stories and title not in titles and usable(article):
            asked.append(article)
            stories.add(article.story_id)
            titles.add(title)
    ids = {a.id for a in asked}
    others = [a for a in order if a.id not in ids][: max(0, documents - len(asked))]
    searched = sorted([*asked, *others], key=lambda a: (a.day, a.id))
    return asked, searched


def hold_all(guard: Guard, articles: Iterable[JudgedArticle]) -> Guard:
    """Hold articles out of training."""
    for article in articles:
        guard.hold(article_id=article.id, story_id=article.story_id, title=article.title, text=article.text)
    return guard
