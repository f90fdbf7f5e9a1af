"""Removal requests, honoured for good."""

from __future__ import annotations

import re

from pipeline.context import Context
from pipeline.errors import UsageError
from pipeline.news import urls
from pipeline.news.reports import ForgetReport
from pipeline.store import feeds as store_feeds
from pipeline.store import news as store_news


def forget(ctx: Context, url: str, *, reason: str = "") -> ForgetReport:
    """See `pipeline.news.forget`."""
    try:
        name = urls.canonical(url)
    except ValueError as error:
        raise UsageError(
            f"{error}: give the article's whole address, such as https://www.example.org/news/1"
        ) from error
    with ctx.store.begin() as conn:
        ids = store_news.remove(conn, name, reason)
        if ids:
            needles = _needles([name, *store_feeds.guids(conn, ids)])
            store_feeds.erase_payloads(conn, ids, needles)
    return ForgetReport(name, len(ids))


def _needles(names: list[str]) -> list[bytes]:
    """What of an address stands in a payload however it is written: its longest piece with a digit, or its path."""
    needles = set()
    for name in names:
        pieces = [p for p in re.split(r"[/?&=#.]+", name.split("://", 1)[-1]) if re.search(r"\d", p) and len(p) >= 4]
        needles.add(max(pieces, key=len) if pieces else name.rstrip("/").rpartition("/")[2])
    return [needle.encode() for needle in needles if needle]
