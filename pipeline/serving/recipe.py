"""What a generation is made of, and the content hash that says whether two are the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.artifacts.query_weights import QueryWeights
from pipeline.artifacts.vectors import DenseVectors, KeptVectors
from pipeline.context import Context
from pipeline.errors import ConfigError
from pipeline.hashing import content_hash
from pipeline.kept import encode_missing, keep, read_kept
from pipeline.search import bodies, features, query_models
from pipeline.store.articles import Article
from pipeline.store.evaluations import Weights
from pipeline.store.models import Model

if TYPE_CHECKING:
    from pipeline.encoder import Encoder


@lru_cache(maxsize=2)
def _encoder(folder: Path) -> Encoder:
    from pipeline.encoder import Encoder

    return Encoder.load(folder)


DOCUMENT_SETTINGS = ("title_weight", "seismic")
"""Settings of ``serving`` that decide what an index's documents are: a change takes a new index (`garam rebuild`)."""


class Recipe:
    """A model with its query weights and the settings of its index: makes documents, query model, pipeline and index.

    ``weights`` None are the model's own. ``settings`` are those of a generation whose index exists (`recipe_of` gives
    them): its documents keep them, whatever the configuration says now. The model is loaded when first needed, and so
    are the dense vectors of texts that are kept of its dense encoder.
    """

    def __init__(
        self, ctx: Context, model: Model, weights: Weights | None, settings: Mapping[str, Any] | None = None
    ) -> None:
        self._ctx = ctx
        kept = {name: settings[name] for name in DOCUMENT_SETTINGS} if settings is not None else {}
        self._config = ctx.config.serving.model_copy(update=kept)
        self._made: list[DenseVectors] = []
        self.model = model
        self.weights = weights

    # ------------------------------------------------------------------ identity
    @property
    def documents_hash(self) -> str:
        """The identity of what is in the index, whatever the queries weigh."""
        body = bodies.news_index({}, shards=0, replicas=0, pipeline="", seismic=self._config.seismic)
        return content_hash(
            {
                "model": self.model.artifact,
                "mapping": body["mappings"],
                "analysis": bodies.KOREAN,
                "title_weight": self._config.title_weight,
            }
        )

    @property
    def content_hash(self) -> str:
        """The identity of the generation: documents and query weights."""
        return content_hash({"documents": self.documents_hash, "weights": self.weights and self.weights.artifact})

    # ------------------------------------------------------------------ query side
    @property
    def query_weights(self) -> NDArray[np.float32] | None:
        """The weights (V,), or None for the model's own."""
        if self.weights is None:
            return None
        return QueryWeights.read(self._ctx.artifacts.get(self.weights.artifact)).weights

    def package(self, gates: NDArray[np.float32] | None = None) -> bytes:
        """The query model's zip; ``gates`` (V,) of trend weights multiply the query weights."""
        return query_models.package(self._ctx.artifacts.get(self.model.artifact), self.query_weights, gates)

    def pipeline(self, query_model: str) -> dict[str, Any]:
        """The search pipeline's body."""
        share = self._config.hybrid_bm25
        return bodies.search_pipeline(query_model, hybrid_weights=(share, 1 - share), fusion=self._config.hybrid_fusion)

    # ------------------------------------------------------------------ document side
    def index(self, meta: dict[str, Any], pipeline: str) -> dict[str, Any]:
        """The index's body."""
        config = self._config
        if config.seismic and len(self.names) > bodies.SEISMIC_LIMIT:
            raise ConfigError(
                f"serving.seismic needs a vocabulary of at most {bodies.SEISMIC_LIMIT} tokens, and this model's has "
                f"{len(self.names)}: set it to false"
            )
        return bodies.news_index(
            meta, shards=config.shards, replicas=config.replicas, pipeline=pipeline, seismic=config.seismic
        )

    @cached_property
    def encoder(self) -> Encoder:
        """The model."""
        return _encoder(self._ctx.artifacts.get(self.model.artifact))

    @cached_property
    def names(self) -> list[str]:
        """Feature names by token id."""
        return features.names(self.encoder.vocabulary)

    @cached_property
    def dense(self) -> KeptVectors:
        """The dense vectors that are known of texts."""
        return read_kept(self._ctx, self.encoder.dense_identity)

    def text(self, text: str) -> str:
        """The part of an article's text that is encoded and searched."""
        return self.encoder.encoding.document_text(text)

    def rows(self, titles: list[str], texts: list[str]) -> sp.csr_matrix:
        """Served vectors (n, V): each text's own vector, in which the title's tokens weigh at least the title weight.

        A text without dense vectors is encoded now; `keep_made` stores them. ``texts`` are those of `text`.
        """
        made = encode_missing(self.encoder, self.dense, texts)
        if made is not None:
            self._made.append(made)
        rows = self.encoder.encode_documents(texts, dense=self.dense.only(texts))
        return with_titles(rows, [self.encoder.token_ids(title) for title in titles], self._config.title_weight)

    def keep_made(self, most: int = 0) -> None:
        """Keep the dense vectors that were made since the last call, in one artifact, where they are of more than
        ``most`` texts."""
        if sum(len(part.keys) for part in self._made) > most:
            keep(self._ctx, DenseVectors.join(self._made))
            self._made.clear()

    def documents(self, articles: list[Article]) -> list[dict[str, Any]]:
        """The articles as the index takes them."""
        texts = [self.text(article.text) for article in articles]
        rows = self.rows([article.title for article in articles], texts)
        made = []
        for number, (article, text) in enumerate(zip(articles, texts, strict=True)):
            document: dict[str, Any] = {
                "article_id": article.id,
                "version": article.version,
                "url": article.url,
                "outlet": article.outlet,
                "category": article.category,
                "published_at": article.published_at.isoformat(),
                "title": article.title,
                "text": text,
                "emb": features.document(rows[number], self.names),
            }
            if self._config.seismic:
                row = rows[number]
                document["seismic"] = {
                    str(index): weight for index, weight in zip(row.indices.tolist(), row.data.tolist(), strict=True)
                }
            made.append(document)
        return made


def with_titles(rows: sp.csr_matrix, titles: list[list[int]], weight: float) -> sp.csr_matrix:
    """Rows (n, V) in which the tokens ``titles[i]`` (ids) of row i weigh at least ``weight``."""
    if weight <= 0:
        return rows
    indptr = np.cumsum([0, *(len(ids) for ids in titles)])
    indices = np.array([index for ids in titles for index in ids], dtype=np.int64)
    floor = sp.csr_matrix((np.full(len(indices), weight, np.float32), indices, indptr), shape=rows.shape)
    return sp.csr_matrix(rows.maximum(floor))


@dataclass(frozen=True)
class Names:
    """What belongs to a generation in the cluster, by name."""

    alias: str

    @property
    def aliases(self) -> dict[str, bool]:
        """The aliases and whether they are written through."""
        return {self.alias: False, f"{self.alias}-write": True}

    @property
    def indices(self) -> str:
        """The pattern of the generations' indices and search pipelines."""
        return f"{self.alias}-g*"

    @property
    def query_models(self) -> str:
        """The prefix of query models' names."""
        return f"{self.alias}-query"

    @property
    def trend_models(self) -> str:
        """The prefix of the names of trend weights' query models."""
        return f"{self.alias}-trends"

    @property
    def template(self) -> str:
        """The stored search template that clients send their text to."""
        return self.alias

    @property
    def hybrid_template(self) -> str:
        """The stored search template with BM25 beside the model."""
        return f"{self.alias}-hybrid"
