"""Counts, temporal IDF, trends."""

from __future__ import annotations

from pydantic import field_validator, model_validator

from pipeline.config.section import Section, key


class TemporalConfig(Section):
    """Time: decayed and windowed document frequencies, trends and the query weights made of them."""

    decay_factor: float = key(
        0.95, "weight of a document is decay_factor ** (age in days); 0.95 halves in 13.5 days", gt=0, le=1, common=True
    )
    window_days: list[int] = key([30, 90, 365], "lengths of the IDF windows, in days", min_length=1, common=True)
    ensemble_weights: list[float] = key(
        [0.1, 0.0, 0.0, 0.9],
        "shares of the ensemble IDF: the decayed IDF's, then each window's, scaled to sum 1; chosen by retrieval on "
        "2018 and 2019 (docs/time.md)",
        common=True,
    )
    batch_articles: int = key(2000, "articles counted in one transaction", ge=1, le=100_000)
    recent_days: int = key(30, "longest stretch of days that counts as recent when trends are looked for", ge=1, le=366)
    trend_stories: int = key(
        500,
        "stories that make a stretch of days long enough to look for trends in: the shortest of 1, 3, 7, 14 and "
        "recent_days days that has so many is taken",
        ge=1,
    )
    past_days: int = key(364, "most days before the recent ones that they are compared with", ge=7, le=36_500)
    past_articles: int = key(200_000, "articles that are enough to compare with, once eight weeks are read", ge=1)
    prior_share: float = key(1.0, "strength of the prior of the log-odds, as a share of the recent stories", gt=0)
    false_discovery_rate: float = key(0.05, "share of trends that may be chance (Benjamini-Hochberg)", gt=0, lt=1)
    min_stories: int = key(4, "recent stories that a trend needs at least", ge=1)
    min_outlets: int = key(2, "distinct outlets that a trend needs, where there are so many", ge=1)
    min_lift: float = key(
        4.0, "times as frequent as in the past that a trend must be; below, most are everyday words", ge=1
    )
    max_trends: int = key(100, "trends kept for a day", ge=1)
    boosts: bool = key(
        False, "true lets trends lift query weights; false, as no gain was measured (docs/time.md): IDF alone"
    )
    boost_max: float = key(1.5, "largest boost of a trending word", ge=1, le=8)
    boost_half_life_days: float = key(14.0, "days of a burst after which its boost has halved", gt=0)

    @field_validator("window_days")
    @classmethod
    def _windows(cls, value: list[int]) -> list[int]:
        if any(not 1 <= days <= 3660 for days in value) or sorted(set(value)) != value:
            raise ValueError("window_days must be different, ascending and 1 to 3660")
        return value

    @model_validator(mode="after")
    def _shares(self) -> TemporalConfig:
        shares = self.ensemble_weights
        if len(shares) != len(self.window_days) + 1:
            raise ValueError(
                f"ensemble_weights needs {len(self.window_days) + 1} numbers: the decayed IDF's, then one a window"
            )
        if any(share < 0 for share in shares) or not sum(shares):
            raise ValueError("ensemble_weights must not be negative, nor all 0")
        return self
