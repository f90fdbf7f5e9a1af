"""robots.txt, as RFC 9309 says: a crawler's most specific group, its longest matching rule, Allow before Disallow."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

LONGEST = 500 * 1024  # bytes of a robots.txt that are read (RFC 9309, 2.5)


@dataclass(slots=True)
class Robots:
    """The rules of one site for one crawler: (allowed, path pattern)."""

    rules: list[tuple[bool, str]] = field(default_factory=list)
    delay_s: float = 0.0
    unavailable: str = ""  # why the rules are not known

    @classmethod
    def nobody(cls, why: str) -> Robots:
        """A site that lets nobody in, as one whose robots.txt fails must be taken (RFC 9309, 2.3.1.4)."""
        return cls([(False, "/")], unavailable=why)

    def allows(self, url: str) -> bool:
        """Whether the site lets the crawler have this address."""
        parts = urlsplit(url)
        path = _plain(parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if path == "/robots.txt":
            return True
        best: tuple[int, bool] = (-1, True)
        for allowed, pattern in self.rules:
            if _matches(pattern, path):
                best = max(best, (len(pattern), allowed))
        return best[1]


def read(text: str, agent: str) -> Robots:
    """The rules of ``text`` for a user agent; groups of the same name are one."""
    name = re.split(r"[/\s(]", agent, maxsplit=1)[0].lower()
    groups: dict[str, Robots] = {}
    current: list[Robots] = []
    naming = False
    for line in text.lstrip("\ufeff").splitlines()[:20_000]:
        key, colon, value = line.split("#", 1)[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if not colon:
            continue
        if key == "user-agent":
            current = (current if naming else []) + [groups.setdefault(value.lower(), Robots())]
            naming = True
            continue
        naming = False
        if key in {"allow", "disallow"} and value:
            for group in current:
                group.rules.append((key == "allow", _plain(value[:2000])))
        elif key == "crawl-delay":
            for group in current:
                group.delay_s = (
                    min(float(value), 60.0) if re.fullmatch(r"\d{1,6}(\.\d{1,3})?", value) else group.delay_s
                )
    fitting = [g for g in groups if g != "*" and g and name.startswith(re.split(r"[/\s]", g, maxsplit=1)[0])]
    return groups[max(fitting, key=len)] if fitting else groups.get("*", Robots())


def _plain(path: str) -> str:
    return quote(unquote(path, errors="surrogateescape"), safe="/:@!$&'()*+,;=~-._?%", errors="surrogateescape")


def _matches(pattern: str, path: str) -> bool:
    """``*`` is anything, ``$`` at the end is the end; piece by piece, so that no pattern takes long."""
    anchored = pattern.endswith("$")
    first, *rest = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    if not rest:
        return not anchored or path == first
    at = len(first)
    for piece in rest[:-1]:
        found = path.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    last = rest[-1]
    return path.endswith(last) and len(path) - len(last) >= at if anchored else path.find(last, at) >= 0
