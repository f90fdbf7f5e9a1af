"""Text to sparse vectors: documents by a dense encoder and a static query table, queries by a table of weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.encoder import dense as dense_files
from pipeline.encoder import folder as files
from pipeline.encoder.dense import DenseEncoder
from pipeline.encoder.encoding import QUERY_TOKENS, Encoding
from pipeline.encoder.lexical import saturation
from pipeline.encoder.query_table import QueryTable
from pipeline.encoder.statistics import CorpusStatistics
from pipeline.encoder.vocabulary import MANIFEST, blocked_tokens, vocabulary_hash
from pipeline.encoder.windows import windows
from pipeline.errors import BadInputError, CorruptArtifactError
from pipeline.vectors import DenseVectors

Progress = Callable[[int, int], None]


def surface_of(tokenizer: Any) -> Callable[[str], str] | None:
    """How a stored token reads, for vocabularies that are not WordPiece (their decoder says it)."""
    backend = tokenizer.backend_tokenizer
    kind = json.loads(backend.to_str())["model"].get("type")
    decoder = backend.decoder
    if kind == "WordPiece" or decoder is None:
        return None
    return lambda token: str(decoder.decode([token])).strip()


class QuerySide:
    """What every inference-free encoder has in common: a vocabulary, and a weight for each of its tokens.

    Attributes: ``tokenizer`` (transformers, fast), ``vocabulary`` (V strings, index = id), ``vocabulary_hash``,
    ``blocked`` (bool (V,)), ``query_weights`` (float32 (V,), 0 where blocked).
    """

    def __init__(self, tokenizer: Any, size: int, query_weights: NDArray[np.float32] | None) -> None:
        """``size`` is V. Raises BadInputError where the tokenizer has more tokens."""
        table: dict[str, int] = tokenizer.get_vocab()
        if not table or max(table.values()) >= size or len(table) < size // 2:
            raise BadInputError(
                f"The tokenizer has {len(table)} tokens and the model {size}: they do not belong together."
            )
        self.vocabulary: list[str] = [f"[unused-{index}]" for index in range(size)]
        for token, index in table.items():
            self.vocabulary[index] = token
        special = [*tokenizer.all_special_tokens, *(name for name in self.vocabulary if name.startswith("[unused-"))]
        self.blocked: NDArray[np.bool_] = blocked_tokens(self.vocabulary, special, surface_of(tokenizer))
        self.vocabulary_hash = vocabulary_hash(tokenizer.backend_tokenizer.to_str())
        self.tokenizer = tokenizer
        self.set_query_weights(np.ones(size, np.float32) if query_weights is None else query_weights)

    def set_query_weights(self, weights: NDArray[np.float32]) -> None:
        """Use ``weights`` (V,), non-negative and finite, for queries; blocked tokens get 0.

        Scale is the caller's: by convention the mean over the tokens in use is 1. Raises BadInputError.
        """
        table = np.array(weights, dtype=np.float32)
        if table.shape != (len(self.vocabulary),) or not np.isfinite(table).all() or (table < 0).any():
            raise BadInputError(
                f"Query weights must be {len(self.vocabulary)} finite numbers >= 0, one per token of the vocabulary."
            )
        table[self.blocked] = 0.0
        self.query_weights: NDArray[np.float32] = table

    def query_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text without special tokens, cut at ``QUERY_TOKENS``; [] for an empty text."""
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts), add_special_tokens=False, truncation=True, max_length=QUERY_TOKENS,
            return_attention_mask=False, return_token_type_ids=False,
        )  # fmt: skip
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def token_ids(self, text: str) -> list[int]:
        """The ids of a text's tokens: unique, sorted, without blocked ones."""
        return sorted({index for index in self.query_ids([text])[0] if not self.blocked[index]})

    def encode_queries(self, texts: Sequence[str], query_weights: NDArray[np.float32] | None = None) -> sp.csr_matrix:
        """Queries as rows (n, V) float32: the weight of each of their tokens, once. ``query_weights`` (V,) replaces
        the model's own for this call. Terms of weight 0 are left out."""
        weights = self.query_weights if query_weights is None else np.asarray(query_weights, np.float32)
        if weights.shape != (len(self.vocabulary),):
            raise BadInputError(f"Query weights must be {len(self.vocabulary)} numbers, one per token.")
        rows: list[NDArray[np.int64]] = []
        for ids in self.query_ids(texts):
            unique = np.unique(np.asarray(ids, np.int64))
            rows.append(unique[~self.blocked[unique] & (weights[unique] > 0)])
        indptr = np.cumsum([0, *(len(row) for row in rows)])
        indices = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        return sp.csr_matrix((weights[indices], indices, indptr), shape=(len(rows), len(self.vocabulary)))


class Encoder(QuerySide):
    """An inference-free sparse encoder: ``score(query, document) = encode_queries @ encode_documents.T``.

    A document is its lexical floor (`pipeline.encoder.lexical`) and, where there is a ``table``, the terms that its
    dense vectors stand for (`pipeline.encoder.query_table`). Queries have a vocabulary of our own; the dense
    encoder has its own. Everything that decides a vector is in the model's folder.

    Attributes besides `QuerySide`'s: ``dense`` (loaded when first used), ``table`` (None: the floor alone),
    ``encoding``, ``facts`` (what ``garam.json`` says besides).
    """

    def __init__(
        self,
        dense: DenseEncoder | None,
        tokenizer: Any,
        query_weights: NDArray[np.float32] | None = None,
        *,
        encoding: Encoding | None = None,
        table: QueryTable | None = None,
        facts: dict[str, Any] | None = None,
        device: str | None = None,
        folder: Path | None = None,
    ) -> None:
        """``tokenizer`` is the queries' (transformers, fast). Without ``dense`` ``folder`` is read when it is used."""
        super().__init__(tokenizer, len(tokenizer), query_weights)
        self.encoding = encoding or Encoding()
        self.table = table
        self.facts = dict(facts or {})
        self._device, self._folder = device, folder
        if dense is not None:
            self.dense = dense

    @cached_property
    def dense(self) -> DenseEncoder:
        """The dense encoder of documents."""
        assert self._folder is not None
        return DenseEncoder.load(self._folder / files.TRANSFORMER_MODULE, device=self._device)

    @cached_property
    def dense_identity(self) -> str:
        """What kept dense vectors are named after: the dense encoder and the windows it reads."""
        if "dense" not in self.facts:
            raise BadInputError("this encoder was never saved: save it and load it before its vectors are kept")
        return f"{self.facts['dense']}-w{self.encoding.window_chars}"

    # ------------------------------------------------------------------ loading and saving
    @classmethod
    def load(cls, folder: str | Path, *, device: str | None = None) -> Encoder:
        """Read an encoder. ``device`` is a torch device, by default the GPU if there is one.

        Nothing is fetched and no code of the folder is run. Raises BadInputError where there is no usable model,
        CorruptArtifactError where the folder is half-written, changed, or its parts do not agree.
        """
        from transformers import AutoTokenizer

        place = Path(folder)
        facts = files.check_folder(place)
        if not facts:
            raise BadInputError(f"{place} is no encoder of Garam's ({MANIFEST} is missing): name another folder.")
        try:
            tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True, trust_remote_code=False)
            encoding = Encoding(**facts["encoding"])
            width = int(facts["width"])
        except Exception as error:  # transformers raises whatever its parts raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise BadInputError(f"{place} cannot be loaded as an encoder: {reason}.") from error
        table = QueryTable.read(place, len(tokenizer), width)
        rest = {k: v for k, v in facts.items() if k not in ("files", "format", "encoding", "width")}
        encoder = cls(None, tokenizer, files.read_weights(place), encoding=encoding, table=table, facts=rest,
                      device=device, folder=place)  # fmt: skip
        if facts.get("vocabulary_hash") != encoder.vocabulary_hash:
            raise CorruptArtifactError(f"{place} was saved with another tokenizer than it holds: save it again.")
        return encoder

    def save(self, folder: str | Path, beside: Mapping[str, str] | None = None) -> None:
        """Write the encoder as one folder, all or nothing; see ``pipeline.encoder.folder`` for its layout.

        ``beside`` are texts by file name that belong to it (a card, a picture): whoever finds the one finds the other.
        Raises BadInputError where the place cannot be written or the disk is full.
        """
        with files.atomic_folder(Path(folder)) as work:
            transformer = work / files.TRANSFORMER_MODULE
            self.dense.save(transformer)
            backend = self.tokenizer.backend_tokenizer
            backend.no_truncation()
            backend.no_padding()
            for place in (work, work / files.QUERY_MODULE):
                self.tokenizer.save_pretrained(place)
            files.write_query_weights(work, self.vocabulary, self.query_weights)
            if self.table is not None:
                self.table.write(work)
                weight, bias = self.table.linear()
                files.write_linear(work, weight, bias)
            files.write_sentence_transformers(work, self.dense, has_table=self.table is not None)
            for name, text in (beside or {}).items():
                (work / name).write_text(text, "utf-8")
            facts = {
                "vocabulary_hash": self.vocabulary_hash,
                "max_length": QUERY_TOKENS,
                "dense": dense_files.identity(transformer),
                "width": self.dense.width,
                "encoding": dataclasses.asdict(self.encoding),
            }
            files.write_manifest(work, {**self.facts, **facts})

    def know(self, statistics: CorpusStatistics) -> None:
        """Take IDF and average length from a corpus; both are saved with the model."""
        self.set_query_weights(statistics.query_weights)
        self.encoding = dataclasses.replace(self.encoding, average_length=round(statistics.average_length, 2))

    # ------------------------------------------------------------------ documents
    def lexical_floor(self, texts: Sequence[str]) -> sp.csr_matrix:
        """The lexical part (n, V) float32 of the texts' vectors, of whole texts."""
        tokens: list[list[int]] = []
        if texts:
            tokens = self.tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        kept = [[token for token in ids if not self.blocked[token]] for ids in tokens]
        weight = np.float32(self.encoding.lexical_floor)
        return saturation(kept, len(self.vocabulary), self.encoding.average_length) * weight

    def encode_dense(self, texts: Sequence[str], progress: Progress | None = None) -> DenseVectors:
        """The dense vectors of the texts' windows, each text once; ``progress(done, total)`` counts windows."""
        different = list(dict.fromkeys(texts))
        parts = [windows(text, self.encoding.window_chars) for text in different]
        starts = np.cumsum([0, *map(len, parts)])
        vectors = self.dense.encode([window for part in parts for window in part], "passage", progress)
        return DenseVectors.of(self.dense_identity, different, starts, vectors)

    def encode_documents(
        self, texts: Sequence[str], *, dense: DenseVectors | None = None, progress: Progress | None = None
    ) -> sp.csr_matrix:
        """Documents as rows (n, V) float32, in the order given: the floor and the heaviest learned terms.

        ``dense`` are kept vectors of this dense encoder: texts that are in it are not encoded again.
        ``progress(done, total)`` counts the windows that are.
        """
        floor = self.lexical_floor(texts)
        if self.table is None or self.table.gain <= 0 or not len(texts):
            return floor
        if dense is not None and dense.encoder != self.dense_identity:
            raise BadInputError(f"vectors of {dense.encoder} do not fit an encoder of {self.dense_identity}")
        missing = dense.missing(texts) if dense is not None else list(dict.fromkeys(texts))
        if missing:
            made = self.encode_dense(missing, progress)
            dense = made if dense is None else DenseVectors.join([dense, made])
        assert dense is not None
        vectors, starts = dense.rows(texts)
        return sp.csr_matrix(floor + self.table.terms(vectors, starts, self.encoding.max_terms))
