"""What is held out to judge models: fresh queries with their slices, the corpus, and the frozen anchor set."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from pipeline.artifacts.query_sets import Corpus, Query
from pipeline.dataset.leakage import Guard, overlap, shingles
from pipeline.dataset.passages import is_verbatim, normalised
from pipeline.dataset.sampling import Dated, Headed, chance
from pipeline.errors import BadInputError

D = TypeVar("D", bound=Dated)


class JudgedArticle(Headed, Protocol):
    """What a query set needs of an article; `pipeline.store.articles.Article` has it."""

    @property
    def title(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def category(self) -> str: ...


def fits(article: JudgedArticle, text: str, min_query_chars: int) -> bool:
    """Whether an article's title can be a query for its text: long enough, and not standing in it."""
    return len(article.title.strip()) >= min_query_chars and bool(text) and not is_verbatim(article.title, text)


def holdout_from(
    articles: Sequence[Dated],
    *,
    days: int,
    queries_min: int,
    share_max: float,
    usable: Callable[[Sequence[Dated]], int],
) -> dt.date:
    """The first held-out day: the newest ``days`` days, and older ones until there are ``queries_min`` queries.

    ``usable`` counts the articles of one day whose titles can be queries. At most ``share_max`` of the articles are
    held out. Raises BadInputError when even one day would be more than that, or leave nothing to train on.
    """
    by_day: dict[dt.date, list[Dated]] = defaultdict(list)
    for article in articles:
        by_day[article.day].append(article)
    if len(by_day) < 2:
        raise BadInputError(
            "articles of at least two days are needed: the newest is held out to judge, the others to learn from"
        )
    newest = max(by_day)
    first, held_out, queries = newest, 0, 0
    for day in sorted(by_day, reverse=True):
        if held_out and (queries >= queries_min and (newest - day).days >= days):
            break
        if held_out and held_out + len(by_day[day]) > share_max * len(articles):
            break
        first = day
        held_out += len(by_day[day])
        queries += usable(by_day[day])
    if held_out > len(articles) / 2:
        raise BadInputError(
            f"{held_out} of {len(articles)} articles are of {first}: too few older ones to learn from; "
            "import an archive"
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
    titled: Iterable[JudgedArticle],
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
    titled = list(titled)
    wanted = frozenset[int]().union(*(shingles(text_of(article.text)) for article in titled))
    for row, article in enumerate(searched):
        by_title[normalised(article.title)].append(article)
        by_story[article.story_id].append(article)
        for shingle in shingles(text_of(article.text)) & wanted:
            by_shingle[shingle].append(row)
    queries: dict[str, Query] = {}
    for article in titled:
        key = normalised(article.title)
        if key in queries:
            continue
        relevant = {str(a.id): 1.0 for a in [*by_title[key], *by_story[article.story_id]]}
        own = shingles(text_of(article.text))
        # A shingle of very many texts is a formula and says nothing of the story.
        near = Counter(row for s in own if len(by_shingle[s]) <= 50 for row in by_shingle[s])
        for row, _ in near.most_common(20):
            if overlap(own, shingles(text_of(searched[row].text))) >= near_duplicate:
                relevant[str(searched[row].id)] = 1.0
        slices = slices_of(article.title, article.category, trending, new_words)
        queries[key] = Query(f"t{article.id}", " ".join(article.title.split()), relevant, slices)
    return list(queries.values())


def corpus_of(articles: Sequence[JudgedArticle], text_of: Callable[[str], str]) -> Corpus:
    """Articles as documents: id = article id, the text that is searched, and never the title."""
    kept = [(str(article.id), text) for article in articles if (text := text_of(article.text))]
    return Corpus([i for i, _ in kept], [text for _, text in kept])


def choose_anchor(
    articles: Sequence[D],
    read: Callable[[Sequence[D]], Sequence[JudgedArticle]],
    *,
    queries: int,
    documents: int,
    share_max: float,
    usable: Callable[[JudgedArticle], bool],
    seed: int,
) -> tuple[list[JudgedArticle], list[JudgedArticle]]:
    """Articles whose titles are the anchor set's queries, and the documents it searches (these articles among them).

    Chosen by hash over all of the articles' time, one of a story; at most ``share_max`` of the articles become
    queries. ``read`` gives the texts of some of the articles, of as few as are needed.
    """

    def rank(article: Dated) -> float:
        return chance(seed, "anchor", article.id)

    order = sorted(articles, key=rank)
    most = max(1, min(queries, int(share_max * len(articles))))
    titled: list[JudgedArticle] = []
    stories: set[int] = set()
    titles: set[str] = set()
    for start in range(0, len(order), most):
        for article in sorted(read(order[start : start + most]), key=rank):
            title = normalised(article.title)
            if len(titled) < most and article.story_id not in stories and title not in titles and usable(article):
                titled.append(article)
                stories.add(article.story_id)
                titles.add(title)
        if len(titled) == most:
            break
    ids = {a.id for a in titled}
    others = read([a for a in order if a.id not in ids][: max(0, documents - len(titled))])
    return titled, sorted([*titled, *others], key=lambda a: (a.day, a.id))


def hold_all(guard: Guard, articles: Iterable[JudgedArticle]) -> Guard:
    """Hold articles out of training."""
    for article in articles:
        guard.hold_out(article_id=article.id, story_id=article.story_id, title=article.title, text=article.text)
    return guard
