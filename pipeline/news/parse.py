"""Feeds as they really are, read into items: RSS 0.9x to 2.0, Atom, JSON Feed, news sitemaps."""

from __future__ import annotations

import io
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from pipeline.errors import BadInputError
from pipeline.news import dates, urls
from pipeline.news.decode import MOST_UNPACKED, decode, harden, unpacked
from pipeline.news.markup import references, to_text

# What feedparser and the standard parsers raise on input made to break them.
_BROKEN = (RecursionError, ValueError, TypeError, AttributeError, LookupError, AssertionError)

MOST_ITEMS = 20_000  # items of one payload that are read


@dataclass(frozen=True, slots=True)
class Item:
    """One item as its source gave it: plain text, an absolute address, the date as written."""

    url: str
    title: str
    text: str
    published_raw: str = ""
    guid: str = ""
    category: str = ""
    outlet: str = ""
    rule: str = ""  # how the date came about, when the source and not the reading decided it
    first_seen: str = ""  # when an archive says that it first had it


@dataclass(slots=True)
class Feed:
    """A payload, read. ``errors`` are (item, sentence); ``ttl_s`` is how often it wants to be asked, 0 when unsaid."""

    title: str = ""
    kind: str = ""
    items: list[Item] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)
    ttl_s: float = 0.0
    warning: str = ""


def parse(data: bytes, *, url: str = "", content_type: str = "") -> Feed:
    """The items of a payload fetched from ``url``.

    Never raises anything but BadInputError, whose sentence says what came instead of a feed. An item that cannot be
    used is an entry of ``errors`` and does not stop the others.
    """
    data = unpacked(data)
    if len(data) > MOST_UNPACKED:
        raise BadInputError(f"the response is a packed file of more than {MOST_UNPACKED:,} bytes")
    text = decode(data, content_type)
    stripped = text.lstrip("\ufeff \t\r\n")
    if not stripped:
        raise BadInputError("the response is empty")
    try:
        if stripped[0] in "{[":
            return _json_feed(stripped, url)
        hardened = harden(text)
        root = _root(hardened)
        if root == "sitemapindex":
            raise BadInputError("this is an index of sitemaps: add the news sitemap that it names as the feed")
        if root == "urlset":
            return _sitemap(hardened, url)
        return _xml_feed(hardened, url)
    except _BROKEN as error:
        raise BadInputError(f"the feed cannot be read ({type(error).__name__}: {str(error)[:120]})") from error


_BEFORE_ROOT = re.compile(r"<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)|<![A-Za-z][^<>\[]*(?:\[.*?\]\s*)?>", re.DOTALL)
_ELEMENT = re.compile(r"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)")


def _root(text: str) -> str:
    """The local name of a document's element in lower case, empty where there is none.

    What stands before it, however long, does not count: comments, instructions, a document type, stray text.
    """
    place = 0
    while (place := text.find("<", place)) >= 0:
        before = _BEFORE_ROOT.match(text, place)
        if before:
            place = before.end()
            continue
        element = _ELEMENT.match(text, place)
        if element:
            return element[1].lower()
        place += 1
    return ""


def _xml_feed(text: str, url: str) -> Feed:
    import feedparser

    # Cleaning HTML and resolving links are done here: feedparser's own are slow and keep HTML.
    parsed: Any = feedparser.parse(
        io.BytesIO(text.encode("utf-8")),
        response_headers={"content-type": "application/xml; charset=utf-8"},
        sanitize_html=False,
        resolve_relative_uris=False,
    )
    entries = parsed.get("entries") or []
    if not entries and not parsed.get("version"):
        raise BadInputError(_what_it_is(text))
    channel = parsed.get("feed") or {}
    feed = Feed(_line(channel.get("title")), str(parsed.get("version") or "unknown"))
    feed.ttl_s = _wanted_interval(channel)
    if parsed.get("bozo"):
        feed.warning = f"broken XML, read leniently ({' '.join(str(parsed.get('bozo_exception', '')).split())[:150]})"
    site = urls.absolute(str(channel.get("link") or ""), url) or url
    for entry in entries[:MOST_ITEMS]:
        _take(feed, lambda entry=entry: _xml_item(entry, site, url, atom=feed.kind.startswith("atom")))
    return feed


def _xml_item(entry: Any, site: str, url: str, *, atom: bool) -> Item:
    guid = str(entry.get("id") or "")[:500]
    links = [
        str(link.get("href") or "") for link in entry.get("links") or [] if link.get("rel", "alternate") == "alternate"
    ]
    original = entry.get("feedburner_origlink")
    candidates = [original, *links, entry.get("link"), guid if re.match(r"https?://", guid, re.IGNORECASE) else ""]
    link = next((found for c in candidates if c and (found := urls.absolute(str(c), site or url))), "")
    bodies = [str(part.get("value") or "") for part in entry.get("content") or []] + [str(entry.get("summary") or "")]
    texts = [to_text(body) for body in bodies if body]
    said = list(dict.fromkeys(str(entry[k]) for k in ("published", "created", "updated", "date") if entry.get(k)))
    # The first that can be read: what stands where the date of publication should be may be no date at all.
    raw = next((one for one in said if len(said) == 1 or dates.read(one)), said[0] if said else "")
    # Atom says whether a title is markup; RSS cannot.
    plain = atom and (entry.get("title_detail") or {}).get("type") == "text/plain"
    tags = [str(tag.get("term") or tag.get("label") or "") for tag in entry.get("tags") or []]
    return Item(
        url=link,
        title=(_plain_line if plain else _line)(entry.get("title")),
        text=max(texts, key=len, default=""),
        published_raw=raw,
        guid=guid,
        category=_line(next((t for t in tags if t), "")),
        outlet="",
    )


def _json_feed(text: str, url: str) -> Feed:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BadInputError(f"the response looks like JSON and is not ({str(error)[:120]})") from error
    if not isinstance(value, dict) or not isinstance(value.get("items"), list):
        raise BadInputError("the response is JSON without a list of items, so no JSON Feed")
    feed = Feed(_line(value.get("title")), "jsonfeed")
    site = urls.absolute(str(value.get("home_page_url") or ""), url) or url
    for entry in value["items"][:MOST_ITEMS]:
        _take(feed, lambda entry=entry: _json_item(entry, site))
    return feed


def _json_item(entry: Any, site: str) -> Item:
    if not isinstance(entry, dict):
        raise ValueError("it is not an object")
    guid = str(entry.get("id") or "")[:500]
    candidates = [
        entry.get("url"),
        entry.get("external_url"),
        guid if re.match(r"https?://", guid, re.IGNORECASE) else "",
    ]
    link = next((found for c in candidates if isinstance(c, str) and c and (found := urls.absolute(c, site))), "")
    markup, plain = entry.get("content_html"), (entry.get("content_text"), entry.get("summary"))
    texts = [to_text(markup)] if isinstance(markup, str) else []
    texts += [references(one) for one in plain if isinstance(one, str)]
    tags = entry.get("tags")
    return Item(
        url=link,
        title=_plain_line(entry.get("title")),
        text=max(texts, key=len, default=""),
        published_raw=str(entry.get("date_published") or entry.get("date_modified") or ""),
        guid=guid,
        category=_line(tags[0]) if isinstance(tags, list) and tags else "",
    )


def _sitemap(text: str, url: str) -> Feed:
    feed = Feed("", "news-sitemap")
    try:
        root = ElementTree.fromstring(text.encode("utf-8"))  # noqa: S314 - no document type is left in it
        rows = [_row(node) for node in root if _local(node.tag) == "url"]
    except ElementTree.ParseError as error:
        feed.warning = f"broken XML, read leniently ({error})"
        rows = [_loose_row(block) for block in re.findall(r"<url>(.*?)(?:</url>|(?=<url>)|\Z)", text, re.DOTALL)]
    for row in rows[:MOST_ITEMS]:
        _take(feed, lambda row=row: _sitemap_item(row, url))
    return feed


def _sitemap_item(row: dict[str, str], url: str) -> Item:
    link = urls.absolute(row.get("loc", ""), url)
    raw = row.get("publication_date") or row.get("lastmod") or ""
    words = _line(row.get("keywords"))
    return Item(
        link,
        _plain_line(row.get("title")),
        "",
        raw.strip(),
        category=words.split(",")[0].strip(),
        outlet=_line(row.get("name")),
    )


def _row(node: ElementTree.Element) -> dict[str, str]:
    """The page's own fields and those of its news: images and videos have a ``loc`` and ``title`` too."""
    own = [child for child in node if _local(child.tag) in {"loc", "lastmod"}]
    news = [e for child in node if _local(child.tag) == "news" for e in child.iter()]
    return {_local(e.tag): e.text or "" for e in [*news, *own]}


def _loose_row(block: str) -> dict[str, str]:
    found = re.findall(r"<(?!image:|video:)(?:\w+:)?(\w+)\b[^<>]*>(?:<!\[CDATA\[)?([^<]*?)(?:\]\]>)?</", block)
    return {name: references(value) for name, value in reversed(found)}


def _take(feed: Feed, read: Any) -> None:
    place = f"item {len(feed.items) + len(feed.errors) + 1}"
    try:
        item = read()
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        feed.errors.append((place, f"it cannot be read ({str(error)[:120]})"))
        return
    if not item.url:
        feed.errors.append((item.title[:80] or place, "it has no address of its own"))
    elif not item.title.strip() and not item.text.strip():
        feed.errors.append((item.url[:200], "it has neither a title nor a text"))
    else:
        feed.items.append(item)


def _line(value: object) -> str:
    """A line that may be HTML: RSS does not say whether its titles are, and many escape them once too often."""
    return " ".join(to_text(value, markup_from=1).split())[:1000] if isinstance(value, str) else ""


def _plain_line(value: object) -> str:
    """A line of a format that says it is plain text."""
    return " ".join(references(value).split())[:1000] if isinstance(value, str) else ""


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2].lower()


def _wanted_interval(channel: Any) -> float:
    try:
        if channel.get("ttl"):
            seconds = float(channel["ttl"]) * 60
            return max(0.0, seconds) if math.isfinite(seconds) else 0.0
        period = str(channel.get("sy_updateperiod") or "").strip().lower()
        periods = {"hourly": 3600.0, "daily": 86400.0, "weekly": 604800.0, "monthly": 2592000.0, "yearly": 31536000.0}
        return periods.get(period, 0.0) / max(1.0, float(channel.get("sy_updatefrequency") or 1))
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _what_it_is(text: str) -> str:
    head = text[:3000].lower()
    if "<opml" in head:
        return "the response is a list of feeds (OPML), not a feed: add the feeds that it names"
    if "<html" in head or "<!doctype html" in head or "<body" in head:
        return "the response is an HTML page, not a feed: its address has moved or wants a person"
    if "<" not in head:
        return "the response is plain text, not a feed"
    return "the response is no RSS, Atom, JSON Feed or news sitemap"
