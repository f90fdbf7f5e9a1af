"""Articles as they are taken in: identity, versions, removals, imports. Stories are in `pipeline.store.stories`.

One writer at a time (an advisory lock for the transaction), so two crawls and an import give what one after the other
would have given, and ``first_seen_at`` grows with ``id``. Feeds and polls are in ``pipeline.store.feeds``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONPATH, insert
from sqlalchemy.engine import Connection

from pipeline.store import stories
from pipeline.store.base import lock_key, writing
from pipeline.store.schema import (
    article_feeds,
    article_versions,
    articles,
    counted_articles,
    imports,
    removals,
    synonym_groups,
    synonym_pairs,
    trends,
)

_WRITE_LOCK = "garam.news.write"


@dataclass(frozen=True, slots=True)
class Entry:
    """An article ready to be written."""

    url: str  # canonical
    title: str
    text: str
    content_sha256: str
    outlet: str
    category: str
    published_at: dt.datetime
    day: dt.date
    published_raw: str = ""
    published_rule: str = "given"
    is_ad: bool = False
    language: str = "ko"
    fingerprint: bytes | None = None
    bands: tuple[tuple[int, int], ...] = ()
    guid: str = ""
    seen_at: dt.datetime | None = None  # when it was known, if not now


# The stories that new articles (by id) join; those that begin one are left out (`pipeline.news.stories`).
JoinStories = Callable[[Connection, Mapping[int, Entry]], Mapping[int, int]]


UNDATED = frozenset({"unreadable", "implausible"})
"""Rules of articles whose date is not known: the time they were first seen stands in for it."""
DATED_LATER = "later"
"""The rule of those that got a date afterwards."""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch: each entry is counted in exactly one of these."""

    new: int = 0
    updated: int = 0
    duplicates: int = 0  # known already, or twice in the batch, or removed for good
    removed: int = 0  # of the duplicates: removed for good


def write(
    conn: Connection,
    entries: Sequence[Entry],
    *,
    source: str,
    join: JoinStories,
    feed_id: int | None = None,
    known_by: dt.datetime | None = None,
    cuts: bool = False,
) -> Written:
    """Take a batch in, in this transaction.

    Identity is the url. Known content (of any version), a shorter cut of it, and an empty text in place of one are
    duplicates; other content is a new version, which never changes the day. Only a day that was not known
    (`UNDATED`) is changed, by the first date that can be read. What was removed is never taken again.
    With ``cuts`` a shorter cut is a version too: it is known to be what the article's own rules make of it now.
    ``source`` is ``feed`` or ``archive``; ``join`` decides the stories of new articles. Entries are
    stamped with their ``seen_at``, else ``known_by``, else now.
    """
    if not entries:
        return Written()
    conn.execute(sa.text("SELECT pg_advisory_xact_lock(:k)"), {"k": lock_key(_WRITE_LOCK)})
    now = known_by or writing(conn)
    batch, twice = _once_each(entries)
    gone = set(conn.scalars(sa.select(removals.c.url).where(removals.c.url.in_(list(batch)))))
    held = _held(conn, list(batch))
    fresh = [e for url, e in batch.items() if url not in gone and url not in held]
    known = [(held[url], e) for url, e in batch.items() if url in held and url not in gone]
    changed = [(one, e) for one, e in known if _differs(one, e, cuts)]
    _date(conn, known)

    ids = {url: one.id for url, one in held.items()} | _insert(conn, fresh, now, source)
    _add_versions(conn, changed, now)
    stories.reindex(conn, {one.id: e.bands for one, e in changed})
    new = {ids[e.url]: e for e in fresh}
    joined = join(conn, new)
    stories.assign(conn, joined, {id_: e.bands for id_, e in new.items() if id_ not in joined})
    if feed_id is not None and (links := [(ids[u], e) for u, e in batch.items() if u in ids and u not in gone]):
        rows = [{"article_id": i, "feed_id": feed_id, "guid": e.guid, "seen_at": now} for i, e in links]
        conn.execute(insert(article_feeds).on_conflict_do_nothing(), rows)
    rest = len(batch) - len(fresh) - len(changed)
    return Written(len(fresh), len(changed), rest + twice, len(gone))


def _once_each(entries: Sequence[Entry]) -> tuple[dict[str, Entry], int]:
    """By url, each once: the first, with the longest text that came under the same title."""
    batch: dict[str, Entry] = {}
    for entry in entries:
        first = batch.get(entry.url)
        if first is None:
            batch[entry.url] = entry
        elif len(entry.text) > len(first.text) and entry.title == first.title:
            batch[entry.url] = replace(
                entry, published_at=first.published_at, day=first.day, published_raw=first.published_raw,
                published_rule=first.published_rule, outlet=first.outlet, category=first.category, guid=first.guid,
            )  # fmt: skip
    return batch, len(entries) - len(batch)


@dataclass(slots=True)
class _Held:
    id: int
    version: int
    title: str
    text: str
    hashes: set[str]
    removed: bool
    rule: str


def _held(conn: Connection, wanted: Sequence[str]) -> dict[str, _Held]:
    query = (
        sa.select(
            articles.c.url, articles.c.id, articles.c.version, articles.c.removed_at, article_versions.c.version,
            articles.c.published_rule, article_versions.c.title, article_versions.c.text,
            article_versions.c.content_sha256,
        )
        .join(article_versions, article_versions.c.article_id == articles.c.id, isouter=True)
        .where(articles.c.url.in_(list(wanted)))
        .order_by(articles.c.id, article_versions.c.version)
    )  # fmt: skip
    held: dict[str, _Held] = {}
    for url, id_, newest, removed_at, version, rule, title, text, sha in conn.execute(query):
        known = held.setdefault(url, _Held(id_, newest, "", "", set(), removed_at is not None, rule))
        if version is not None:
            known.hashes.add(sha)
            if version == newest:
                known.title, known.text = title, text
    return held


def _differs(known: _Held, entry: Entry, cuts: bool) -> bool:
    if known.removed or entry.content_sha256 in known.hashes:
        return False
    return cuts or not is_cut(entry, known.title, known.text)


def is_cut(entry: Entry, title: str, text: str) -> bool:
    """Whether an entry is a shorter cut of the same: another feed's, and no correction."""
    return title == entry.title and text.startswith(entry.text.rstrip(".… "))


def _date(conn: Connection, known: Sequence[tuple[_Held, Entry]]) -> None:
    """Give articles whose date could not be read the one that they come with now, unless they were counted before."""
    counted = sa.exists().where(counted_articles.c.article_id == articles.c.id)
    for one, entry in known:
        if one.rule in UNDATED and entry.published_rule not in {*UNDATED, "missing", "future"}:
            values = {
                "published_at": entry.published_at, "day": entry.day, "published_raw": entry.published_raw,
                "published_rule": DATED_LATER,
            }  # fmt: skip
            conn.execute(sa.update(articles).where(articles.c.id == one.id, ~counted).values(values))


def _insert(conn: Connection, fresh: Sequence[Entry], now: dt.datetime, source: str) -> dict[str, int]:
    if not fresh:
        return {}
    rows = [
        {
            "url": e.url, "outlet": e.outlet, "category": e.category, "published_at": e.published_at, "day": e.day,
            "published_raw": e.published_raw, "published_rule": e.published_rule, "first_seen_at": e.seen_at or now,
            "fingerprint": e.fingerprint, "is_ad": e.is_ad, "language": e.language, "source": source,
        }
        for e in fresh
    ]  # fmt: skip
    statement = sa.insert(articles).returning(articles.c.id, sort_by_parameter_order=True)
    ids = dict(zip([e.url for e in fresh], conn.scalars(statement, rows), strict=True))
    conn.execute(sa.insert(article_versions), [_version(ids[e.url], 1, e, e.seen_at or now) for e in fresh])
    return ids


def _version(article_id: int, version: int, entry: Entry, seen_at: dt.datetime) -> dict[str, Any]:
    return {
        "article_id": article_id, "version": version, "title": entry.title, "text": entry.text,
        "content_sha256": entry.content_sha256, "is_ad": entry.is_ad, "seen_at": seen_at,
    }  # fmt: skip


def _add_versions(conn: Connection, changed: Sequence[tuple[_Held, Entry]], now: dt.datetime) -> None:
    for known, entry in changed:
        version = known.version + 1
        conn.execute(sa.insert(article_versions), _version(known.id, version, entry, entry.seen_at or now))
        values = {
            "version": version,
            "fingerprint": entry.fingerprint,
            "is_ad": entry.is_ad,
            "language": entry.language,
        }
        conn.execute(sa.update(articles).where(articles.c.id == known.id).values(values))


def newest_contents(conn: Connection, wanted: Sequence[str]) -> dict[str, str]:
    """By url, the content hash of the newest version; of those that are articles and not removed."""
    query = (
        sa.select(articles.c.url, article_versions.c.content_sha256)
        .join(
            article_versions,
            sa.and_(article_versions.c.article_id == articles.c.id, article_versions.c.version == articles.c.version),
        )
        .where(articles.c.url.in_(list(wanted)), articles.c.removed_at.is_(None))
    )
    return {row.url: row.content_sha256 for row in conn.execute(query)}


def known_texts(conn: Connection, wanted: Sequence[str]) -> dict[str, str]:
    """By canonical url, the newest text of those that are articles already; empty for what must never be one."""
    newest = sa.and_(article_versions.c.article_id == articles.c.id, article_versions.c.version == articles.c.version)
    query = (
        sa.select(articles.c.url, article_versions.c.text)
        .join(article_versions, newest)
        .where(articles.c.url.in_(list(wanted)))
    )
    never = conn.scalars(sa.select(removals.c.url).where(removals.c.url.in_(list(wanted))))
    return dict.fromkeys(never, "") | {row.url: row.text for row in conn.execute(query)}


def remove(conn: Connection, url: str, reason: str, text_keys: Collection[str] = ()) -> list[int]:
    """Delete the text of an article for good and remember its canonical url; the ids that it had.

    ``text_keys`` are hashes of its texts (`pipeline.artifacts.vectors.text_key`), remembered beside those of an earlier
    request.

    The row stays without its words, so that nothing computed from it points into the void, and the url is never
    taken again, also when it was not known yet.
    """
    conn.execute(sa.text("SELECT pg_advisory_xact_lock(:k)"), {"k": lock_key(_WRITE_LOCK)})
    now = writing(conn)
    keys = sorted({*removed_text_keys(conn, url), *text_keys})
    statement = insert(removals).values(url=url, reason=reason, requested_at=now, text_keys=keys)
    conn.execute(statement.on_conflict_do_update(index_elements=["url"], set_={"text_keys": keys}))
    ids = list(conn.scalars(sa.select(articles.c.id).where(articles.c.url == url)))
    for id_ in ids:
        conn.execute(
            sa.update(article_versions)
            .where(article_versions.c.article_id == id_)
            .values(title="", text="", content_sha256="")
        )
        conn.execute(
            sa.update(articles)
            .where(articles.c.id == id_)
            .values(removed_at=sa.func.coalesce(articles.c.removed_at, now), fingerprint=None, published_raw="")
        )
    stories.drop(conn, ids)
    _erase_examples(conn, ids)
    return ids


def removed_text_keys(conn: Connection, url: str) -> set[str]:
    """Hashes of the texts that the article with this canonical url had when it was removed."""
    query = sa.select(sa.func.unnest(removals.c.text_keys)).where(removals.c.url == url)
    return set(conn.scalars(query))


def removed_among(conn: Connection, text_keys: Collection[str]) -> set[str]:
    """Which of these hashes are those of removed texts."""
    every = sa.select(sa.func.unnest(removals.c.text_keys).label("key")).subquery()
    return set(conn.scalars(sa.select(every.c.key).distinct())) & set(text_keys)


def _erase_examples(conn: Connection, ids: Sequence[int]) -> None:
    """Take what trends and synonyms quote of these articles out of their evidence."""
    for table, key in ((trends, "$.examples[*].article_id"), (synonym_pairs, "$.**.examples[*].article"),
                       (synonym_groups, "$.**.examples[*].article")):  # fmt: skip
        for id_ in ids:
            quoted = sa.func.jsonb_path_exists(table.c.evidence, sa.cast(f"{key} ? (@ == {int(id_)})", JSONPATH))
            for row in conn.execute(sa.select(*table.primary_key.columns, table.c.evidence).where(quoted)).all():
                where = [column == value for column, value in zip(table.primary_key.columns, row, strict=False)]
                conn.execute(sa.update(table).where(*where).values(evidence=_without(row[-1], id_)))


def _without(value: Any, article_id: int) -> Any:
    """JSON without the objects that name the article."""
    if isinstance(value, dict):
        return {key: _without(held, article_id) for key, held in value.items()}
    if isinstance(value, list):
        return [
            _without(held, article_id)
            for held in value
            if not (isinstance(held, dict) and article_id in (held.get("article_id"), held.get("article")))
        ]
    return value


def texts_of(conn: Connection, url: str) -> list[str]:
    """The texts of every version of an article; none after it was removed."""
    query = (
        sa.select(article_versions.c.text)
        .join(articles, articles.c.id == article_versions.c.article_id)
        .where(articles.c.url == url, article_versions.c.text != "")
    )
    return list(conn.scalars(query))


def copies(conn: Connection, ids: Sequence[int]) -> list[str]:
    """Addresses of other articles that tell the same stories."""
    story = sa.func.coalesce(articles.c.story_id, articles.c.id)
    told = sa.select(story).where(articles.c.id.in_(list(ids)))
    query = (
        sa.select(articles.c.url)
        .where(story.in_(told), articles.c.id.not_in(list(ids)), articles.c.removed_at.is_(None))
        .order_by(articles.c.id)
    )
    return list(conn.scalars(query))


# ---------------------------------------------------------------- imports
@dataclass(frozen=True, slots=True)
class ImportState:
    """How far an import is: ``position`` rows of its source are done."""

    position: int
    finished: bool
    known_by: dt.datetime | None
    report: dict[str, int]


def start_import(conn: Connection, identity: str, source: str, known_by: dt.datetime | None) -> ImportState:
    """The state of the import of ``identity``, begun when it is new."""
    row = insert(imports).values(source_sha256=identity, source=source, known_by=known_by, report={})
    conn.execute(row.on_conflict_do_nothing())
    found = conn.execute(
        sa.select(imports.c.position, imports.c.finished_at, imports.c.known_by, imports.c.report).where(
            imports.c.source_sha256 == identity
        )
    ).one()
    return ImportState(found[0], found[1] is not None, found[2], {k: int(v) for k, v in (found[3] or {}).items()})


def advance_import(
    conn: Connection, identity: str, position: int, report: dict[str, int], *, finished: bool = False
) -> None:
    """Note that ``position`` rows are done, in the transaction that wrote them."""
    values: dict[str, Any] = {"position": position, "report": report}
    if finished:
        values["finished_at"] = sa.func.clock_timestamp()
    conn.execute(sa.update(imports).where(imports.c.source_sha256 == identity).values(values))
