"""Dense vectors that are kept: read from the store's artifacts, and entered there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.vectors import DenseVectors, KeptVectors, to_merge
from pipeline.context import Context
from pipeline.encoder.encoding import Encoding
from pipeline.encoder.vocabulary import MANIFEST
from pipeline.errors import ConfigError
from pipeline.store import models, news
from pipeline.store import vectors as rows
from pipeline.store.models import Model

if TYPE_CHECKING:
    from pipeline.encoder import Encoder

LOCK = "garam.dense"
"""Held while an artifact of dense vectors replaces others."""


def read_kept(ctx: Context, encoder: str) -> KeptVectors:
    """All vectors that are kept of a dense encoder (`Encoder.dense_identity`) and can be had."""
    with ctx.store.begin() as conn:
        names = [row.artifact for row in rows.dense(conn, encoder)]
    return KeptVectors(encoder, (DenseVectors.read(ctx.artifacts.get(n)) for n in names if ctx.artifacts.has(n)))


def keep(ctx: Context, vectors: DenseVectors) -> str | None:
    """Store vectors and enter them, with those of small artifacts once there are many; the artifact's name.

    A crawl keeps a few hundred every half hour: without putting them together a reader would open thousands of files.
    Texts that were removed since they were encoded are left out; None where no other is there.
    """
    with ctx.store.lock(LOCK):
        with ctx.store.begin() as conn:
            vectors = vectors.without(news.removed_among(conn, vectors.keys))
            sizes = {row.artifact: row.texts for row in rows.dense(conn, vectors.encoder)}
        if not vectors.keys:
            return None
        merged = to_merge({name: texts for name, texts in sizes.items() if ctx.artifacts.has(name)})
        whole = DenseVectors.join([*(DenseVectors.read(ctx.artifacts.get(name)) for name in merged), vectors])
        name = _put(ctx, whole)
        with ctx.store.begin() as conn:
            rows.add_dense(conn, whole.encoder, name, len(whole.keys), replaces=merged)
    return name


def enter(ctx: Context, artifact: str) -> None:
    """Enter an artifact of dense vectors that a worker made, without texts that were removed meanwhile.

    The caller holds `LOCK`.
    """
    vectors = DenseVectors.read(ctx.artifacts.get(artifact))
    with ctx.store.begin() as conn:
        removed = news.removed_among(conn, vectors.keys)
        if not removed:
            rows.add_dense(conn, vectors.encoder, artifact, len(vectors.keys))
    if removed:
        replace(ctx, artifact, vectors.without(removed))


def replace(ctx: Context, artifact: str, vectors: DenseVectors) -> None:
    """Enter the vectors instead of an artifact that has more, and remove it. The caller holds `LOCK`."""
    name = _put(ctx, vectors) if vectors.keys else None
    with ctx.store.begin() as conn:
        if name is not None:
            rows.add_dense(conn, vectors.encoder, name, len(vectors.keys))
        rows.drop_dense(conn, [artifact])
    ctx.artifacts.remove(artifact)


def _put(ctx: Context, vectors: DenseVectors) -> str:
    with ctx.artifacts.scratch() as folder:
        vectors.write(folder / "dense")
        return ctx.artifacts.put(folder / "dense", "dense")


def lacking(encoder: Encoder, kept: KeptVectors, texts: Iterable[str]) -> list[str]:
    """The texts that the encoder needs dense vectors of and ``kept`` has none of; a lexical floor alone needs none."""
    return kept.missing(texts) if encoder.table is not None and encoder.table.gain > 0 else []


def encode_missing(
    encoder: Encoder, kept: KeptVectors, texts: Iterable[str], progress: Callable[[int, int], None] | None = None
) -> DenseVectors | None:
    """Encode the texts that are `lacking` and add them to ``kept``; what was made. Storing it is the caller's."""
    missing = lacking(encoder, kept, texts)
    if not missing:
        return None
    made = encoder.encode_dense(missing, progress)
    kept.add(made)
    return made


def base_encoding(ctx: Context) -> Encoding:
    """How the newest base encodes, and what is learned over it; without a base, the encoding of the configuration."""
    with ctx.store.begin() as conn:
        base = models.base(conn)
    return model_encoding(ctx, base)[1] if base is not None else Encoding.of(ctx.config.encoder)


def model_encoding(ctx: Context, model: Model) -> tuple[str, Encoding]:
    """See `encoding_of`; ConfigError for a model of another version of Garam."""
    known = encoding_of(ctx.artifacts.get(model.artifact))
    if known is None:
        raise ConfigError(f"model {model.id} was made by another version of Garam: build the base again")
    return known


def encoding_of(folder: Path) -> tuple[str, Encoding] | None:
    """What a saved model says without being loaded: the name that its dense vectors are kept by
    (`Encoder.dense_identity`), and how it encodes. None for a folder that is none of ours."""
    try:
        facts = json.loads((folder / MANIFEST).read_text("utf-8"))
        encoding = Encoding(**facts["encoding"])
        return f"{facts['dense']}-w{encoding.window_chars}", encoding
    except (OSError, ValueError, KeyError, TypeError):
        return None
