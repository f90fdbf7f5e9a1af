"""The normaliser of every tokenizer: what a reader sees as one word is one string, and a symbol separates words.

It is part of ``tokenizer.json``, so that ML Commons, sentence-transformers and Garam read the same text alike, whoever
sends it: invisible characters go, Hangul is composed (NFC), compatibility characters become the letters that they show
(``㎞``: ``km``, ``㈜``: ``(주)``, full width), and symbols of any kind become spaces. Letters of a keyboard (``ㅋㅋ``)
stay, which NFKC would take apart.
"""

from __future__ import annotations

import json
import tempfile
import unicodedata
from functools import cache
from typing import Any

from pipeline.text.normalise import INVISIBLE, LETTERS, SEPARATORS

_PLANES = tuple(
    range(first, end)
    for first, end in (
        (0xA0, 0x3400), (0xA700, 0xA722), (0xA788, 0xA790), (0xFB00, 0x10000), (0x10100, 0x10200), (0x1CC00, 0x1CF00),
        (0x1D000, 0x1D800), (0x1F000, 0x1FC00),
    )
)  # fmt: skip
"""Where characters are that are folded or separate words; unassigned and private ones separate everywhere."""
_OWN_LETTERS = range(0x3131, 0x318F)  # Hangul compatibility letters


def fold(char: str) -> str:
    """What the normaliser makes of one character, a space for a symbol."""
    if char.isascii() or (ord(char) in _OWN_LETTERS and char not in SEPARATORS):
        return char
    if char in SEPARATORS:
        return " "
    if ord(char) in LETTERS:
        return LETTERS[ord(char)]
    folded = unicodedata.normalize("NFKC", char)
    if folded != char and any(part.isalnum() for part in folded):
        return "".join(map(fold, folded))
    return " " if unicodedata.category(char) in ("Sc", "Sk", "Sm", "So", "Me", "Co", "Cn", "Zs") else char


@cache
def _character_map() -> bytes:
    """`fold` as the compiled character map of SentencePiece, which the package tokenizers applies in one pass."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    sentencepiece.set_min_log_level(2)
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as rules:
        for char in (chr(code) for plane in _PLANES for code in plane):
            if (folded := fold(char)) != char:
                rules.write(f"{ord(char):X}\t{' '.join(f'{ord(part):X}' for part in folded)}\n")
        rules.flush()
        spec = sentencepiece.SentencePieceNormalizer(rule_tsv=rules.name).serialized_normalizer_spec()
    return bytes(sentencepiece_model_pb2.NormalizerSpec.FromString(spec).precompiled_charsmap)


def normaliser() -> list[Any]:
    """The normalisers of the package tokenizers, to be applied in this order before a tokenizer's own."""
    from tokenizers import Regex, normalizers

    return [
        normalizers.Replace(Regex(INVISIBLE), ""),
        normalizers.Replace(Regex(r"[\p{Co}\p{Cn}]"), " "),
        normalizers.NFC(),
        normalizers.Precompiled(_character_map()),
    ]


def put_in_front(tokenizer: Any) -> Any:
    """The (transformers, fast) tokenizer with the normaliser before its own; unchanged where that is so already."""
    from tokenizers import normalizers

    backend = tokenizer.backend_tokenizer
    first = normaliser()
    own = json.loads(backend.to_str())["normalizer"]
    front = json.loads(normalizers.Sequence(first).__getstate__())["normalizers"]
    parts = (own or {}).get("normalizers", [])
    if parts[: len(front)] != front:
        backend.normalizer = normalizers.Sequence([*first, *([backend.normalizer] if own else [])])
    return tokenizer
