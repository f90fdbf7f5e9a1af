"""robots.txt (RFC 9309); a site whose robots.txt fails lets nobody in.

Which groups are a crawler's is decided here, by its whole product token; Protego matches their patterns. Its own choice
of a group goes by prefixes ("gar" would bind "Garam"), and a line of another kind ends a group's user agents.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from urllib.parse import quote

from protego import Protego

LONGEST = 500 * 1024  # bytes of a robots.txt that are read (RFC 9309, 2.5)
LONGEST_DELAY_S = 60.0  # a longer Crawl-delay is cut: one file must not stop a crawl
_LINE = re.compile(
    r"(?P<agent>user[-\s]?agent)|(?P<disallow>diss?all?ow|diasllow|disallaw)|(?P<allow>allow)|(?P<delay>crawl[-\s]?delay)",
    re.IGNORECASE,
)
_OTHER_BREAKS = re.compile("[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")  # Protego's lines end there, those of the RFC do not
_TOKEN = re.compile(r"[A-Za-z_-]+")


@dataclass(frozen=True, slots=True)
class Robots:
    """What one site's robots.txt says to one crawler; without a parser, everything is allowed."""

    parser: Protego | None = None
    delay_s: float = 0.0  # pause that it asks for between requests
    unavailable: str = ""  # why the rules are not known: then nothing is allowed (RFC 9309, 2.3.1.4)

    def allows(self, url: str) -> bool:
        """Whether the crawler may fetch this URL."""
        if self.unavailable:
            return False
        return self.parser is None or bool(self.parser.can_fetch(url, "*"))


def decode(body: bytes) -> str:
    """The text of a robots.txt: UTF-8, or UTF-16 by its byte order mark; cut off at `LONGEST` with a whole line."""
    part = body[:LONGEST]
    if part.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = part.decode("utf-16", errors="replace")
    else:
        text = part.decode("utf-8-sig", errors="replace")
    if len(body) > LONGEST:  # half a path forbids more than the whole one
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
    return text


def read(text: str, agent: str) -> Robots:
    """The rules of ``text`` for the crawler with the User-Agent header ``agent``."""
    found = _TOKEN.match(agent)
    parser = Protego.parse("\n".join(["User-agent: *", *_rules(text, found[0].casefold() if found else "")]))
    return Robots(parser, min(parser.crawl_delay("*") or 0.0, LONGEST_DELAY_S))


def _rules(text: str, token: str) -> list[str]:
    """The lines of the groups that name ``token``, or else of those for everybody (RFC 9309, 2.2.1)."""
    own: list[str] | None = None
    everybody: list[str] = []
    names: set[str] = set()  # of the group that is read
    begun = False  # whether its rules have begun, so that a user agent opens another group
    for line in re.split(r"\r\n|\r|\n", text.lstrip("\ufeff")):
        field, value = _directive(line)
        if field == "agent":
            names, begun = set() if begun else names, False
            product = _TOKEN.match(value)
            names.add("*" if value.startswith("*") else product[0].casefold() if product else "?")
            if token in names and own is None:
                own = []  # also a group without rules is the crawler's own
        elif field:
            begun = begun or field != "delay"
            value = _OTHER_BREAKS.sub(lambda found: quote(found[0]), value)
            rule = f"{'crawl-delay' if field == 'delay' else field}: {value}"
            if token in names and own is not None:
                own.append(rule)
            if "*" in names:
                everybody.append(rule)
    return everybody if own is None else own


def _directive(line: str) -> tuple[str, str]:
    """The field (agent, allow, disallow, delay; empty for any other) and the value of a line."""
    line = line.partition("#")[0].strip()
    named = _LINE.match(line)
    if named is None or named.lastgroup is None:
        return "", ""
    value = re.match(r"\s*:\s*|\s+", line[named.end() :])
    return (named.lastgroup, line[named.end() + value.end() :].strip()) if value else ("", "")
