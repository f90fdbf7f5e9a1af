"""News intake."""

from __future__ import annotations

from pipeline.config.section import Section, key


class NewsConfig(Section):
    """News intake: how politely feeds are polled and what is taken from them."""

    allow_loopback: bool = key(False, "true lets the crawler fetch from 127.0.0.1 (the replay server needs it)")
