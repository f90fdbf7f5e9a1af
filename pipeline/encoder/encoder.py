"""Text to sparse vectors: documents by a dense encoder and a query table, queries by a lookup of token weights."""

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

from pipeline.artifacts.vectors import DenseVectors
from pipeline.encoder import dense as dense_files
from pipeline.encoder import folder as files
from pipeline.encoder.dense import DenseEncoder
from pipeline.encoder.encoding import QUERY_TOKENS, Encoding
from pipeline.encoder.lexical import CorpusStatistics, bm25_weights
from pipeline.encoder.query_table import QueryTable
from pipeline.encoder.vocabulary import MANIFEST, blocked_tokens, vocabulary_hash
from pipeline.encoder.windows import windows
from pipeline.errors import BadInputError, CorruptArtifactError

Progress = Callable[[int, int], None]


def surface_of(tokenizer: Any) -> Callable[[str], str] | None:
    """A function from a token to its readable text, by the decoder of the tokenizer; None for WordPiece."""
    backend = tokenizer.backend_tokenizer
    kind = json.loads(backend.to_str())["model"].get("type")
    decoder = backend.decoder
    if kind == "WordPiece" or decoder is None:
        return None
    return lambda token: str(decoder.decode([token])).strip()


class QueryEncoder:
    """The query side of an inference-free encoder: a vocabulary and a weight for each of its tokens.

    Attributes: ``tokenizer`` (transformers, fast), ``vocabulary`` (V strings, index = id), ``vocabulary_hash``,
    ``blocked`` (bool (V,)), ``query_weights`` (float32 (V,), 0 where blocked).
    """

    def __init__(self, tokenizer: Any, size: int, query_weights: NDArray[np.float32] | None) -> None:
        """``size`` is V. Raises BadInputError where tokenizer and model do not fit together."""
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
        """Set the query weights (V,), finite and non-negative; blocked tokens get 0.

        By convention their mean over the tokens that occur is 1. Raises BadInputError for other shapes or values.
        """
        table = np.array(weights, dtype=np.float32)
        if table.shape != (len(self.vocabulary),) or not np.isfinite(table).all() or (table < 0).any():
            raise BadInputError(
                f"Query weights must be {len(self.vocabulary)} finite numbers >= 0, one per token of the vocabulary."
            )
        table[self.blocked] = 0.0
        self.query_weights: NDArray[np.float32] = table

    def query_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text without special tokens, truncated to ``QUERY_TOKENS``; [] for an empty text."""
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts), add_special_tokens=False, truncation=True, max_length=QUERY_TOKENS,
            return_attention_mask=False, return_token_type_ids=False,
        )  # fmt: skip
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def token_ids(self, text: str) -> list[int]:
        """The unique token ids of a text, sorted, without blocked ones."""
        return sorted({index for index in self.query_ids([text])[0] if not self.blocked[index]})

    def encode_queries(self, texts: Sequence[str], query_weights: NDArray[np.float32] | None = None) -> sp.csr_matrix:
        """Queries as rows (n, V) float32: the weight of each token that occurs, however often; zeros are not stored.

        ``query_weights`` (V,) replaces the weights of the model for this call. Raises BadInputError for another shape.
        """
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


class Encoder(QueryEncoder):
    """An inference-free sparse encoder: ``score(query, document) = encode_queries @ encode_documents.T``.

    The vector of a document is the sum of its lexical floor (`pipeline.encoder.lexical`) and, where there is a
    ``table``, its learned weights (`pipeline.encoder.query_table`). Queries and dense encoder have separate
    vocabularies. Everything that determines a vector is saved in the folder of the model.

    Attributes besides those of `QueryEncoder`: ``dense`` (loaded at first use), ``table`` (None: lexical floor only),
    ``encoding`` (settings), ``facts`` (further entries of ``garam.json``).
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
        """``tokenizer`` is that of queries (fast). Without ``dense`` it is loaded from ``folder`` at first use."""
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
        """The key of stored dense vectors: the hash of the dense encoder and the window size."""
        if "dense" not in self.facts:
            raise BadInputError("this encoder was never saved: save and load it before its dense vectors are stored")
        return f"{self.facts['dense']}-w{self.encoding.window_chars}"

    # ------------------------------------------------------------------ loading and saving
    @classmethod
    def load(cls, folder: str | Path, *, device: str | None = None) -> Encoder:
        """Load an encoder. ``device`` is a torch device, by default the GPU if there is one.

        Nothing is downloaded and no code of the folder is run. Raises BadInputError where there is no usable model,
        CorruptArtifactError where the folder is incomplete, was changed, or its files do not fit together.
        """
        from transformers import AutoTokenizer

        path = Path(folder)
        facts = files.check_folder(path)
        if not facts:
            raise BadInputError(f"{path} was not saved by Garam ({MANIFEST} is missing): name another folder.")
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
            encoding = Encoding(**facts["encoding"])
            width = int(facts["width"])
        except Exception as error:  # transformers raises whatever its parts raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise BadInputError(f"{path} cannot be loaded as an encoder: {reason}.") from error
        table = QueryTable.read(path, len(tokenizer), width)
        rest = {k: v for k, v in facts.items() if k not in ("files", "format", "encoding", "width")}
        encoder = cls(None, tokenizer, files.read_weights(path), encoding=encoding, table=table, facts=rest,
                      device=device, folder=path)  # fmt: skip
        if facts.get("vocabulary_hash") != encoder.vocabulary_hash:
            raise CorruptArtifactError(f"{path} holds another tokenizer than it was saved with: save it again.")
        return encoder

    def save(self, folder: str | Path, beside: Mapping[str, str] | None = None) -> None:
        """Write the encoder to a folder atomically; see ``pipeline.encoder.folder`` for its layout.

        ``beside``: further text files (a model card, a plot), file name to content, written in the same step. Raises
        BadInputError where the folder cannot be written or the disk is full.
        """
        with files.atomic_folder(Path(folder)) as work:
            transformer = work / files.TRANSFORMER_MODULE
            self.dense.save(transformer)
            backend = self.tokenizer.backend_tokenizer
            backend.no_truncation()
            backend.no_padding()
            for path in (work, work / files.QUERY_MODULE):
                self.tokenizer.save_pretrained(path)
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

    def set_statistics(self, statistics: CorpusStatistics) -> None:
        """Use the IDF and the average document length of a corpus; both are saved with the model."""
        self.set_query_weights(statistics.query_weights)
        self.encoding = dataclasses.replace(self.encoding, average_length=round(statistics.average_length, 2))

    # ------------------------------------------------------------------ documents
    def lexical_floor(self, texts: Sequence[str]) -> sp.csr_matrix:
        """BM25 weights (n, V) float32 of the terms in the texts, times ``encoding.lexical_floor``; not truncated."""
        tokens: list[list[int]] = []
        if texts:
            tokens = self.tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        kept = [[token for token in ids if not self.blocked[token]] for ids in tokens]
        weight = np.float32(self.encoding.lexical_floor)
        return bm25_weights(kept, len(self.vocabulary), self.encoding.average_length) * weight

    def encode_dense(self, texts: Sequence[str], progress: Progress | None = None) -> DenseVectors:
        """Dense vectors of the windows of each distinct text; ``progress(done, total)`` counts windows."""
        unique = list(dict.fromkeys(texts))
        split = [windows(text, self.encoding.window_chars) for text in unique]
        starts = np.cumsum([0, *map(len, split)])
        vectors = self.dense.encode([window for one in split for window in one], "passage", progress)
        return DenseVectors.of(self.dense_identity, unique, starts, vectors)

    def encode_documents(
        self, texts: Sequence[str], *, dense: DenseVectors | None = None, progress: Progress | None = None
    ) -> sp.csr_matrix:
        """Documents as rows (n, V) float32, in the given order: lexical floor plus the heaviest learned terms.

        ``dense``: stored vectors of this dense encoder; texts among them are not encoded again. ``progress(done,
        total)`` counts encoded windows. Raises BadInputError for vectors of another dense encoder.
        """
        floor = self.lexical_floor(texts)
        if self.table is None or self.table.gain <= 0 or not len(texts):
            return floor
        if dense is not None and dense.encoder != self.dense_identity:
            raise BadInputError(f"the dense vectors are of encoder {dense.encoder}, not of {self.dense_identity}")
        missing = dense.missing(texts) if dense is not None else list(dict.fromkeys(texts))
        if missing:
            encoded = self.encode_dense(missing, progress)
            dense = encoded if dense is None else DenseVectors.join([dense, encoded])
        assert dense is not None
        vectors, starts = dense.rows(texts)
        return sp.csr_matrix(floor + self.table.terms(vectors, starts, self.encoding.max_terms))
