"""When an article was published: what its source said, what was decided, and by which rule.

Feeds lie about dates: none, no zone, Seoul's time labelled GMT, the future, years ago.

Why not a library: of the 33 written dates in the tests, dateparser (strict, ko and en) reads 26, at 4.9 ms each instead
of 0.06, and takes "어제" for a date; it misses "20260203150405", "입력 2026.02.03", "밤 12:05", 24:00, "+09" and
"[Asia/Seoul]". dateutil reads 17: nothing in Korean, it reverses the offset of "GMT+09:00" and ignores EST.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from pipeline.asof import SEOUL
from pipeline.text.normalise import normalise

SEOUL_OFFSET = dt.timedelta(hours=9)
AHEAD = dt.timedelta(minutes=15)  # a clock of a publisher may be this wrong before its dates are doubted
EARLIEST = 1990  # the year before which a feed's date is a default of its software (1970, 1900, 0001)
EARLIEST_ARCHIVE = 1890  # the same for archives: when Korean newspapers began

_KOREAN = re.compile(
    r"(?P<y>\d{4})\s*년\s*(?P<m>\d{1,2})\s*월\s*(?P<d>\d{1,2})\s*일?\s*(?:\(?[월화수목금토일](?:요일)?\)?)?[\s,]*"
    r"(?:(?P<half>오전|오후|낮|밤|새벽|저녁|am|pm)?\s*(?P<H>\d{1,2})\s*(?:시|:)\s*(?:(?P<M>\d{1,2})\s*분?)?(?:\s*:?\s*(?P<S>\d{1,2})\s*초?)?)?",
    re.IGNORECASE,
)
_OFFSET = r"(?:UTC|GMT)?\s?[+-]\d{1,2}(?::?\d{2})?"
_CLOCK = (
    r"(?P<half>오전|오후|am|pm)?\s*(?P<H>\d{1,2})[:.](?P<M>\d{1,2})(?:[:.](?P<S>\d{1,2})(?:[.,]\d+)?)?"
    r"\s*(?P<tail>am|pm|오전|오후)?"
)
_NUMBERS = re.compile(
    r"(?P<y>\d{4})(?:[-./]|\s*\.\s*)\s*(?P<m>\d{1,2})(?:[-./]|\s*\.\s*)\s*(?P<d>\d{1,2})\.?(?:\s*\(?[월화수목금토일]\)?)?"
    rf"(?:[T\s,]+{_CLOCK})?\s*(?P<zone>{_OFFSET}|Z|UTC|GMT|KST)?\s*(?:[(\[]?(?:KST|Asia/Seoul)[)\]]?)?\s*$",
    re.IGNORECASE,
)
_HOURS = re.compile(r"(\d{1,2})\s*시(?:\s*(\d{1,2})\s*분)?(?:\s*(\d{1,2})\s*초)?")
_COMPACT = re.compile(
    r"^(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?:[T ]?(?P<H>\d{2})(?P<M>\d{2})(?P<S>\d{2})?)?(?P<zone>Z|[+-]\d{4})?$"
)
_MONTHS = {name: i for i, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}  # noqa: SIM905
_NAMED = rf"(?P<zone>{_OFFSET}|[A-Z]{{1,4}})?"
# The day first, as RFC 822 has it ("03 2월 2026" where its maker's machine speaks Korean); the month first, as in
# English; the year last, as C and Java print a time.
_NAMED_MONTH = (
    re.compile(
        rf"(?<![\d:.])(?P<d>\d{{1,2}})[\s-]+(?P<mon>[A-Za-z]{{3}}[a-z]*\.?|\d{{1,2}}월)[\s,-]+(?P<y>\d{{4}}|\d{{2}})(?!\d)(?:[\s,]+{_CLOCK}\s*{_NAMED})?",
        re.IGNORECASE,
    ),
    re.compile(
        rf"(?P<mon>[A-Za-z]{{3}})[a-z]*\.?\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?[\s,]+(?P<y>\d{{4}})(?:[\s,]+(?:at\s+)?{_CLOCK}\s*{_NAMED})?",
        re.IGNORECASE,
    ),
    re.compile(rf"(?P<mon>[A-Za-z]{{3}})\s+(?P<d>\d{{1,2}})\s+{_CLOCK}\s*{_NAMED}\s+(?P<y>\d{{4}})", re.IGNORECASE),
)


@dataclass(frozen=True, slots=True)
class Said:
    """A date as its source wrote it, read."""

    instant: dt.datetime  # with zone; without one it was read as Seoul's
    zone: str  # "gmt", "offset", "none"
    timed: bool  # whether an hour was said


@dataclass(frozen=True, slots=True)
class Published:
    """What was decided."""

    at: dt.datetime
    raw: str
    rule: str


def read(raw: str) -> Said | None:
    """A date in RFC 822, ISO 8601, Korean ("2026년 2월 3일 오후 3:04") or numeric form; None when it is none."""
    text = normalise(raw[:200]).strip()
    if not text:
        return None
    for reader in (_read_korean, _read_numbers, _read_named_month):
        try:
            said = reader(text)
        except (ValueError, OverflowError):
            continue
        if said is not None:
            return said
    return None


def _read_korean(text: str) -> Said | None:
    found = _KOREAN.search(text)
    return _said(found.groupdict(), "none", None) if found else None


def _read_numbers(text: str) -> Said | None:
    if re.fullmatch(r"\d{10}|\d{13}", text):  # seconds or milliseconds since 1970
        seconds = int(text) / (1000 if len(text) == 13 else 1)
        return Said(dt.datetime.fromtimestamp(seconds, dt.UTC), "offset", True)
    text = _HOURS.sub(lambda hours: f"{hours[1]}:{hours[2] or 0}:{hours[3] or 0}", text)
    found = _COMPACT.match(text) or _NUMBERS.search(text)
    if not found:
        return None
    return _said(found.groupdict(), *_zone(found["zone"]))


def _read_named_month(text: str) -> Said | None:
    for form in _NAMED_MONTH:
        found = form.search(text)
        month = _month(found["mon"]) if found else 0
        if found and month:
            parts = found.groupdict() | {"m": str(month)}
            if len(found["y"]) == 2:
                parts["y"] = str(2000 + int(found["y"]) if int(found["y"]) < 70 else 1900 + int(found["y"]))
            return _said(parts, *_zone(found["zone"]))
    return None


def _month(name: str) -> int:
    return int(name[:-1]) if name.endswith("월") else _MONTHS.get(name[:3].lower(), 0)


def _zone(text: str | None) -> tuple[str, dt.tzinfo | None]:
    if not text:
        return "none", None
    name = re.sub(r"\s|^(?:UTC|GMT)(?=\s?[+-])", "", text.upper())
    if name in {"Z", "UTC", "GMT", "UT"} or re.fullmatch(r"[+-]0{1,2}(?::?00)?", name):
        return "gmt", dt.UTC
    if name in {"KST", "JST", "K"}:
        return "offset", SEOUL
    american = {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}
    if name in american:
        return "offset", dt.timezone(dt.timedelta(hours=american[name]))
    number = re.fullmatch(r"([+-])(\d{1,2}):?(\d{2})?", name)
    if not number:
        return "none", None
    offset = dt.timedelta(hours=int(number[2]), minutes=int(number[3] or 0)) * (-1 if number[1] == "-" else 1)
    return ("offset", dt.timezone(offset)) if abs(offset) <= dt.timedelta(hours=14) else ("none", None)


def _said(parts: dict[str, str | None], zone: str, tzinfo: dt.tzinfo | None) -> Said:
    hour = int(parts.get("H") or 0)
    half = (parts.get("half") or parts.get("tail") or "").lower()
    if (
        half in {"오후", "pm", "밤", "저녁", "낮"}
        and hour < 12
        and not (half == "밤" and hour < 5)
        and not (half == "낮" and hour == 11)
    ):
        hour += 12
    elif half == "밤" and hour == 12:  # midnight, with which the day ends
        hour = 24
    elif half in {"오전", "am", "새벽"} and hour == 12:
        hour = 0
    extra = dt.timedelta(days=1) if hour == 24 else dt.timedelta()
    instant = dt.datetime(
        int(parts["y"] or 0), int(parts["m"] or 0), int(parts["d"] or 0), hour % 24, int(parts.get("M") or 0),
        min(int(parts.get("S") or 0), 59), tzinfo=tzinfo or SEOUL,
    )  # fmt: skip
    return Said(instant + extra, zone, parts.get("H") is not None)


def seoul_labelled_gmt(said: list[Said], now: dt.datetime) -> bool:
    """Whether a feed writes Seoul's time and calls it GMT, as many Korean ones do.

    Then its newest items lie up to nine hours ahead of ``now`` (the response's own time), and none would if they were
    read as Seoul's. One such item alone is more likely an announcement or a slip in a feed that says the truth: it is
    taken as of now, and what is found of a feed holds for good.
    """
    ahead = {s.instant for s in said if s.zone == "gmt" and s.timed and now + AHEAD < s.instant}
    return len(ahead) > 1 and max(ahead) <= now + AHEAD + SEOUL_OFFSET


def decide(
    raw: str,
    now: dt.datetime,
    *,
    gmt_is_seoul: bool = False,
    url_day: tuple[int, int, int] | None = None,
    earliest: int = EARLIEST,
) -> Published:
    """The instant of publication.

    Args:
        raw: what the source said, empty when nothing.
        now: when the response was given; nothing can have been published later.
        gmt_is_seoul: what `seoul_labelled_gmt` found for the feed.
        url_day: the day in the article's address, used when nothing was said.
        earliest: the year before which a date is taken for a software's default.

    Rules: ``zone`` (said with zone), ``seoul`` (no zone: Seoul), ``seoul_as_gmt``, ``day`` (no hour: midnight),
    ``url`` (the day in the address), ``future`` (later than now: taken as now), ``implausible`` and ``missing`` (now).
    """
    said = read(raw)
    raw = raw.strip()[:200]
    if said is None or said.instant.year < earliest:
        rule = "implausible" if said else "missing"
        if url_day is not None:
            try:
                day = dt.datetime(*url_day, tzinfo=SEOUL)
            except ValueError:
                return Published(now, raw, rule)
            if day.date() == now.astimezone(SEOUL).date():
                return Published(now, raw, "url")
            if day < now:
                return Published(day, raw, "url")
        return Published(now, raw, rule)
    at, rule = said.instant, "zone"
    if not said.timed:
        rule = "day"
    elif said.zone == "gmt" and gmt_is_seoul:
        at, rule = at.replace(tzinfo=SEOUL), "seoul_as_gmt"
    elif said.zone == "none":
        rule = "seoul"
    if at > now + AHEAD:
        return Published(now, raw, "future")
    return Published(at, raw, rule)
