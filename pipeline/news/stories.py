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
from pipeline.text import duplicates
from pipeline.text.duplicates import First, telling


@dataclass(frozen=True, slots=True)
class StoryRule:
    """`pipeline.text.duplicates.StoryRule` over the articles of the store."""

    rule: duplicates.StoryRule

    @classmethod
    def of(cls, config: NewsConfig) -> StoryRule:
        """The rule of ``news.duplicate_similarity`` and ``news.duplicate_days``."""
        return cls(duplicates.StoryRule(config.duplicate_similarity, dt.timedelta(days=config.duplicate_days)))

    def join(self, conn: Connection, new: Mapping[int, Entry]) -> dict[int, int]:
        """The stories that new articles (by id, just inserted) join; those that begin a story are not in it.

        The caller is the only writer.
        """
        return self.rule.join(new, self._earlier(conn, new))

    def _earlier(self, conn: Connection, new: Mapping[int, Entry]) -> Mapping[int, list[First]]:
        """The stored first articles that are worth comparing with each new one."""
        near: dict[int, list[First]] = defaultdict(list)
        firsts: dict[int, First] = {}
        for id_, first_id, published_at, fingerprint in store_stories.sharing_a_band(
            conn, {id_: entry.bands for id_, entry in new.items()}
        ):
            first = First(first_id, published_at, fingerprint)
            if self.rule.is_close(new[id_], first):
                near[id_].append(firsts.setdefault(first.id, first))
        for id_, title, text in store_stories.newest_texts(conn, list(firsts)):
            firsts[id_].words = telling(title, text)
        return near
