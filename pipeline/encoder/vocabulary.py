"""What a vocabulary's tokens mean to the index: which never fire, how they are called there, their hash."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

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


def is_blocked(text: str) -> bool:
    """True for the text of a token that must never fire: nothing to read in it, hanja in it, or a dot in it.

    ``text`` is the token without its continuation mark. "Nothing to read" is no letter and no digit (Unicode
    categories L and N): punctuation, symbols, spaces, control characters, lone combining marks.
    """
    if not any(unicodedata.category(char)[0] in "LN" for char in text):
        return True
    return "." in text or any(is_hanja(char) or char.isspace() or char == "�" for char in text)


def blocked_tokens(
    vocabulary: Sequence[str], special: Collection[str], surface: Callable[[str], str] | None = None
) -> NDArray[np.bool_]:
    """Which dimensions stay zero on both sides, shape (V,).

    ``special`` are the tokenizer's special tokens; ``surface`` gives a token's readable text where the vocabulary
    stores something else (byte-level BPE, SentencePiece's ``▁``). WordPiece's ``##`` is taken off here.
    """
    names = set(special)
    blocked = np.zeros(len(vocabulary), dtype=np.bool_)
    for index, token in enumerate(vocabulary):
        text = surface(token) if surface else token
        text = text.removeprefix(CONTINUATION)
        unused = token.startswith("[unused") and token.endswith("]")
        blocked[index] = token in names or unused or feature_name(token) != token or is_blocked(text)
    return blocked


def vocabulary_hash(tokenizer_json: str) -> str:
    """SHA-256 (hex) of what defines a tokenizer's behaviour: its ``tokenizer.json`` without truncation and padding,
    keys sorted, so that two files that tokenize alike hash alike whatever their formatting."""
    spec = json.loads(tokenizer_json)
    for key in ("truncation", "padding"):
        spec.pop(key, None)
    canonical = json.dumps(spec, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()
