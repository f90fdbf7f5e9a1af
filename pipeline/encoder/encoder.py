"""Text to sparse vectors: documents through a masked language model, queries through a table of weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from pipeline.encoder import folder as files
from pipeline.encoder.lexical import AVERAGE_LENGTH, LexicalFloor
from pipeline.encoder.memory import out_of_memory
from pipeline.encoder.module import SparseDocumentEncoder, bf16_is_fast
from pipeline.encoder.projection import FILE as PROJECTION
from pipeline.encoder.projection import Projection
from pipeline.encoder.statistics import CorpusStatistics
from pipeline.encoder.styles import FILE as STYLES
from pipeline.encoder.styles import Styles
from pipeline.encoder.vocabulary import blocked_tokens, signs_among, vocabulary_hash
from pipeline.errors import BadInputError, CorruptArtifactError

MAX_LENGTH = 512
"""Tokens of a text that are read, special tokens included, where the model's positions do not end earlier."""
QUERIES_AT_ONCE = 64
"""Queries that a bi-encoder reads together."""
Precision = Literal["auto", "float32", "bfloat16"]
Progress = Callable[[int, int], None]


def _surface(tokenizer: Any) -> Callable[[str], str] | None:
    """How a stored token reads, for vocabularies that are not WordPiece (their decoder says it)."""
    backend = tokenizer.backend_tokenizer
    kind = json.loads(backend.to_str())["model"].get("type")
    decoder = backend.decoder
    if kind == "WordPiece" or decoder is None:
        return None
    return lambda token: str(decoder.decode([token])).strip()


def _positions(config: Any) -> int:
    """How many tokens a model can read. RoBERTa counts its positions from padding_idx + 1."""
    positions = int(getattr(config, "max_position_embeddings", MAX_LENGTH) or MAX_LENGTH)
    if "roberta" in str(getattr(config, "model_type", "")):
        positions -= int(getattr(config, "pad_token_id", 1) or 1) + 1
    return min(positions, MAX_LENGTH)


class Encoder:
    """An inference-free sparse encoder: document vectors from a model, query vectors from a table.

    ``score(query, document) = encode_queries([query]) @ encode_documents([document]).T``. A document's weights are
    ``log1p(relu(max over positions of logits))``; a query's are the ``query_weights`` of its tokens, each once. A model
    trained as a bi-encoder (``query_terms`` above 0) reads its queries, too: the ``query_terms`` heaviest terms that it
    gives a query beside the query's own are added, ``query_weights * (tokens + learned)``. A query's own tokens keep
    their weights, so that statistics and trends rule them in either case.
    Tokenisation is deterministic and the tokenizer's own: the base model built by ``pipeline.training.base`` uses
    NFC and lower case (Latin letters only; Hangul has no case), hub models whatever they were trained with.

    Attributes: ``module`` (the torch module, for training), ``tokenizer``, ``vocabulary`` (V strings, index = id),
    ``vocabulary_hash``, ``blocked`` (bool (V,)), ``signs`` (bool (V,): those that may fire), ``query_weights`` (float32
    (V,), 0 where blocked), ``query_terms`` (terms that the model itself adds to a query; 0: queries need no model),
    ``max_length`` (tokens), ``device``, ``precision``, ``lexical`` (the floor under own terms; None: what the model
    says).
    """

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: Any,
        query_weights: NDArray[np.float32] | None = None,
        *,
        device: str | None = None,
        max_length: int | None = None,
        precision: Precision = "auto",
        facts: dict[str, Any] | None = None,
        lexical: LexicalFloor | None = None,
    ) -> None:
        """``model`` is a transformers model with a masked-LM head, ``tokenizer`` its fast tokenizer. ``facts`` are
        written into ``garam.json``; with a true ``signs`` among them punctuation and hanja are terms, too, and
        ``query_terms`` says how many terms of a query come from the model. Raises BadInputError where the two do not
        belong together."""
        size = int(model.config.vocab_size)  # type: ignore[union-attr, arg-type]
        table: dict[str, int] = tokenizer.get_vocab()
        if not table or max(table.values()) >= size or len(table) < size // 2:
            raise BadInputError(
                f"The tokenizer has {len(table)} tokens and the model {size}: they do not belong together."
            )
        self.vocabulary: list[str] = [f"[unused-{index}]" for index in range(size)]
        for token, index in table.items():
            self.vocabulary[index] = token
        special = [*tokenizer.all_special_tokens, *(name for name in self.vocabulary if name.startswith("[unused-"))]
        self.facts = dict(facts or {})
        surface = _surface(tokenizer)
        self.blocked: NDArray[np.bool_] = blocked_tokens(
            self.vocabulary, special, surface, signs=bool(self.facts.get("signs"))
        )
        self.signs: NDArray[np.bool_] = signs_among(self.vocabulary, surface) & ~self.blocked
        self.vocabulary_hash = vocabulary_hash(tokenizer.backend_tokenizer.to_str())
        self.tokenizer = tokenizer
        self.max_length = min(max_length or MAX_LENGTH, _positions(model.config), int(tokenizer.model_max_length))
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.precision: Precision = precision
        self.lexical = lexical
        try:
            self.module = SparseDocumentEncoder(model, torch.from_numpy(self.blocked)).to(self.device)
        except ValueError as error:
            raise BadInputError(f"The model cannot be used as an encoder: {error}.") from error
        self.set_query_weights(np.ones(size, np.float32) if query_weights is None else query_weights)

    # ------------------------------------------------------------------ loading and saving
    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: str | None = None,
        max_length: int | None = None,
        precision: Precision = "auto",
        lexical: LexicalFloor | None = None,
    ) -> Encoder:
        """Read an encoder, or any local transformers folder with a masked-LM head (query weights 1).

        ``device`` is a torch device, by default the GPU if there is one; ``max_length`` in tokens, by default what
        was saved. Nothing is fetched and no code of the folder is run. Raises BadInputError where there is no usable
        model, CorruptArtifactError where the folder is half-written, changed, or its parts do not agree.
        """
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        place = Path(folder)
        facts = files.check_folder(place)
        try:
            tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True, trust_remote_code=False)
            model, report = AutoModelForMaskedLM.from_pretrained(
                place, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32,
                output_loading_info=True,
            )  # fmt: skip
        except Exception as error:  # transformers raises whatever its parts raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise BadInputError(f"{place} cannot be loaded as a masked language model: {reason}.") from error
        if report["missing_keys"]:
            raise BadInputError(
                f"{place} has no trained masked-LM head ({len(report['missing_keys'])} weights are missing): "
                "build a base from it first."
            )
        encoder = cls(
            model, tokenizer, _read_weights(place), device=device, max_length=max_length, precision=precision,
            lexical=lexical, facts={key: value for key, value in facts.items() if key not in ("files", "format")},
        )  # fmt: skip
        if facts and facts.get("vocabulary_hash") != encoder.vocabulary_hash:
            raise CorruptArtifactError(f"{place} was saved with another tokenizer than it holds: save it again.")
        encoder._read_wholes(place)
        return encoder

    def _read_wholes(self, place: Path) -> None:
        """Read what was fitted to whole texts, where the folder has it."""
        if not ((place / PROJECTION).exists() or (place / STYLES).exists()):
            return
        config: Any = self.module.backbone.config
        sizes = (len(self.vocabulary), int(config.hidden_size), int(config.num_hidden_layers))
        if (place / PROJECTION).exists():
            self.module.projection = Projection.read(place / PROJECTION, *sizes).to(self.device)
        if (place / STYLES).exists():
            self.module.styles = Styles.read(place / STYLES, *sizes).to(self.device)

    def save(self, folder: str | Path, beside: Mapping[str, str] | None = None) -> None:
        """Write the encoder as one folder, all or nothing; see ``pipeline.encoder.folder`` for its layout.

        ``beside`` are texts by file name that belong to it (a card, a picture): whoever finds the one finds the other.
        Raises BadInputError where the place cannot be written or the disk is full.
        """
        with files.atomic_folder(Path(folder)) as work:
            model: Any = self.module.masked_lm()
            try:
                model.save_pretrained(work, safe_serialization=True)
            finally:
                self.module.detach_head()
            backend = self.tokenizer.backend_tokenizer
            length, self.tokenizer.model_max_length = self.tokenizer.model_max_length, self.max_length
            try:
                backend.no_truncation()
                backend.no_padding()
                for place in (work, work / files.QUERY_MODULE):
                    self.tokenizer.save_pretrained(place)
            finally:
                self.tokenizer.model_max_length = length
            files.write_sentence_transformers(work)
            weights = torch.from_numpy(self.query_weights.copy())
            save_file({"weight": weights}, str(work / files.QUERY_MODULE / "model.safetensors"), {"format": "pt"})
            idf = {token: float(weight) for token, weight in zip(self.vocabulary, self.query_weights, strict=True)}
            files.write_json(work / "idf.json", idf, indent=0)
            if self.module.projection is not None:
                self.module.projection.write(work / PROJECTION)
            if self.module.styles is not None:
                self.module.styles.write(work / STYLES)
            for name, text in (beside or {}).items():
                (work / name).write_text(text, "utf-8")
            facts = {"vocabulary_hash": self.vocabulary_hash, "max_length": self.max_length}
            files.write_manifest(work, {**self.facts, **facts})

    # ------------------------------------------------------------------ queries
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

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """All token ids of each text without special tokens, cut at ``max_length``; [] for an empty text."""
        encoded = self.tokenizer(
            list(texts), add_special_tokens=False, truncation=True, max_length=self.max_length,
            return_attention_mask=False, return_token_type_ids=False,
        )  # fmt: skip
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def token_ids(self, text: str) -> list[int]:
        """The ids of a text's tokens: unique, sorted, without blocked ones."""
        return sorted({index for index in self._ids([text])[0] if not self.blocked[index]})

    def know(self, statistics: CorpusStatistics) -> None:
        """Take IDF and average length from a corpus; both are saved with the model."""
        self.set_query_weights(statistics.query_weights)
        self.facts["average_length"] = round(statistics.average_length, 2)

    @property
    def query_terms(self) -> int:
        """Terms that the model itself adds to a query at most; 0: queries are their tokens' weights alone."""
        return int(self.facts.get("query_terms", 0))

    def encode_queries(self, texts: Sequence[str], query_weights: NDArray[np.float32] | None = None) -> sp.csr_matrix:
        """Queries as rows (n, V) float32: the weight of each of their tokens, once, and in a bi-encoder what the model
        adds. ``query_weights`` (V,) replaces the model's own for this call. Terms of weight 0 are left out."""
        weights = self.query_weights if query_weights is None else np.asarray(query_weights, np.float32)
        own = self.token_queries(texts, weights)
        if not self.query_terms or not len(texts):
            return own
        return sp.csr_matrix(own + self._learned_queries(texts, own, weights))

    def token_queries(self, texts: Sequence[str], weights: NDArray[np.float32]) -> sp.csr_matrix:
        """The part of queries that needs no model, (n, V) float32: the weight of each token, once."""
        if weights.shape != (len(self.vocabulary),):
            raise BadInputError(f"Query weights must be {len(self.vocabulary)} numbers, one per token.")
        rows: list[NDArray[np.int64]] = []
        for ids in self._ids(texts) if len(texts) else []:
            unique = np.unique(np.asarray(ids, np.int64))
            rows.append(unique[~self.blocked[unique] & (weights[unique] > 0)])
        indptr = np.cumsum([0, *(len(row) for row in rows)])
        indices = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        return sp.csr_matrix((weights[indices], indices, indptr), shape=(len(rows), len(self.vocabulary)))

    def _learned_queries(self, texts: Sequence[str], own: sp.csr_matrix, weights: NDArray[np.float32]) -> sp.csr_matrix:
        """What the model adds to queries, (n, V) float32: see `added_terms`."""
        tokens = self.tokens(texts)
        factor = torch.from_numpy(weights).to(self.device)
        order = sorted(range(len(texts)), key=lambda index: -len(tokens[index]))
        pieces: list[sp.csr_matrix] = []
        for start in range(0, len(order), QUERIES_AT_ONCE):
            part = order[start : start + QUERIES_AT_ONCE]
            with torch.inference_mode(), self.autocast():
                learned = self.module(*self.padded([tokens[i] for i in part])).float()
            held = torch.from_numpy(own[part].toarray()).to(self.device) > 0
            pieces.append(sp.csr_matrix(added_terms(learned, held, factor, self.query_terms).cpu().numpy()))
        return sp.csr_matrix(sp.vstack(pieces, format="csr")[np.argsort(order)])

    # ------------------------------------------------------------------ documents
    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of document encoding: bfloat16 where the hardware has it and ``precision`` allows."""
        fast = self.precision == "bfloat16" or (self.precision == "auto" and bf16_is_fast(self.device))
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if fast else nullcontext()

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text with special tokens, cut at ``max_length``."""
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts), truncation=True, max_length=self.max_length,
            return_attention_mask=False, return_token_type_ids=False,
        )  # fmt: skip
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def padded(self, tokens: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Token ids as padded ids and mask, both (n, longest), on the encoder's device."""
        length = max(len(held) for held in tokens)
        ids = torch.full((len(tokens), length), int(self.tokenizer.pad_token_id or 0), dtype=torch.long)
        mask = torch.zeros((len(tokens), length), dtype=torch.long)
        for row, held in enumerate(tokens):
            ids[row, : len(held)] = torch.as_tensor(held)
            mask[row, : len(held)] = 1
        return ids.to(self.device), mask.to(self.device)

    def lexical_floor(self, texts: Sequence[str]) -> sp.csr_matrix:
        """The floor (n, V) float32 under the weights of the texts' own terms, of whole texts; zeros without one."""
        if self.lexical is None or not texts:
            return sp.csr_matrix(np.zeros((len(texts), len(self.vocabulary)), np.float32))
        held = self.tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        left_out = self.blocked | self.signs
        average = self.lexical.average_length or float(self.facts.get("average_length", AVERAGE_LENGTH))
        return self.lexical.of([[t for t in ids if not left_out[t]] for ids in held], len(self.vocabulary), average)

    def encode_documents(
        self,
        texts: Sequence[str],
        *,
        batch_size: int = 32,
        progress: Progress | None = None,
        max_added: int | None = None,
    ) -> sp.csr_matrix:
        """Documents as rows (n, V) float32, in the order given; an empty text gives what its special tokens fire.

        With ``lexical`` set, a text's own terms weigh at least their floor (`pipeline.encoder.lexical`).

        Texts are encoded in batches of about equal length, longest first (so memory trouble shows at once).
        ``progress(done, total)`` is called after each batch; ``max_added`` is the number of terms that a document
        keeps besides its own (`pruned`). Raises BadInputError where memory does not suffice for a single text.
        """
        tokens = self.tokens(texts)
        order = sorted(range(len(texts)), key=lambda index: -len(tokens[index]))
        pieces: list[sp.csr_matrix] = []
        training = self.module.training
        self.module.eval()
        try:
            for start in range(0, len(order), batch_size):
                part = order[start : start + batch_size]
                pieces += self._weights([texts[i] for i in part], [tokens[i] for i in part], max_added)
                if progress:
                    progress(min(start + batch_size, len(order)), len(order))
        finally:
            self.module.train(training)
        if not pieces:
            return sp.csr_matrix(np.zeros((0, len(self.vocabulary)), np.float32))
        return sp.csr_matrix(sp.vstack(pieces, format="csr")[np.argsort(order)])

    def _weights(self, texts: Sequence[str], tokens: Sequence[list[int]], max_added: int | None) -> list[sp.csr_matrix]:
        """Rows of some documents, in order; encoded half by half where memory does not suffice for all at once."""
        try:
            with torch.inference_mode(), self.autocast():
                weights = self.module(*self.padded(tokens)).float()
                own = torch.zeros_like(weights, dtype=torch.bool)
                if self.lexical is not None:
                    floor = torch.from_numpy(self.lexical_floor(texts).toarray()).to(weights.device)
                    weights, own = self.lexical.under(weights, floor), floor > 0
                if max_added is not None:
                    weights = pruned(weights, own, max_added)
            return [sp.csr_matrix(weights.float().cpu().numpy())]
        except Exception as error:
            if not out_of_memory(error):
                raise
            if len(texts) == 1:
                raise BadInputError(
                    f"Memory does not suffice for one text of {len(tokens[0])} tokens: free some, or lower max_length."
                ) from error
        # Here the error is gone, and with it what it kept in memory.
        half = len(texts) // 2
        first = self._weights(texts[:half], tokens[:half], max_added)
        return first + self._weights(texts[half:], tokens[half:], max_added)


def heaviest(weights: Tensor, terms: int) -> Tensor:
    """``weights`` (n, V) with the ``terms`` heaviest of each row kept and 0 elsewhere."""
    if terms >= weights.shape[1]:
        return weights
    kept = weights.topk(terms, dim=1)
    return torch.zeros_like(weights).scatter(1, kept.indices, kept.values)


def pruned(weights: Tensor, own: Tensor, most: int) -> Tensor:
    """``weights`` (n, V) with all ``own`` terms of each row (bool (n, V)) and the ``most`` heaviest others.

    A long text's own terms are its lightest, and the floor promises them. The others have the same room in every text:
    a bound on both together would cut a long text's others first, and signs, which all texts have, would count against
    it.
    """
    return torch.where(own, weights, heaviest(weights.masked_fill(own, 0.0), most))


def added_terms(learned: Tensor, own: Tensor, weights: Tensor, terms: int) -> Tensor:
    """What a bi-encoder adds to queries, (n, V): ``learned`` (n, V) times the query ``weights`` (V,), the ``terms``
    heaviest of each, without the queries' ``own`` tokens (bool (n, V))."""
    return heaviest((learned * weights).masked_fill(own, 0.0), terms)


def _read_weights(place: Path) -> NDArray[np.float32] | None:
    """Query weights (V,) of a folder written by ``Encoder.save``; None for a model from elsewhere."""
    from safetensors.numpy import load_file

    file = place / files.QUERY_MODULE / "model.safetensors"
    if not file.exists():
        return None
    try:
        return np.asarray(load_file(str(file))["weight"], np.float32)
    except Exception as error:  # safetensors' own error class is not importable by name
        raise CorruptArtifactError(f"{file} cannot be read: save the encoder again.") from error
