"""robots.txt (RFC 9309), read by Protego; a site whose robots.txt fails lets nobody in."""

from __future__ import annotations

from dataclasses import dataclass

from protego import Protego

LONGEST = 500 * 1024  # bytes of a robots.txt that are read (RFC 9309, 2.5)
LONGEST_DELAY_S = 60.0  # a longer Crawl-delay is cut: one file must not stop a crawl


@dataclass(frozen=True, slots=True)
class Robots:
    """What one site's robots.txt says to one crawler; without a parser, everything is allowed."""

    parser: Protego | None = None
    agent: str = ""
    delay_s: float = 0.0  # pause that it asks for between requests
    unavailable: str = ""  # why the rules are not known: then nothing is allowed (RFC 9309, 2.3.1.4)

    def allows(self, url: str) -> bool:
        """Whether the crawler may fetch this URL."""
        if self.unavailable:
            return False
        return self.parser is None or bool(self.parser.can_fetch(url, self.agent))


def read(text: str, agent: str) -> Robots:
    """The rules of ``text`` for a user agent."""
    parser = Protego.parse(text)
    return Robots(parser, agent, min(parser.crawl_delay(agent) or 0.0, LONGEST_DELAY_S))
