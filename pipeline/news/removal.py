"""Removal requests, honoured for good."""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from urllib.parse import unquote

from pipeline.context import Context
from pipeline.errors import UsageError
from pipeline.news import urls
from pipeline.news.decode import decode
from pipeline.news.reports import ForgetReport
from pipeline.store import feeds as store_feeds
from pipeline.store import news as store_news


def address(url: str) -> str:
    """The one form of an article's address; UsageError when it is none."""
    try:
        return urls.canonical(url)
    except ValueError as error:
        raise UsageError(
            f"{error}: give the article's whole address, such as https://www.example.org/news/1"
        ) from error


def forget(ctx: Context, url: str, *, reason: str = "", text_keys: Collection[str] = ()) -> ForgetReport:
    """See `pipeline.news.forget`."""
    name = address(url)
    with ctx.store.begin() as conn:
        ids = store_news.remove(conn, name, reason, text_keys)
        copies = store_news.copies(conn, ids)
        needles = _needles([name, *store_feeds.guids(conn, ids)])
        after, erased = 0, 0
    # From here on no poll keeps a response that has it. Those of earlier polls are looked through a part at a time.
    while True:
        with ctx.store.begin() as conn:
            some = store_feeds.payloads_of(conn, ids, after=after)
            held = [id_ for id_, kind, body in some if _stands_in(decode(body, kind), needles)]
            store_feeds.erase_payloads(conn, held)
        erased += len(held)
        if not some:
            return ForgetReport(name, tuple(ids), erased, tuple(copies))
        after = some[-1][0]


def _needles(names: list[str]) -> set[str]:
    """What of an address stands in a response however it is written: its longest piece with a digit, or its path."""
    needles = set()
    for name in names:
        plain = unquote(name).split("://", 1)[-1]
        pieces = [p for p in re.split(r"[/?&=#.]+", plain) if re.search(r"\d", p) and len(p) >= 4]
        needles.add(max(pieces, key=len) if pieces else plain.rstrip("/").rpartition("/")[2])
    return needles - {""}


def _stands_in(text: str, needles: set[str]) -> bool:
    return any(needle in text or needle in unquote(html.unescape(text)) for needle in needles)
