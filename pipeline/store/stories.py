"""Stories: an article and the near-duplicates of it that came after it.

The first telling is the story's own: its id is the story's id. A later article joins, as it is taken in, the story
whose first telling it is most like, or begins one; that never changes afterwards. So the story of an article is known
as soon as the article is, and nothing that arrives later can move it in an as-of that was taken before. Two stories
that a third text resembles stay two, and likeness cannot creep along a chain of texts each like the one before.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.store.schema import article_versions, articles
from pipeline.text.duplicates import MARGIN, Telling, agreement, likeness, telling

_MOST_CANDIDATES = 50  # first tellings of one band that are compared with a new article, the newest first


@dataclass(frozen=True, slots=True)
class Likeness:
    """When an article tells the story of an earlier one."""

    similarity: float  # least Jaccard similarity of their pairs of words
    within: dt.timedelta  # how far apart they may be published


class Told(Protocol):
    """What joining stories needs of an article."""

    @property
    def title(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def published_at(self) -> dt.datetime: ...
    @property
    def fingerprint(self) -> bytes | None: ...
    @property
    def bands(self) -> tuple[tuple[int, int], ...]: ...


@dataclass(slots=True)
class _First:
    """A first telling that others may join."""

    id: int
    published_at: dt.datetime
    fingerprint: bytes
    told: Telling | None = None


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


def join(conn: Connection, fresh: Mapping[int, Told], least: Likeness) -> None:
    """Give each fresh article (by id, just entered) its story. The caller is the only writer."""
    candidates = _earlier(conn, fresh, least)
    tellings = {id_: made for id_, told in fresh.items() if (made := telling(told.title, told.text)) is not None}
    own: dict[tuple[int, int], list[_First]] = defaultdict(list)  # first tellings of this batch, by band
    stories: dict[int, int] = {}
    for id_ in sorted(fresh):
        mine, told = tellings.get(id_), fresh[id_]
        if mine is None or told.fingerprint is None:
            continue
        near = {first.id: first for band in told.bands for first in own[band] if _close(told, first, least)}
        best, found = 0.0, 0
        for first in (*candidates[id_], *near.values()):
            alike = likeness(mine, first.told) if first.told is not None else 0.0
            if alike >= least.similarity and (alike, -first.id) > (best, -found):
                best, found = alike, first.id
        if found:
            stories[id_] = found
        else:
            first = _First(id_, told.published_at, told.fingerprint, mine)
            for band in told.bands:
                own[band].append(first)
    if stories:
        conn.execute(
            sa.text(
                "UPDATE articles a SET story_id = s.story FROM unnest(CAST(:i AS bigint[]), CAST(:s AS bigint[])) "
                "AS s(id, story) WHERE a.id = s.id"
            ),
            {"i": list(stories), "s": list(stories.values())},
        )
    _index(conn, {id_: told for id_, told in fresh.items() if id_ not in stories})


def rewrite(conn: Connection, changed: Mapping[int, Told]) -> None:
    """Compare what comes from now on with the newest text of these articles, where they are first tellings.

    An article's own story stays what it was when it came.
    """
    firsts = set(
        conn.scalars(sa.select(articles.c.id).where(articles.c.id.in_(list(changed)), articles.c.story_id.is_(None)))
    )
    drop(conn, list(firsts))
    _index(conn, {id_: told for id_, told in changed.items() if id_ in firsts})


def drop(conn: Connection, ids: Sequence[int]) -> None:
    """Let no later article be compared with these."""
    if ids:
        conn.execute(sa.text("DELETE FROM fingerprint_bands WHERE article_id = ANY(:ids)"), {"ids": list(ids)})


def _close(told: Told, first: _First, least: Likeness) -> bool:
    assert told.fingerprint is not None
    return (
        abs(told.published_at - first.published_at) <= least.within
        and agreement(told.fingerprint, first.fingerprint) >= least.similarity - MARGIN
    )


def _earlier(conn: Connection, fresh: Mapping[int, Told], least: Likeness) -> Mapping[int, list[_First]]:
    """The first tellings of earlier batches that are worth comparing, with their texts."""
    found: dict[int, list[_First]] = defaultdict(list)
    rows = _rows(fresh)
    if not rows[0]:
        return found
    firsts: dict[int, _First] = {}
    parameters = {"b": rows[0], "k": rows[1], "i": rows[2], "most": _MOST_CANDIDATES}
    for mine, other, published_at, fingerprint in conn.execute(_CANDIDATES, parameters):
        first = _First(other, published_at, bytes(fingerprint))
        if _close(fresh[mine], first, least):
            found[mine].append(firsts.setdefault(other, first))
    texts = (
        sa.select(articles.c.id, article_versions.c.title, article_versions.c.text)
        .join(
            article_versions,
            sa.and_(article_versions.c.article_id == articles.c.id, article_versions.c.version == articles.c.version),
        )
        .where(articles.c.id.in_(list(firsts)))
    )
    for id_, title, text in conn.execute(texts):
        firsts[id_].told = telling(title, text)
    return found


def _index(conn: Connection, told: Mapping[int, Told]) -> None:
    bands, keys, ids = _rows(told)
    if bands:
        conn.execute(
            sa.text(
                "INSERT INTO fingerprint_bands (band, key, article_id) SELECT * FROM unnest(CAST(:b AS smallint[]), "
                "CAST(:k AS bigint[]), CAST(:i AS bigint[])) ON CONFLICT DO NOTHING"
            ),
            {"b": bands, "k": keys, "i": ids},
        )


def _rows(told: Mapping[int, Told]) -> tuple[list[int], list[int], list[int]]:
    rows = [(band, key, id_) for id_, one in told.items() for band, key in one.bands]
    return [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]
