"""What holds for every payload, whoever made it."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
import zlib

from pipeline.asof import day_of
from pipeline.errors import BadInputError
from pipeline.news import dates
from pipeline.news.extraction import MOST_NOTES, FeedJob, ParsedFeed, read_feed
from pipeline.news.sandbox_process import Reply
from pipeline.news.urls import canonical

NOW = dt.datetime(2026, 2, 14, 9, 0, tzinfo=dt.UTC)
# Control characters (line breaks aside), halves of surrogate pairs, and what is no character at all.
_UNFIT = re.compile("[\u0000-\u0009\u000b-\u001f\u007f-\u009f\ud800-\udfff\ufffe\uffff]")
_SCRIPT = re.compile(r"<script[^<>]*>", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://[\x21-\x7e]+")


def check(data: bytes, content_type: str = "") -> ParsedFeed | None:
    """Read a payload and assert what must hold of any; None when it is refused, as BadInputError allows."""
    job = FeedJob("https://news.garam.example/rss.xml", NOW, content_type)
    refused = ""
    try:
        reading = read_feed(job, data)
    except BadInputError as error:
        refused = str(error)
    if refused:
        assert 5 < len(refused) < 400
        assert refused.isprintable(), refused
        assert Reply.model_validate_json(Reply(refused=refused).model_dump_json()).refused == refused
        return None
    for entry in reading.entries:
        for text, most in [
            (entry.title, 500), (entry.text, 100_000), (entry.url, 2000), (entry.outlet, 200), (entry.category, 200),
            (entry.guid, 500), (entry.published_raw, 200),
        ]:  # fmt: skip
            assert len(text) <= most, text
            assert not _UNFIT.search(text), text
            assert unicodedata.is_normalized("NFC", text), text
        assert entry.title, entry
        assert "\n" not in entry.title, entry
        assert _ADDRESS.fullmatch(entry.url), entry.url
        assert canonical(entry.url) == entry.url
        assert dt.datetime(dates.EARLIEST, 1, 1, tzinfo=dt.UTC) - dt.timedelta(days=1) < entry.published_at
        assert entry.published_at <= NOW + dates.AHEAD
        assert entry.day == day_of(entry.published_at)
        assert not _SCRIPT.search(f"{entry.title}\n{entry.text}"), entry
    assert reading.items == len(reading.entries) + reading.bad_items
    assert len(reading.notes) <= MOST_NOTES
    for note in reading.notes:
        assert all(part and len(part) <= 300 and not _UNFIT.search(part) for part in note), note
    assert len(reading.warning) <= 300
    assert not _UNFIT.search(reading.warning), reading.warning
    assert 0 <= reading.ttl_s < float("inf")
    assert Reply.model_validate_json(Reply(feed=reading).model_dump_json()).feed == reading
    if zlib.crc32(data) % 8 == 0:
        assert read_feed(job, data) == reading
    return reading
