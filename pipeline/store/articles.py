"""Articles as the other stages read them: by as-of, in a stable order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.engine import Connection

from pipeline.asof import AsOf
from pipeline.store.schema import article_versions, articles


@dataclass(frozen=True, slots=True)
class Article:
    """One news item in the version that the as-of knew."""

    id: int
    url: str
    title: str
    text: str
    published_at: dt.datetime
    first_seen_at: dt.datetime
    day: dt.date
    outlet: str
    category: str
    version: int
    story_id: int  # the article that it retells (`pipeline.news.stories`), its own id when it retells none


@dataclass(frozen=True, slots=True)
class Heading:
    """An article without its words: what is needed of every article to choose those that are read."""

    id: int
    day: dt.date
    version: int
    story_id: int
    outlet: str


def columns(versions: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    """What an `Article` is made of, in its order; title, text and version are those of ``versions``."""
    story = sa.func.coalesce(articles.c.story_id, articles.c.id).label("story_id")
    ours = {"title": versions.c.title, "text": versions.c.text, "version": versions.c.version, "story_id": story}
    return [ours[name] if name in ours else articles.c[name] for name in Article.__slots__]


def _newest(known_by: dt.datetime | None, ids: Sequence[int] | None = None) -> sa.Subquery:
    """The newest version of each article (of these, if given), of those seen by then."""
    query = (
        sa.select(article_versions)
        .ext(distinct_on(article_versions.c.article_id))
        .order_by(article_versions.c.article_id, article_versions.c.version.desc())
    )
    if known_by is not None:
        query = query.where(article_versions.c.seen_at <= known_by)
    if ids is not None:
        query = query.where(article_versions.c.article_id.in_(list(ids)))
    return query.subquery("v")


def by_ids(conn: Connection, ids: Sequence[int], known_by: dt.datetime | None = None) -> list[Article]:
    """These articles, by id, in the newest version (seen by ``known_by``, if given); removed ones are left out."""
    versions = _newest(known_by, ids)
    query = (
        sa.select(*columns(versions))
        .join(versions, versions.c.article_id == articles.c.id)
        .where(articles.c.removed_at.is_(None))
        .order_by(articles.c.id)
    )
    return [Article(*row) for row in conn.execute(query)]


def any_between(conn: Connection, first: dt.date, last: dt.date) -> bool:
    """Whether there is an article of these days, neither removed nor an advertisement."""
    days = sa.and_(articles.c.day.between(first, last), articles.c.removed_at.is_(None), ~articles.c.is_ad)
    return bool(conn.execute(sa.select(sa.exists().where(days))).scalar_one())


def read(
    conn: Connection,
    as_of: AsOf,
    *,
    since: dt.date | None = None,
    ids: Sequence[int] | None = None,
    ads: bool = False,
    chunk: int = 1000,
) -> Iterator[Article]:
    """Articles of ``since <= day <= as_of.day`` known by ``as_of.known_by``, by (day, id).

    Removed articles never come (their text is gone); advertisements only with ``ads``. The version is the newest
    one seen by ``known_by``. Streams: ``chunk`` rows in memory at a time.
    """
    versions = _newest(as_of.known_by, ids)
    query = _known(as_of, versions, columns(versions), since, ads)
    for row in conn.execute(query, execution_options={"yield_per": chunk}):
        yield Article(*row)


def headings(conn: Connection, as_of: AsOf, *, since: dt.date) -> list[Heading]:
    """The articles that `read` yields, by (day, id), without url, title and text: some 200 bytes of memory each."""
    versions = _newest(as_of.known_by)
    by_name = dict(zip(Article.__slots__, columns(versions), strict=True))
    query = _known(as_of, versions, [by_name[name] for name in Heading.__slots__], since, ads=False)
    shared: dict[object, Any] = {}  # days and outlets repeat: one object each
    return [
        Heading(id_, shared.setdefault(day, day), version, story, shared.setdefault(outlet, outlet))
        for id_, day, version, story, outlet in conn.execute(query, execution_options={"yield_per": 10_000})
    ]


def _known(
    as_of: AsOf, versions: sa.Subquery, selected: Sequence[sa.ColumnElement[Any]], since: dt.date | None, ads: bool
) -> sa.Select[Any]:
    """The columns ``selected`` of the articles that the as-of knows, by (day, id)."""
    query = (
        sa.select(*selected)
        .join(versions, versions.c.article_id == articles.c.id)
        .where(articles.c.day <= as_of.day, articles.c.first_seen_at <= as_of.known_by, articles.c.removed_at.is_(None))
        .order_by(articles.c.day, articles.c.id)
    )
    if since is not None:
        query = query.where(articles.c.day >= since)
    return query if ads else query.where(~versions.c.is_ad)


def days(conn: Connection, as_of: AsOf) -> list[tuple[dt.date, int]]:
    """Days that have articles under the as-of, with how many, oldest first."""
    query = (
        sa.select(articles.c.day, sa.func.count())
        .where(articles.c.day <= as_of.day, articles.c.first_seen_at <= as_of.known_by, articles.c.removed_at.is_(None))
        .group_by(articles.c.day)
        .order_by(articles.c.day)
    )
    return [(day, count) for day, count in conn.execute(query)]
