"""The full text of an article from its page, for feeds that give only a line (off unless ``news.full_text``)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from pipeline.config.news import NewsConfig
from pipeline.errors import GaramError
from pipeline.news.extraction import PageJob
from pipeline.news.fetch import Fetcher
from pipeline.news.sandbox import Sandbox
from pipeline.store import Store
from pipeline.store.news import Entry, known_texts
from pipeline.text import duplicates

MOST_BYTES = 3_000_000  # bytes of a page


async def fill(
    fetcher: Fetcher, sandbox: Sandbox, allowed: Callable[[str], Awaitable[None]], config: NewsConfig, store: Store,
    entries: Sequence[Entry],
) -> list[Entry]:  # fmt: skip
    """The entries, those new and short ones with the text of their page where robots.txt lets us have it.

    After a failed fetch the text of the feed stays. No later poll retries it, because the article is known then.
    A known article keeps the longer text that its page gave: the feed's line, which comes again and again, is no
    correction of it.
    """
    known = await asyncio.to_thread(_known, store, [e.url for e in entries])
    filled = []
    for entry in entries:
        if len(entry.text) >= config.full_text_below:
            pass
        elif entry.url in known:
            entry = _with_text(entry, known[entry.url])
        else:
            try:
                await allowed(entry.url)
                page = await fetcher.get(entry.url, {"Accept": "text/html"}, max_bytes=MOST_BYTES, allowed=allowed)
                kind = page.headers.get("content-type", "text/html").lower()
                if page.status == 200 and "html" in kind:
                    entry = _with_text(entry, await sandbox.page(PageJob(kind), page.body))
            except GaramError:
                pass  # the text of the feed stays
        filled.append(entry)
    return filled


def _known(store: Store, urls: Sequence[str]) -> dict[str, str]:
    with store.begin() as conn:
        return known_texts(conn, urls)


def _with_text(entry: Entry, text: str) -> Entry:
    if len(text) <= len(entry.text):
        return entry
    made = duplicates.signature(entry.title, text)
    return replace(
        entry, text=text, content_sha256=hashlib.sha256(f"{entry.title}\n{text}".encode()).hexdigest(),
        fingerprint=made, bands=tuple(duplicates.bands(made)) if made else (),
    )  # fmt: skip
