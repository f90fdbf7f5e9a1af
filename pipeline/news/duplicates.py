"""Near-duplicates: the same story under other addresses, found by MinHash over pairs of words.

A signature's agreement with another estimates the Jaccard similarity of their shingle sets (Broder, 1997); bands of
rows make a locality-sensitive index of it (Indyk and Motwani, 1998). Same text, same signature, on every machine.
"""

from __future__ import annotations

import re
import zlib
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

HASHES = 64
BANDS = 16  # of 4 rows: two texts of similarity s share a band with 1 - (1 - s^4)^16: .89 at .6, .998 at .75
LEAST_WORDS = 5  # shorter texts say too little to be the same story

_WORDS = re.compile(r"[가-힣]+|[A-Za-z]+|\d+")


def _coefficients() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    # A fixed sequence (splitmix64), not a library's random numbers: signatures are stored and must never change.
    values, state, mask = [], 0x6761_7261_6D00_0001, (1 << 64) - 1
    for _ in range(2 * HASHES):
        state = (state + 0x9E37_79B9_7F4A_7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58_476D_1CE4_E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & mask
        values.append(z ^ (z >> 31))
    a = np.array(values[:HASHES], dtype=np.uint64) | np.uint64(1)
    return a, np.array(values[HASHES:], dtype=np.uint64)


_A, _B = _coefficients()


def signature(title: str, text: str) -> bytes | None:
    """64 hashes of 4 bytes, of the text (of the title when there is no text); None when it has too few words."""
    words = _WORDS.findall(text.lower())
    if len(words) < LEAST_WORDS:
        words = _WORDS.findall(f"{title} {text}".lower())
        if len(words) < LEAST_WORDS:
            return None
    shingles = {f"{first} {second}" for first, second in pairwise(words)}
    keys = np.fromiter(
        (zlib.crc32(s.encode()) | (len(s) << 32) for s in shingles), dtype=np.uint64, count=len(shingles)
    )
    keys *= np.uint64(0x9E37_79B9_7F4A_7C15)
    keys ^= keys >> np.uint64(29)
    # Multiply-shift hashing: the high 32 bits of a*x + b modulo 2^64, with a odd (Dietzfelbinger, 1996).
    least = np.full(HASHES, np.iinfo(np.uint32).max, dtype=np.uint32)
    for start in range(0, len(keys), 512):
        block = (keys[start : start + 512, None] * _A + _B) >> np.uint64(32)
        least = np.minimum(least, block.min(axis=0).astype(np.uint32))
    return least.astype("<u4").tobytes()


def bands(fingerprint: bytes) -> list[tuple[int, int]]:
    """(band, key) of a signature: articles that share one are compared."""
    rows = np.frombuffer(fingerprint, dtype="<u4").reshape(BANDS, -1)
    return [(i, _key(row.tobytes())) for i, row in enumerate(rows)]


def _key(data: bytes) -> int:
    value = zlib.crc32(data) << 32 | zlib.crc32(data[::-1])
    return value - (1 << 64) if value >= 1 << 63 else value


def similarity(first: bytes, second: bytes) -> float:
    """The estimate of the Jaccard similarity: the share of equal hashes, in steps of 1/64."""
    return float(np.mean(np.frombuffer(first, dtype="<u4") == np.frombuffer(second, dtype="<u4")))
