"""The training set: passages, and queries that they answer, made of articles without anybody's labels."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pipeline.artifacts.training_set import Example, Passage, TrainingSet
from pipeline.config.dataset import DatasetConfig
from pipeline.dataset.leakage import Guard
from pipeline.dataset.negatives import mine
from pipeline.dataset.passages import is_verbatim, normalised, passages, without
from pipeline.dataset.rewrites import Rewriter, SynonymGroup, alias_groups
from pipeline.dataset.sampling import Headed, chance, replayed, weight_of
from pipeline.errors import BadInputError
from pipeline.hashing import content_hash
from pipeline.progress import Progress, silent
from pipeline.text.aliases import find_aliases

FORMAT = 5
"""Changes when the same articles and settings would give another training set."""


class TrainingArticle(Headed, Protocol):
    """What a training set needs of an article; `pipeline.store.articles.Article` has it."""

    @property
    def title(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def outlet(self) -> str: ...


A = TypeVar("A", bound=Headed)


@dataclass
class _Work:
    """What is being collected; positions in ``texts`` are those of ``passages``."""

    passages: list[Passage] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)  # position of each example's passage
    asked: set[tuple[str, int]] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)

    def ask(self, query: str, kind: str, position: int, weight: float, settings: DatasetConfig, guard: Guard) -> bool:
        """Add an example, unless there is a reason not to."""
        passage = self.passages[position]
        query = " ".join(query.split())
        reason = None
        if len(query) < settings.min_query_chars:
            reason = "query_too_short"
        elif guard.refuses_query(query):
            reason = "query_held_out"
        elif is_verbatim(query, passage.text):
            reason = "query_in_passage"
        elif (normalised(query), position) in self.asked:
            reason = "asked_twice"
        if reason:
            self.refused[reason] += 1
            return False
        self.asked.add((normalised(query), position))
        self.examples.append(
            Example(query=query, kind=kind, positive=passage.id, day=passage.day, weight=round(weight, 6))
        )
        self.answers.append(position)
        return True


def make_training_set(
    articles: Sequence[TrainingArticle],
    *,
    as_of: dt.date,
    settings: DatasetConfig,
    synonym_groups: Iterable[SynonymGroup] = (),
    exclude: Guard | None = None,
    recipe: dict[str, Any] | None = None,
    progress: Progress = silent,
) -> TrainingSet:
    """Passages and examples of ``articles``, the newest of which are of ``as_of``.

    Examples: title -> passage, where a title cannot be asked sentence -> the passage it was taken out of, and both
    with an alias or a synonym replaced (``settings.expansion_ratio`` of all pairs). ``exclude`` refuses what is held
    out. Deterministic.
    Raises BadInputError when nothing is left to learn from.
    """
    guard = exclude or Guard(settings.near_duplicate)
    groups = list(synonym_groups)
    work = _Work()
    chosen = select(articles, as_of=as_of, settings=settings, guard=guard, refused=work.refused)
    near = {article.id for article in chosen if guard.near_duplicate(article.text)}
    if near:
        work.refused["article_near_duplicate"] += len(near)
        chosen = [article for article in chosen if article.id not in near]
    for done, article in enumerate(chosen):
        if done % 500 == 0:
            progress("pairs", done, len(chosen))
        _pairs_of(article, as_of, settings, guard, work)
    if settings.generator:
        _generate(as_of, settings, guard, work, progress)
    _expand(chosen, groups, settings, guard, work)
    if not work.examples:
        raise BadInputError(
            f"{len(articles)} articles give no training pair ({dict(work.refused)}): take more days or longer texts"
        )
    _negatives(settings, work, progress)
    recipe = {
        "format": FORMAT,
        "as_of": as_of.isoformat(),
        "settings": settings.model_dump(mode="json"),
        "synonyms": content_hash([[list(g.words), g.confidence] for g in groups]),
        **(recipe or {}),
    }
    return TrainingSet(work.passages, work.examples, recipe, _report(articles, chosen, work))


def select(
    articles: Sequence[A], *, as_of: dt.date, settings: DatasetConfig, guard: Guard, refused: Counter[str]
) -> list[A]:
    """The articles that a training set is made of, in their order: no text is needed to choose them.

    At most ``settings.max_articles`` of the window, without what ``guard`` holds out by article or story; ``refused``
    counts those by reason.
    """
    allowed = []
    for article in articles:
        reason = guard.refuses(article_id=article.id, story_id=article.story_id)
        if reason is None and (as_of - article.day).days >= settings.window_days:
            reason = "too_old"
        if reason:
            refused[f"article_{reason}"] += 1
        else:
            allowed.append(article)
    return replayed(
        allowed,
        newest=as_of,
        recent_days=settings.recent_days,
        most=settings.max_articles,
        replay_share=settings.replay_share,
        half_life=settings.half_life_days,
        seed=settings.seed,
    )


def _pairs_of(article: TrainingArticle, as_of: dt.date, settings: DatasetConfig, guard: Guard, work: _Work) -> None:
    parts = passages(article.text, settings.passage_chars, settings.passages_per_article, settings.min_passage_chars)
    if not parts:
        work.refused["article_too_short"] += 1
        return
    weight = weight_of((as_of - article.day).days, settings.half_life_days, settings.minimum_weight)
    for number, held in enumerate(parts):
        position = len(work.passages)
        work.passages.append(
            Passage(
                id=f"{article.id}-{number}",
                article_id=article.id,
                story_id=article.story_id,
                outlet=article.outlet,
                day=article.day,
                text=" ".join(held),
            )
        )
        if work.ask(article.title, "title", position, weight, settings, guard):
            continue
        # A sentence asks only where the title cannot: what is taken out is missed where titles are answered.
        taken = _taken(held, article.id, number, settings)
        work.passages[position].text = without(held, taken)
        asked = [work.ask(held[index], "sentence", position, weight, settings, guard) for index in taken]
        if not any(asked):
            # Not in vain: it is a negative of others.
            work.refused["passage_without_query"] += 1


def _taken(parts: list[str], article_id: int, number: int, settings: DatasetConfig) -> list[int]:
    """Sentences that become queries: chosen by hash, at most a third of the passage, the rest still long enough."""
    fit = [i for i, part in enumerate(parts) if settings.min_query_chars <= len(part) <= 160]
    order = sorted(fit, key=lambda i: chance(settings.seed, "sentence", article_id, number, i))
    taken: list[int] = []
    for index in order[: min(settings.sentences_per_passage, len(parts) // 3)]:
        if len(without(parts, [*taken, index])) >= settings.min_passage_chars:
            taken.append(index)
    return sorted(taken)


def _generate(as_of: dt.date, settings: DatasetConfig, guard: Guard, work: _Work, progress: Progress) -> None:
    """Queries written by a model; one that comes near a held-out query is refused beside what every query is."""
    from pipeline.dataset.generated import generate_queries

    written = generate_queries(
        [passage.text for passage in work.passages],
        settings.generator,
        queries=settings.generated_per_passage,
        prompt=settings.generator_prompt,
        progress=lambda done, total: progress("queries written by a model", done, total),
    )
    for position, queries in enumerate(written):
        age = (as_of - work.passages[position].day).days
        weight = weight_of(age, settings.half_life_days, settings.minimum_weight)
        for query in queries:
            if guard.near_query(query):
                work.refused["query_near_held_out"] += 1
            else:
                work.ask(query, "generated", position, weight, settings, guard)


def _expand(
    chosen: Sequence[TrainingArticle],
    groups: Sequence[SynonymGroup],
    settings: DatasetConfig,
    guard: Guard,
    work: _Work,
) -> None:
    """Rewritten examples, up to the share wanted; which ones is decided by hash."""
    aliases = find_aliases(
        [article.text for article in chosen],
        [article.day for article in chosen],
        stories=[article.story_id for article in chosen],
    )
    by_alias = Rewriter(alias_groups(aliases), settings.minimum_confidence, "alias")
    by_synonym = Rewriter(groups, settings.minimum_confidence)
    possible = []
    for example, position in zip(work.examples, work.answers, strict=True):
        for kind, query in [*by_alias.rewrite(example.query), *by_synonym.rewrite(example.query)]:
            possible.append((chance(settings.seed, "rewrite", example.positive, query), kind, query, position, example))
    wanted = round(settings.expansion_ratio * len(work.examples))
    for _, kind, query, position, example in sorted(possible, key=lambda row: row[:4]):
        if wanted <= 0:
            break
        wanted -= work.ask(query, kind, position, example.weight, settings, guard)


def _negatives(settings: DatasetConfig, work: _Work, progress: Progress) -> None:
    if len(work.passages) < 2:
        raise BadInputError("a training set needs at least two passages: take more days")
    queries = [example.query for example in work.examples]
    mined = mine(
        queries,
        work.answers,
        [passage.text for passage in work.passages],
        top_k=settings.hard_top_k,
        negatives=settings.negatives,
        hard_share=settings.hard_share,
        margin=settings.hard_margin,
        near_duplicate=settings.near_duplicate,
        stories=[passage.story_id for passage in work.passages],
        seed=settings.seed,
        refused=work.refused,
        progress=lambda done, total: progress("negatives", done, total),
    )
    for example, negatives in zip(work.examples, mined, strict=True):
        example.hard = [work.passages[i].id for i in negatives.hard]
        example.random = [work.passages[i].id for i in negatives.random]


def _report(articles: Sequence[TrainingArticle], chosen: Sequence[TrainingArticle], work: _Work) -> dict[str, Any]:
    kinds = Counter(example.kind for example in work.examples)
    return {
        "articles": len(articles),
        "articles_used": len(chosen),
        "passages": len(work.passages),
        "examples": len(work.examples),
        "kinds": dict(sorted(kinds.items())),
        "hard_negatives": sum(len(e.hard) for e in work.examples),
        "random_negatives": sum(len(e.random) for e in work.examples),
        "months": dict(sorted(Counter(a.day.strftime("%Y-%m") for a in chosen).items())),
        "refused": dict(sorted(work.refused.items())),
    }
