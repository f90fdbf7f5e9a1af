"""Training on articles from files, without database and artifact store: what `train.py` runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pipeline.artifacts.vectors import KeptVectors, text_key
from pipeline.config import Config
from pipeline.encoder import Encoder, Encoding
from pipeline.errors import BadInputError, UsageError
from pipeline.hashing import content_hash
from pipeline.kept import encoding_of
from pipeline.progress import Progress, silent
from pipeline.training.base import build_base
from pipeline.training.learning import Learned, Recent, learn
from pipeline.training.worker import encode_in_parts, save, total_of, write_sums


class LearnedArticle(Protocol):
    """The fields of an article that training reads."""

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
    """Train a model on ``articles`` (oldest first) and save it to the folder ``output``.

    ``base`` is the folder of a base model; without one, it is built from the articles. ``work`` holds intermediate
    results (base, sums, dense vectors): the same call after a kill resumes from them. Raises BadInputError for fewer
    than two distinct articles, UsageError where ``work`` belongs to other articles or settings.
    """
    settings = config.training
    known = encoding_of(base) if base is not None else None
    encoding = known[1] if known is not None else Encoding.of(config.encoder)
    rows = [(article, text) for article in articles if (text := encoding.document_text(article.text))]
    unique = {text: article for article, text in rows}
    if len(unique) < 2:
        raise BadInputError(f"there are {len(unique)} different articles: training needs many more")
    _claim_work_folder(work, [*unique], base, config)
    base_folder = base or build_base([text for _, text in rows], work / "base", config.encoder, progress)
    encoder = Encoder.load(base_folder)
    by_day: dict[str, list[str]] = {}
    for text, article in unique.items():
        by_day.setdefault(article.day.isoformat(), []).append(text)
    folder = work / "sums"
    folder.mkdir(exist_ok=True)
    write_sums(encoder, by_day, folder, settings, progress)
    total = total_of(encoder, [(day, folder / day) for day in by_day], dt.date.fromisoformat(max(by_day)), settings)
    newest = list(unique)[-settings.validation_texts :]
    recent = Recent(newest, [unique[text].title for text in newest])
    kept = KeptVectors(encoder.dense_identity)
    encode_in_parts(encoder, kept, recent.texts, work, progress)
    learned = learn(encoder, total, recent, kept, settings, progress=progress)
    encoder.table = learned.table
    card = {"kind": "trained", "base": str(base_folder), "config": settings.model_dump(mode="json"), **learned.report}
    save(encoder, output, card)
    return learned


def _claim_work_folder(work: Path, texts: Sequence[str], base: Path | None, config: Config) -> None:
    """Mark ``work`` as belonging to this training. Raises UsageError where it belongs to another."""
    settings = config.hash_of("encoder", "training")
    identity = content_hash([settings, str(base) if base else None, [text_key(text) for text in texts]])
    work.mkdir(parents=True, exist_ok=True)
    file = work / "identity.txt"
    if file.exists() and file.read_text("utf-8") != identity:
        raise UsageError(f"{work} belongs to a training of other articles or settings: delete it and start again")
    file.write_text(identity, "utf-8")
