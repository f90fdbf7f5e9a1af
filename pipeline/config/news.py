"""News intake."""

from __future__ import annotations

from typing import Literal

from pipeline.config.section import Section, key


class NewsConfig(Section):
    """News intake: how politely feeds are polled and what is taken from them."""

    feeds_file: str = key(
        "builtin",
        "CSV (url, outlet, category) added when there is no feed yet; `builtin`: the list that is shipped; empty: none",
        common=True,
    )
    user_agent: str = key(
        "Garam/1.0 (+news search; reads feeds)",
        "how the crawler names itself; add a page or address where it can be asked to stop",
        min_length=3,
        common=True,
    )
    languages: list[Literal["ko", "en", "ja", "zh"]] = key(
        ["ko"], "languages that are taken (ko, en, ja, zh); empty: all", common=True
    )
    allow_loopback: bool = key(False, "true lets the crawler fetch from 127.0.0.1 (the replay server needs it)")
    concurrency: int = key(16, "feeds polled at the same time", ge=1, le=256, common=True)
    host_delay_s: float = key(
        1.0, "seconds between two requests to the same host; not for loopback", ge=0, le=60, common=True
    )
    connect_timeout_s: float = key(10.0, "seconds to connect to a host", gt=0, le=120)
    total_timeout_s: float = key(45.0, "seconds for one response, redirects included", gt=0, le=600)
    max_bytes: int = key(20_000_000, "bytes of one response, decompressed; more is an error of that feed", ge=10_000)
    database_patience_s: float = key(
        60.0, "seconds that a crawl waits for a database that goes away under it, and then goes on", ge=0, le=3600
    )
    read_processes: int = key(2, "processes that parse responses at the same time", ge=1, le=64)
    read_cpu_s: float = key(
        20.0,
        "seconds of CPU time for parsing one response; beyond, its process is killed and the feed fails",
        ge=1,
    )
    read_memory_mb: int = key(1000, "MB of memory for parsing one response; more is an error of that feed", ge=100)
    max_redirects: int = key(5, "redirects followed, each checked like the first URL", ge=0, le=20)
    interval_s: float = key(1800.0, "seconds between two polls of a feed that is new", ge=60)
    min_interval_s: float = key(600.0, "seconds between two polls of the busiest feed", ge=1)
    max_interval_s: float = key(21600.0, "seconds between two polls of the quietest feed", ge=60)
    quarantine_after: int = key(
        10, "failures in a row after which a feed is quarantined: polled once each quarantine_s", ge=1
    )
    quarantine_s: float = key(86400.0, "seconds of a quarantine", ge=60)
    payload_days: float = key(30.0, "days that raw responses are kept; 0 keeps none", ge=0, common=True)
    full_text: bool = key(
        False,
        "true fetches an article's page when its feed gives less than full_text_below (robots.txt respected)",
        common=True,
    )
    full_text_below: int = key(300, "characters of text below which the page is fetched when full_text is true", ge=0)
    duplicate_similarity: float = key(
        0.6,
        "Jaccard similarity of word pairs with a story's first telling from which an article joins it",
        ge=0.5,
        le=1,
    )
    duplicate_days: float = key(3.0, "days that an article may lie apart from the first telling of its story", ge=0)
    silent_hours: float = key(
        24.0, "hours without a new article, and twice the usual, until an outlet is called silent", gt=0, common=True
    )
