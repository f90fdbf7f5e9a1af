"""Tokens of a vocabulary as features of the index: their names, which are blocked, and the vocabulary hash."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MANIFEST = "garam.json"
"""The manifest of an encoder's folder (`pipeline.encoder.folder`)."""
CONTINUATION = "##"
_HANJA = ((0x2E80, 0x2FDF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))


def feature_name(token: str) -> str:
    """The name of ``token`` as a feature of an OpenSearch ``rank_features`` field.

    It is the token itself, unless that contains a dot: ``rank_feature`` splits a field name at its last dot, so dots
    are written ``%2E`` (and ``%`` in such a token ``%25``, so that names stay unique). Such tokens are blocked anyway;
    escaping keeps index and query consistent should one get through.
    """
    if "." not in token and "%2E" not in token:
        return token
    return token.replace("%", "%25").replace(".", "%2E")


def is_hanja(char: str) -> bool:
    """Whether a character is Chinese (hanja)."""
    return any(low <= ord(char) <= high for low, high in _HANJA)


def is_sign(text: str) -> bool:
    """Whether a token has no meaning to search for: it contains hanja, or neither a letter nor a digit (Unicode
    categories L and N), only punctuation, symbols, spaces, control characters or combining marks."""
    return not any(unicodedata.category(char)[0] in "LN" for char in text) or any(is_hanja(char) for char in text)


def blocked_tokens(
    vocabulary: Sequence[str], special: Collection[str], surface: Callable[[str], str] | None = None
) -> NDArray[np.bool_]:
    """Which dimensions are zero in every query and document: bool (V,).

    Blocked are special and unused tokens, tokens that cannot be feature names, signs (`is_sign`), and tokens with a
    space, a control character or an incomplete character. ``special`` are the special tokens of the tokenizer;
    ``surface`` maps a token to readable text where the vocabulary stores another form (byte-level BPE, ``▁`` of
    SentencePiece).
    """
    names = set(special)
    blocked = np.zeros(len(vocabulary), dtype=np.bool_)
    for index, (token, text) in enumerate(zip(vocabulary, _texts(vocabulary, surface), strict=True)):
        unused = token.startswith("[unused") and token.endswith("]")
        unnameable = feature_name(token) != token or "." in text or not text
        unreadable = is_sign(text) or any(c.isspace() or c == "\ufffd" for c in text)
        blocked[index] = token in names or unused or unnameable or unreadable
    return blocked


def _texts(vocabulary: Sequence[str], surface: Callable[[str], str] | None) -> list[str]:
    """Readable texts of the tokens, without the ``##`` of WordPiece."""
    return [(surface(token) if surface else token).removeprefix(CONTINUATION) for token in vocabulary]


@dataclass(frozen=True)
class Vocabulary:
    """The query vocabulary of a saved encoder, read without torch: ``names`` (V tokens, index = id), ``blocked`` (bool
    (V,)) and ``tokenizer`` (a ``tokenizers.Tokenizer``)."""

    tokenizer: Any
    names: list[str]
    blocked: NDArray[np.bool_]

    @classmethod
    def read(cls, folder: Path) -> Vocabulary:
        """The vocabulary of the encoder in ``folder``."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        names = [
            tokenizer.id_to_token(index) or "" for index in range(tokenizer.get_vocab_size(with_added_tokens=True))
        ]
        special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
        return cls(tokenizer, names, blocked_tokens(names, special))


def vocabulary_hash(tokenizer_json: str) -> str:
    """SHA-256 (hex) of a ``tokenizer.json`` without its truncation and padding settings, keys sorted, so that the hash
    depends on how the file tokenizes and not on its formatting."""
    spec = json.loads(tokenizer_json)
    for key in ("truncation", "padding"):
        spec.pop(key, None)
    canonical = json.dumps(spec, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()
