"""The rule by which an article joins a story: that of the earlier near-duplicate that it is most like.

The first article of a story gives the story its id. A later article joins, when it is stored, the story whose first
article it is most similar to, or begins a new one; that never changes afterwards. So the story of an article is known
as soon as the article is, and nothing that arrives later can move it in an as-of that was taken before. Articles are
compared with first articles only: two stories that a third text resembles stay two, and similarity cannot creep along
a chain of texts each like the one before.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from pipeline.config.news import NewsConfig
from pipeline.store import stories as store_stories
from pipeline.store.news import Entry
from pipeline.text.duplicates import MARGIN, Telling, agreement, likeness, telling


@dataclass(frozen=True, slots=True)
class StoryRule:
    """When an article belongs to the story of an earlier one."""

    similarity: float  # least Jaccard similarity of their pairs of words
    within: dt.timedelta  # how far apart they may be published

    @classmethod
    def of(cls, config: NewsConfig) -> StoryRule:
        """The rule of ``news.duplicate_similarity`` and ``news.duplicate_days``."""
        return cls(config.duplicate_similarity, dt.timedelta(days=config.duplicate_days))

    def join(self, conn: Connection, new: Mapping[int, Entry]) -> dict[int, int]:
        """The stories that new articles (by id, just inserted) join; those that begin a story are not in it.

        The caller is the only writer.
        """
        earlier = self._earlier(conn, new)
        batch: dict[tuple[int, int], list[_First]] = defaultdict(list)  # first articles among the new ones, by band
        joined: dict[int, int] = {}
        for id_ in sorted(new):
            entry = new[id_]
            words = telling(entry.title, entry.text)
            if words is None or entry.fingerprint is None:
                continue
            near = {first.id: first for band in entry.bands for first in batch[band] if self._close(entry, first)}
            best, story = 0.0, 0
            for first in (*earlier[id_], *near.values()):
                similarity = likeness(words, first.words) if first.words is not None else 0.0
                if similarity >= self.similarity and (similarity, -first.id) > (best, -story):
                    best, story = similarity, first.id
            if story:
                joined[id_] = story
                continue
            first = _First(id_, entry.published_at, entry.fingerprint, words)
            for band in entry.bands:
                batch[band].append(first)
        return joined

    def _earlier(self, conn: Connection, new: Mapping[int, Entry]) -> Mapping[int, list[_First]]:
        """The stored first articles that are worth comparing with each new one."""
        near: dict[int, list[_First]] = defaultdict(list)
        firsts: dict[int, _First] = {}
        for id_, first_id, published_at, fingerprint in store_stories.sharing_a_band(
            conn, {id_: entry.bands for id_, entry in new.items()}
        ):
            first = _First(first_id, published_at, fingerprint)
            if self._close(new[id_], first):
                near[id_].append(firsts.setdefault(first.id, first))
        for id_, title, text in store_stories.newest_texts(conn, list(firsts)):
            firsts[id_].words = telling(title, text)
        return near

    def _close(self, entry: Entry, first: _First) -> bool:
        """Whether the dates and the signatures make it worth comparing the texts."""
        return (
            entry.fingerprint is not None
            and abs(entry.published_at - first.published_at) <= self.within
            and agreement(entry.fingerprint, first.fingerprint) >= self.similarity - MARGIN
        )


@dataclass(slots=True)
class _First:
    """The first article of a story."""

    id: int
    published_at: dt.datetime
    fingerprint: bytes
    words: Telling | None = None
