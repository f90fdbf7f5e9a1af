"""When a feed is asked again: often when it brings news, seldom when not, hardly when it is dead."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from pipeline.config.news import NewsConfig

LONGEST_WAIT = dt.timedelta(days=2)  # whatever Retry-After or ttl ask for


@dataclass(frozen=True, slots=True)
class Next:
    """A feed's state after a poll."""

    interval_s: float
    at: dt.datetime
    failures: int
    quarantined_until: dt.datetime | None


def after_success(
    config: NewsConfig, now: dt.datetime, interval_s: float, *, items: int, new: int, ttl_s: float = 0.0
) -> Next:
    """Shorter when much of the feed was new (some may have been missed), longer when nothing was."""
    share = new / items if items else 0.0
    factor = 0.5 if share > 0.5 else 0.8 if new else 1.25
    interval = min(max(interval_s * factor, config.min_interval_s), config.max_interval_s)
    wait = max(interval, min(ttl_s, config.max_interval_s))
    return Next(interval, now + dt.timedelta(seconds=wait * random.uniform(0.95, 1.0)), 0, None)


def after_failure(
    config: NewsConfig, now: dt.datetime, interval_s: float, failures: int, *, not_before: dt.datetime | None = None
) -> Next:
    """Twice as long each time; a quarantine after many; never before the server's Retry-After."""
    failures += 1
    wait = min(config.interval_s * 2 ** min(failures - 1, 20), config.max_interval_s)
    at = now + dt.timedelta(seconds=wait)
    quarantine = now + dt.timedelta(seconds=config.quarantine_s) if failures >= config.quarantine_after else None
    at = max(at, quarantine or at, min(not_before or at, now + LONGEST_WAIT))
    return Next(interval_s, at, failures, quarantine)


def retry_after(value: str | None, now: dt.datetime) -> dt.datetime | None:
    """When a Retry-After header (seconds or a date) allows the next request."""
    if not value:
        return None
    try:
        if value.strip().isdigit():
            return now + min(dt.timedelta(seconds=int(value.strip()[:9])), LONGEST_WAIT)
        at = parsedate_to_datetime(value)
        return at if at.tzinfo else at.replace(tzinfo=dt.UTC)
    except (ValueError, TypeError, OverflowError):
        return None
