"""HTML of feeds to plain text, by lxml. The result is text, never HTML, and must be shown as text."""

from __future__ import annotations

import html
import re

from lxml import etree

LONGEST = 200_000  # characters of one item's markup that are read

# Elements whose content is no part of the article. A feed that cuts its items may leave the others open.
_ALWAYS_DROPPED = ("script", "style")
_DROPPED_CLOSED = ("noscript", "template", "iframe", "object", "svg", "figcaption", "button", "form", "select")
_BLOCKS = (
    "p", "div", "br", "li", "ul", "ol", "tr", "td", "th", "table", "h1", "h2", "h3", "h4", "h5", "h6", "section",
    "article", "blockquote", "figure", "header", "footer", "dd", "dt", "dl", "hr", "pre",
)  # fmt: skip
_DROPPED = re.compile(rf"<(?:{'|'.join(_ALWAYS_DROPPED + _DROPPED_CLOSED)})\b", re.IGNORECASE)
_OPENING = re.compile(rf"<({'|'.join(_DROPPED_CLOSED)})\b[^<>]*>", re.IGNORECASE)
_CLOSING = re.compile(rf"</({'|'.join(_DROPPED_CLOSED)})\b", re.IGNORECASE)
# Only what starts like a tag is one (as in HTML5): `<단독>` and `3 < 5` are text.
_TAG = re.compile(r"<(?:/?[A-Za-z]|!|\?)[^<>]*>?")
# Elements that show in a headline or a sentence that was escaped too often. `List<String>` has none of them.
_KNOWN = re.compile(
    r"<(?!(?:/?(?:a|abbr|b|big|blockquote|br|center|cite|code|dd|del|div|dl|dt|em|figure|font|h[1-6]|hr|i|img|ins|li|"
    r"mark|ol|p|pre|q|s|small|span|strike|strong|sub|sup|table|tbody|td|th|tr|tt|u|ul|script|style|figcaption)"
    r"(?=[\s/>])|!--|!\[))",
    re.IGNORECASE,
)
# A reference ends with its semicolon, whatever HTML's oldest rules say: `5G&LTE` has none. Five are typed without.
_REFERENCE = re.compile(
    r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});|&(?:nbsp|amp|lt|gt|quot)(?![A-Za-z0-9;=])"
)
_LOOSE = re.compile(rf"&(?!{_REFERENCE.pattern.replace('&', '')})")
_CDATA = re.compile(r"<!\[CDATA\[|\]\]>")
# A reference that a feed's own cutting has cut: `... 광역&mi`. AT&T and R&D are none.
_CUT_REFERENCE = re.compile(r"&(?:#\d{0,6}|([a-z]{2,6}))\Z")
_OFTEN_CUT = ("nbsp", "middot", "hellip", "ldquo", "rdquo", "lsquo", "rsquo", "quot", "amp", "ndash", "mdash")
_PARSER = etree.HTMLParser(
    encoding="utf-8", no_network=True, huge_tree=False, remove_comments=True, remove_pis=True, recover=True
)
_TEXTS = etree.XPath("//text()", smart_strings=False)
_DEEPEST = 256  # elements within one another that libxml2 reads without huge_tree


def to_text(markup: str, *, markup_from: int = 0) -> str:
    """The text of HTML that may be broken, cut off, or escaped up to twice too often. Blocks become lines.

    In the first reading whatever starts like a tag is one, in the others (of what was escaped too often) only elements
    that a text has. ``markup_from`` 1 is for headlines, where the first reading has no other tags either: formats leave
    open whether they are HTML.
    """
    text = markup[:LONGEST].replace("\0", "")
    for reading in range(3):
        if "&" not in text and "<" not in text and "]]>" not in text:
            break
        before = text
        if "[CDATA[" in text or "]]>" in text:
            text = _CDATA.sub("", text)
        marked = text if reading < 1 - markup_from else _KNOWN.sub("&lt;", text)
        text = _parse(marked) if "<" in marked and _TAG.search(marked) else references(text)
        if text == before:
            break
    return _without_cut_reference(text).replace("\u00a0", " ")


def references(text: str) -> str:
    """Plain text with its character references read once; tags stay as they are."""
    return _REFERENCE.sub(lambda found: html.unescape(found[0]), text)


def _without_cut_reference(text: str) -> str:
    found = _CUT_REFERENCE.search(text, max(0, len(text) - 10))
    if found and (found[1] is None or any(name.startswith(found[1]) for name in _OFTEN_CUT)):
        return text[: found.start()]
    return text


def _parse(text: str) -> str:
    """The text of HTML, its character references read once."""
    drop = _DROPPED.search(text)
    if drop:
        text = _without_unclosed(text)
    text = _LOOSE.sub("&amp;", text)
    root = etree.fromstring(b"<div>" + text.encode("utf-8", "ignore") + b"</div>", _PARSER)
    if root is None:
        return ""
    if text.count("<") >= _DEEPEST and any(e.type_name == "ERR_RESOURCE_LIMIT" for e in _PARSER.error_log):
        return references(_TAG.sub(" ", text))  # the parser has stopped there and would lose the rest
    if drop:
        etree.strip_elements(root, *_ALWAYS_DROPPED, *_DROPPED_CLOSED, with_tail=False)
    for block in root.iter(*_BLOCKS):
        block.text, block.tail = "\n" + (block.text or ""), "\n" + (block.tail or "")
    return " ".join(_TEXTS(root))


def _without_unclosed(text: str) -> str:
    """Without the tags of dropped elements that are never closed: the parser would drop all that follows them."""
    last = {closing[1].lower(): closing.start() for closing in _CLOSING.finditer(text)}
    return _OPENING.sub(lambda tag: tag[0] if tag.start() < last.get(tag[1].lower(), -1) else " ", text)
