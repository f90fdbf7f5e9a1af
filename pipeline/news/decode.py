"""The characters of a feed, whatever its declarations claim, and nothing that an XML parser could be hurt with."""

from __future__ import annotations

import codecs
import html
import html.entities
import re
import zlib

MOST_UNPACKED = 20_000_000  # bytes of a file that is packed itself

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"),
)  # fmt: skip
_DECLARED = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']\s*([A-Za-z0-9._:-]{1,40})""", re.IGNORECASE)
_CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([A-Za-z0-9._:-]{1,40})""", re.IGNORECASE)
_ILLEGAL = re.compile("[\u0000-\u0008\u000b\u000c\u000e-\u001f\ud800-\udfff\ufffe\uffff]")
_CDATA = re.compile(r"(<!\[CDATA\[.*?\]\]>)", re.DOTALL)
_REFERENCE = re.compile(
    r"&(?:#(?P<decimal>\d{1,10});|#[xX](?P<hex>[0-9a-fA-F]{1,8});|(?P<name>[A-Za-z][A-Za-z0-9]{1,31});)?"
)
_XML_NAMES = {"amp", "lt", "gt", "quot", "apos"}
# What Korean pages call CP949 with its many names; EUC-KR proper is a part of it.
_KOREAN = {
    "euckr", "ksc5601", "ksc56011987", "ksc56011989", "cp949", "ms949", "uhc", "windows949", "korean", "xwindows949",
    "ksx1001",
}  # fmt: skip


def unpacked(data: bytes) -> bytes:
    """What a gzip file holds (sitemaps are served as such), as far as one byte beyond what may be; else ``data``."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return zlib.decompressobj(31).decompress(data, MOST_UNPACKED + 1)
    except zlib.error:
        return data


def decode(data: bytes, content_type: str = "") -> str:
    """The text of a payload: its byte order mark, then UTF-8 if it is that, then what is declared, then CP949.

    Declarations are wrong so often that bytes which are valid UTF-8 are UTF-8, and what is not is tried as declared
    and as CP949 before any one-byte code, which accepts everything. A gzip file's text is that of what it holds.
    """
    data = unpacked(data)
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, errors="replace")
    start = data.lstrip()[:4]
    if start[:4] in {b"<\0?\0", b"<\0r\0", b"<\0f\0", b"{\0\r\0", b"{\0\n\0"} or start[:2] == b"<\0":
        return data.decode("utf-16-le", errors="replace")
    if start[:2] == b"\0<":
        return data.decode("utf-16-be", errors="replace")
    try:
        if b"\x1b$" not in data:  # ISO-2022-KR is ASCII to look at
            return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    named = [found[1].decode("ascii") for found in [_DECLARED.search(data[:1000])] if found]
    named += [found[1] for found in [_CHARSET.search(content_type)] if found]
    one_byte = None
    for name in [*named, "cp949"]:
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        codec = "cp949" if plain in _KOREAN else name
        try:
            if codecs.lookup(codec).name in {"utf-8", "ascii", "iso8859-1", "cp1252", "iso8859-15"}:
                one_byte = one_byte or codec
                continue
            return data.decode(codec)
        except (LookupError, UnicodeError):
            continue
    # Damaged (cut inside a character, two encodings mixed): the reading that loses least.
    readings = [data.decode(name, errors="replace") for name in ("utf-8", "cp949")]
    lost = [reading.count("\ufffd") for reading in readings]
    best = readings[lost.index(min(lost))]
    if min(lost) > len(best) / 20 and one_byte and codecs.lookup(one_byte).name not in {"utf-8", "ascii"}:
        return data.decode(one_byte, errors="replace")
    return best


def harden(text: str) -> str:
    """XML text without a declaration, a document type (so without entities of its own) or illegal characters.

    References that XML does not know are resolved where HTML does, dropped where they name no character, and else
    plain text, as is an ampersand that begins none; so such a feed is still XML.
    """
    text = _ILLEGAL.sub("", text).lstrip("\ufeff \t\r\n")
    text = re.sub(r"\A<\?xml[^>]{0,500}\?>\s*", "", text, flags=re.IGNORECASE)
    text = _without_doctype(text)
    if "&" not in text:
        return text
    parts = _CDATA.split(text)
    parts[::2] = [_REFERENCE.sub(_reference, part) for part in parts[::2]]
    return "".join(parts)


def _reference(found: re.Match[str]) -> str:
    if name := found["name"]:
        if name in _XML_NAMES:
            return found[0]
        character = html.entities.html5.get(f"{name};")
        return html.escape(character) if character else f"&amp;{name};"
    if found["decimal"] or found["hex"]:
        code = int(found["decimal"]) if found["decimal"] else int(found["hex"], 16)
        if code > 0x10FFFF or _ILLEGAL.match(chr(code)):
            return ""
        return found[0]
    return "&amp;"


def _without_doctype(text: str) -> str:
    while found := re.search(r"<!DOCTYPE", text, re.IGNORECASE):
        at, depth, quote = found.end(), 0, ""
        while at < len(text):
            char = text[at]
            if quote:
                quote = "" if char == quote else quote
            elif char in "\"'":
                quote = char
            elif char == "[":
                depth += 1
            elif char == "]":
                depth -= 1
            elif char == ">" and depth <= 0:
                break
            at += 1
        if at >= len(text):  # never closed: only its own line can be told from the feed
            at = text.find("\n", found.end())
            at = len(text) - 1 if at < 0 else at
        text = text[: found.start()] + text[at + 1 :]
    # Stray declarations outside a document type mean nothing to a feed and something to a lenient parser.
    return re.sub(r"<!(?:ENTITY|ELEMENT|ATTLIST|NOTATION)\b[^>]{0,2000}>", "", text, flags=re.IGNORECASE)
