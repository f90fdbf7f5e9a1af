"""Arrays in one compressed value: how bulky numbers are kept in a ``bytea`` column.

Layout: 4 bytes little-endian length of a header; the header, JSON ``{"meta": {...}, "arrays": [[name, dtype, shape],
...]}``; then one zlib stream of the arrays' bytes in that order. Each array's bytes are regrouped by significance (all
first bytes, all second bytes ...), because the high bytes of counts are nearly all zero. Little-endian everywhere.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CorruptArtifactError

Arrays = Mapping[str, NDArray[Any]]


def pack(arrays: Arrays, meta: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of ``arrays`` (any numeric dtype and shape) and of the JSON-able ``meta``."""
    described, chunks = [], []
    for name, array in arrays.items():
        plain = _plain(array)
        described.append([name, plain.dtype.str, list(plain.shape)])
        chunks.append(plain.reshape(-1).view(np.uint8).reshape(-1, plain.dtype.itemsize).T.tobytes())
    header = json.dumps({"meta": dict(meta or {}), "arrays": described}, ensure_ascii=False, sort_keys=True).encode()
    return struct.pack("<I", len(header)) + header + zlib.compress(b"".join(chunks), 6)


def unpack(value: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and the meta of what `pack` made; CorruptArtifactError when it is not whole."""
    try:
        (size,) = struct.unpack_from("<I", value)
        header = json.loads(value[4 : 4 + size])
        body = memoryview(zlib.decompress(value[4 + size :]))
        arrays, offset = {}, 0
        for name, code, shape in header["arrays"]:
            dtype = np.dtype(code)
            count = int(np.prod(shape, dtype=np.int64))
            size = count * dtype.itemsize
            planes = np.frombuffer(body[offset : offset + size], dtype=np.uint8).reshape(dtype.itemsize, count)
            arrays[name] = np.ascontiguousarray(planes.T).reshape(-1).view(dtype).reshape(shape)
            offset += size
    except (struct.error, ValueError, KeyError, zlib.error) as error:
        raise CorruptArtifactError(
            f"a row of counts in the database cannot be read ({error}): restore it from a backup"
        ) from error
    return arrays, header["meta"]


def digest(arrays: Arrays, *more: str) -> str:
    """SHA-256 (hex) of the arrays' names, shapes and every bit of them, in name order, and of ``more``."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        plain = _plain(arrays[name])
        sha.update(f"{name}\0{plain.dtype.str}\0{plain.shape}\0".encode())
        sha.update(plain.tobytes())
    for text in more:
        sha.update(text.encode() + b"\0")
    return sha.hexdigest()


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
