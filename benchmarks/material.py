"""What the model benchmarks work on: the packaged speeches as articles, and a base model made of them.

Both are made by the product's own functions on any machine that `make venv` has set up. The base is kept in
`.state/benchmarks/base` (about 2 minutes of CPU the first time); its distillation is left out, which changes no speed.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import Config
from pipeline.context import state_folder
from pipeline.news import load_korean_news_with_dates


@dataclass(frozen=True)
class Article:
    """An article as training sets and query sets want it."""

    id: int
    title: str
    text: str
    day: dt.date
    story_id: int
    outlet: str = ""
    category: str = ""


def articles(since: dt.date, until: dt.date) -> list[Article]:
    """The packaged speeches of these days, oldest first; every article is a story of its own."""
    rows = sorted(load_korean_news_with_dates(since=since, until=until), key=lambda row: (row["date"], row["url"]))
    return [Article(n, row["title"], row["text"], row["date"].date(), n) for n, row in enumerate(rows, 1)]


def base(texts: list[str], layers: int = 6) -> Path:
    """A base of 384 dimensions and at most 16,000 tokens, not distilled; made once for the same texts."""
    from pipeline.training.base.build import build_base
    from pipeline.training.base.settings import BaseSettings

    settings = Config().base
    untrained = settings.adaptation.model_copy(update={"steps": 0})
    settings = settings.model_copy(update={"adaptation": untrained, "layers": layers})
    folder = state_folder() / "benchmarks" / ("base" if layers == 6 else f"base-{layers}")
    return build_base(texts, folder, BaseSettings.model_validate(settings.model_dump(mode="json")))
