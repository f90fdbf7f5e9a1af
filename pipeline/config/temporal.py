"""Counts, temporal IDF, trends."""

from __future__ import annotations

from pipeline.config.section import Section, key


class TemporalConfig(Section):
    """Time: decayed and windowed document frequencies, trends and the query weights made of them."""

    decay_factor: float = key(0.95, "weight of a document is decay_factor ** (age in days); 0.95 halves in 13.5 days", gt=0, le=1)
    window_days: list[int] = key([30, 90, 365], "lengths of the IDF windows, in days")
    recent_days: int = key(30, "days that count as recent when trends are looked for", ge=1)
