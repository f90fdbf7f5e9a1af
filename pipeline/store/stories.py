"""The story of each article, and the index of near-duplicate signatures (the rule: `pipeline.news.stories`)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.store.schema import article_versions, articles

Bands = Sequence[tuple[int, int]]  # (band, key) of a signature (`pipeline.text.duplicates.bands`)

_MOST_CANDIDATES = 50  # first articles of one band that are compared with a new article, the newest first

_CANDIDATES = sa.text(
    """
    SELECT DISTINCT mine.id, other.article_id, a.published_at, a.fingerprint
    FROM unnest(CAST(:b AS smallint[]), CAST(:k AS bigint[]), CAST(:i AS bigint[])) AS mine(band, key, id)
    CROSS JOIN LATERAL (
        SELECT f.article_id FROM fingerprint_bands f
        WHERE f.band = mine.band AND f.key = mine.key AND f.article_id <> mine.id
        ORDER BY f.article_id DESC LIMIT :most
    ) AS other
    JOIN articles a ON a.id = other.article_id
    WHERE a.removed_at IS NULL AND a.fingerprint IS NOT NULL
    """
)


def sharing_a_band(conn: Connection, bands: Mapping[int, Bands]) -> Iterator[tuple[int, int, dt.datetime, bytes]]:
    """(article of ``bands``, first article of a story that shares a band with it, its date, its signature)."""
    parameters = _columns(bands)
    if parameters["b"]:
        for id_, first, published_at, fingerprint in conn.execute(
            _CANDIDATES, {**parameters, "most": _MOST_CANDIDATES}
        ):
            yield id_, first, published_at, bytes(fingerprint)


def newest_texts(conn: Connection, ids: Sequence[int]) -> Iterator[tuple[int, str, str]]:
    """(id, title, text) of the newest versions of these articles."""
    newest = sa.and_(article_versions.c.article_id == articles.c.id, article_versions.c.version == articles.c.version)
    query = sa.select(articles.c.id, article_versions.c.title, article_versions.c.text).join(article_versions, newest)
    for row in conn.execute(query.where(articles.c.id.in_(list(ids)))):
        yield row.id, row.title, row.text


def assign(conn: Connection, joined: Mapping[int, int], firsts: Mapping[int, Bands]) -> None:
    """Store the stories that new articles joined, and index the new ``firsts`` for the articles to come."""
    if joined:
        conn.execute(
            sa.text(
                "UPDATE articles a SET story_id = s.story FROM unnest(CAST(:i AS bigint[]), CAST(:s AS bigint[])) "
                "AS s(id, story) WHERE a.id = s.id"
            ),
            {"i": list(joined), "s": list(joined.values())},
        )
    _index(conn, firsts)


def reindex(conn: Connection, changed: Mapping[int, Bands]) -> None:
    """Index the signatures of new versions, for the articles to come; of first articles only.

    The story of an article with a new version stays what it was.
    """
    query = sa.select(articles.c.id).where(articles.c.id.in_(list(changed)), articles.c.story_id.is_(None))
    firsts = set(conn.scalars(query))
    drop(conn, list(firsts))
    _index(conn, {id_: bands for id_, bands in changed.items() if id_ in firsts})


def drop(conn: Connection, ids: Sequence[int]) -> None:
    """Remove articles from the index: no later article is compared with them."""
    if ids:
        conn.execute(sa.text("DELETE FROM fingerprint_bands WHERE article_id = ANY(:ids)"), {"ids": list(ids)})


def _index(conn: Connection, bands: Mapping[int, Bands]) -> None:
    parameters = _columns(bands)
    if parameters["b"]:
        conn.execute(
            sa.text(
                "INSERT INTO fingerprint_bands (band, key, article_id) SELECT * FROM unnest(CAST(:b AS smallint[]), "
                "CAST(:k AS bigint[]), CAST(:i AS bigint[])) ON CONFLICT DO NOTHING"
            ),
            parameters,
        )


def _columns(bands: Mapping[int, Bands]) -> dict[str, list[int]]:
    rows = [(band, key, id_) for id_, own in bands.items() for band, key in own]
    return {"b": [row[0] for row in rows], "k": [row[1] for row in rows], "i": [row[2] for row in rows]}
