"""Markup of feeds made into plain text. What comes out is text, never HTML, and is to be shown as text."""

from __future__ import annotations

import html
import re

LONGEST = 200_000  # characters of one item's markup that are read

# Elements whose content is no part of the article.
_DROPPED = (
    "script",
    "style",
    "noscript",
    "template",
    "iframe",
    "object",
    "svg",
    "figcaption",
    "button",
    "form",
    "select",
)
_BLOCKS = re.compile(
    r"</?(?:p|div|br|li|ul|ol|tr|td|th|table|h[1-6]|section|article|blockquote|figure|header|footer|dd|dt|dl|hr|pre)\b[^<>]*>",
    re.IGNORECASE,
)
# Only what starts like a tag is one: `<단독>` and `3 < 5` are text.
_TAG = re.compile(r"<(?:[A-Za-z][A-Za-z0-9:-]*|/[A-Za-z][A-Za-z0-9:-]*|!|\?)[^<>]*>")
_UNFINISHED = re.compile(r"<(?:/?[A-Za-z][A-Za-z0-9:-]*(?:\s[^<>]*)?|!--[^<>]*)\Z")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?")
# A reference that a feed's own cutting has cut: `... 광역&mi`. AT&T and R&D are none.
_CUT_REFERENCE = re.compile(r"&(?:#\d{0,6}|([a-z]{2,6}))\Z")
_OFTEN_CUT = ("nbsp", "middot", "hellip", "ldquo", "rdquo", "lsquo", "rsquo", "quot", "amp", "ndash", "mdash")
_CDATA = re.compile(r"<!\[CDATA\[|\]\]>")


def to_text(markup: str) -> str:
    """The text of HTML that may be broken, cut off, or escaped once too often. Blocks become lines."""
    text = markup[:LONGEST]
    for _ in range(3):
        before = text
        text = _strip(text)
        text = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
        if text == before or ("&" not in before and "<" not in text):
            break
    return _without_cut_reference(_strip(text)).replace("\u00a0", " ")


def _without_cut_reference(text: str) -> str:
    found = _CUT_REFERENCE.search(text, max(0, len(text) - 10))
    if found and (found[1] is None or any(name.startswith(found[1]) for name in _OFTEN_CUT)):
        return text[: found.start()]
    return text


def _strip(text: str) -> str:
    if "<" not in text and "]]>" not in text:
        return text
    text = _CDATA.sub("", text)
    text = _between(text, "<!--", "-->")
    lowered = text.lower()
    for name in _DROPPED:
        if f"<{name}" in lowered:
            text = _without(text, name)
            lowered = text.lower()
    text = _BLOCKS.sub("\n", text)
    text = _TAG.sub(" ", text)
    return _UNFINISHED.sub("", text)


def _between(text: str, start: str, end: str) -> str:
    pieces, at = [], 0
    while (opened := text.find(start, at)) >= 0:
        pieces.append(text[at:opened])
        closed = text.find(end, opened + len(start))
        if closed < 0:
            return "".join(pieces)
        at = closed + len(end)
    return "".join([*pieces, text[at:]])


def _without(text: str, name: str) -> str:
    opening, closing = re.compile(rf"<{name}\b[^<>]*>", re.IGNORECASE), re.compile(rf"</{name}\s*>", re.IGNORECASE)
    pieces, at = [], 0
    while found := opening.search(text, at):
        pieces.append(text[at : found.start()])
        end = closing.search(text, found.end())
        if end is None:
            at = len(text) if name in {"script", "style"} else found.end()
            break
        at = end.end()
    return "".join([*pieces, text[at:]])
