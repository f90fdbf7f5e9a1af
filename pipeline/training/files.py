"""Learning from articles in files: no database, no artifact store; what `train.py` does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pipeline.artifacts import content_hash
from pipeline.config import Config
from pipeline.encoder import Encoder
from pipeline.errors import BadInputError, UsageError
from pipeline.progress import Progress, silent
from pipeline.training.base import build_base
from pipeline.training.learning import Learned, Recent, learn
from pipeline.training.worker import encode_in_parts, save, total_of, write_sums
from pipeline.vectors import KeptVectors, text_key


class LearnedArticle(Protocol):
    """What is learned from an article."""

    @property
    def title(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def day(self) -> dt.date: ...


def learn_from_articles(
    articles: Sequence[LearnedArticle],
    output: Path,
    work: Path,
    config: Config,
    *,
    base: Path | None = None,
    progress: Progress = silent,
) -> Learned:
    """Learn a model from articles, oldest first, into the folder ``output``.

    ``base`` is a base's folder; without one it is built from the articles in ``work``, where the sums of the days and
    the vectors of the newest texts are kept, too: the same call after a kill goes on from there. Raises BadInputError
    where there is too little to learn from, UsageError where ``work`` is of other articles or settings.
    """
    settings = config.training
    rows = [(article, text) for article in articles if (text := config.encoder.document_text(article.text))]
    different = {text: article for article, text in rows}
    if len(different) < 2:
        raise BadInputError(f"there are {len(different)} different articles: learning needs many more")
    _same_training(work, [*different], base, config)
    place = base or build_base([text for _, text in rows], work / "base", config.encoder, progress)
    encoder = Encoder.load(place)
    by_day: dict[str, list[str]] = {}
    for text, article in different.items():
        by_day.setdefault(article.day.isoformat(), []).append(text)
    folder = work / "sums"
    folder.mkdir(exist_ok=True)
    write_sums(encoder, by_day, folder, settings, progress)
    total = total_of(encoder, [(day, folder / day) for day in by_day], dt.date.fromisoformat(max(by_day)), settings)
    newest = list(different)[-settings.recent_texts :]
    recent = Recent(newest, [different[text].title for text in newest])
    kept = KeptVectors(encoder.dense_identity)
    encode_in_parts(encoder, kept, recent.texts, work, progress)
    learned = learn(encoder, total, recent, kept, settings, progress=progress)
    encoder.table = learned.table
    card = {"kind": "trained", "base": str(place), "config": settings.model_dump(mode="json"), **learned.report}
    save(encoder, output, card)
    return learned


def _same_training(work: Path, texts: Sequence[str], base: Path | None, config: Config) -> None:
    """Make ``work`` this training's; UsageError where it is another's."""
    settings = config.hash_of("encoder", "training")
    identity = content_hash([settings, str(base) if base else None, [text_key(text) for text in texts]])
    work.mkdir(parents=True, exist_ok=True)
    mark = work / "identity.txt"
    if mark.exists() and mark.read_text("utf-8") != identity:
        raise UsageError(f"{work} belongs to a training of other articles or settings: delete it and start again")
    mark.write_text(identity, "utf-8")
