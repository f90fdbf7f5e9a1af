"""What a vocabulary's tokens mean to the index: which never fire, how they are called there, their hash."""

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
"""The file of an encoder's folder that is written last and says what is in it."""
CONTINUATION = "##"
_HANJA = ((0x2E80, 0x2FDF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))


def feature_name(token: str) -> str:
    """The name of ``token`` as a feature of an OpenSearch ``rank_features`` field.

    It is the token itself, unless that cannot be a feature name: ``rank_feature`` splits a field's name at its last
    dot, so dots are written ``%2E`` (and ``%`` as ``%25`` in such a token, so that two tokens never share a name).
    Tokens that need it are blocked anyway; the function keeps both sides equal should one get through.
    """
    if "." not in token and "%2E" not in token:
        return token
    return token.replace("%", "%25").replace(".", "%2E")


def is_hanja(char: str) -> bool:
    """True for a Chinese character, in any of Unicode's blocks."""
    return any(low <= ord(char) <= high for low, high in _HANJA)


def is_sign(text: str) -> bool:
    """True for a token's text that says how something is written rather than what: no letter and no digit in it
    (Unicode categories L and N: punctuation, symbols, spaces, control characters, lone combining marks), or hanja."""
    return not any(unicodedata.category(char)[0] in "LN" for char in text) or any(is_hanja(char) for char in text)


def blocked_tokens(
    vocabulary: Sequence[str], special: Collection[str], surface: Callable[[str], str] | None = None
) -> NDArray[np.bool_]:
    """Which dimensions stay zero on both sides, shape (V,).

    Special and unused tokens, what cannot be a feature's name, signs (`is_sign`), and what holds a space, a control
    character or half a character. ``special`` are the tokenizer's special tokens; ``surface`` gives a token's readable
    text where the vocabulary stores something else (byte-level BPE, SentencePiece's ``▁``).
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
    """Tokens as they read, WordPiece's ``##`` taken off."""
    return [(surface(token) if surface else token).removeprefix(CONTINUATION) for token in vocabulary]


@dataclass(frozen=True)
class Vocabulary:
    """A saved encoder's query tokens as its folder tells them, without torch: ``names`` (V), ``blocked`` (bool (V,)),
    and the ``tokenizer`` (of the package tokenizers)."""

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
    """SHA-256 (hex) of what defines a tokenizer's behaviour: its ``tokenizer.json`` without truncation and padding,
    keys sorted, so that two files that tokenize alike hash alike whatever their formatting."""
    spec = json.loads(tokenizer_json)
    for key in ("truncation", "padding"):
        spec.pop(key, None)
    canonical = json.dumps(spec, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()
