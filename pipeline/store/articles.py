"""Articles as the other stages read them: by as-of, in a stable order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    story_id: int  # smallest article id among its near-duplicates; its own id when it has none


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
    newest = (
        sa.select(article_versions)
        .where(article_versions.c.seen_at <= as_of.known_by)
        .ext(distinct_on(article_versions.c.article_id))
        .order_by(article_versions.c.article_id, article_versions.c.version.desc())
        .subquery("v")
    )
    query = (
        sa.select(
            articles.c.id,
            articles.c.url,
            newest.c.title,
            newest.c.text,
            articles.c.published_at,
            articles.c.first_seen_at,
            articles.c.day,
            articles.c.outlet,
            articles.c.category,
            newest.c.version,
            sa.func.coalesce(articles.c.story_id, articles.c.id),
        )
        .join(newest, newest.c.article_id == articles.c.id)
        .where(articles.c.day <= as_of.day, articles.c.first_seen_at <= as_of.known_by, articles.c.removed_at.is_(None))
        .order_by(articles.c.day, articles.c.id)
    )
    if since is not None:
        query = query.where(articles.c.day >= since)
    if ids is not None:
        query = query.where(articles.c.id.in_(list(ids)))
    if not ads:
        query = query.where(~articles.c.is_ad)
    for row in conn.execute(query, execution_options={"yield_per": chunk}):
        yield Article(*row)


def days(conn: Connection, as_of: AsOf) -> list[tuple[dt.date, int]]:
    """Days that have articles under the as-of, with how many, oldest first."""
    query = (
        sa.select(articles.c.day, sa.func.count())
        .where(articles.c.day <= as_of.day, articles.c.first_seen_at <= as_of.known_by, articles.c.removed_at.is_(None))
        .group_by(articles.c.day)
        .order_by(articles.c.day)
    )
    return [(day, count) for day, count in conn.execute(query)]
