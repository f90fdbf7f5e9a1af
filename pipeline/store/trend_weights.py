"""Trend weights of an as-of: a gate between 0 and 1 for each token that rises, and the words that they come from."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from pipeline.asof import AsOf
from pipeline.errors import UsageError
from pipeline.store.packed import pack, unpack
from pipeline.store.schema import generations
from pipeline.store.schema import trend_weights as table


@dataclass(frozen=True, slots=True)
class TrendWeights:
    """Gates ``gates`` (float32, in (0, 1]) of the token ids ``tokens`` (one shape); all other tokens have 0.

    ``words`` are the strongest rising words: {word, gate, stories, expected, outlets, tokens}; ``note`` says why there
    are none.
    """

    id: int
    as_of: AsOf
    vocabulary_hash: str
    content_hash: str
    tokens: NDArray[np.int64]
    gates: NDArray[np.float32]
    words: list[dict[str, Any]]
    note: str
    created_at: dt.datetime

    def dense(self, size: int) -> NDArray[np.float32]:
        """The gates of a whole vocabulary, (size,)."""
        gates = np.zeros(size, np.float32)
        gates[self.tokens] = self.gates
        return gates


_T = table.c


def find(conn: Connection, as_of: AsOf, token_version_id: int, word_version_id: int, config_hash: str) -> int | None:
    """The id of trend weights that were computed already."""
    query = sa.select(_T.id).where(
        _T.day == as_of.day,
        _T.known_by == as_of.known_by,
        _T.token_version_id == token_version_id,
        _T.word_version_id == word_version_id,
        _T.config_hash == config_hash,
    )
    return conn.execute(query).scalar_one_or_none()


def add(
    conn: Connection,
    as_of: AsOf,
    *,
    token_version_id: int,
    word_version_id: int,
    config_hash: str,
    content_hash: str,
    vocabulary_hash: str,
    tokens: NDArray[np.int64],
    gates: NDArray[np.float32],
    words: Sequence[dict[str, Any]],
    note: str,
) -> int:
    """Store trend weights; the id of the first ones when somebody else stored them meanwhile."""
    values = {
        "day": as_of.day,
        "known_by": as_of.known_by,
        "token_version_id": token_version_id,
        "word_version_id": word_version_id,
        "config_hash": config_hash,
        "content_hash": content_hash,
        "vocabulary_hash": vocabulary_hash,
        "gates": pack({"tokens": tokens.astype(np.uint32), "gates": gates.astype(np.float32)}),
        "words": list(words),
        "note": note,
    }
    conn.execute(insert(table).values(values).on_conflict_do_nothing())
    known = find(conn, as_of, token_version_id, word_version_id, config_hash)
    assert known is not None
    return known


def newest(conn: Connection, vocabulary_hash: str) -> int | None:
    """The id of the newest trend weights of a vocabulary; None when there are none."""
    query = sa.select(_T.id).where(_T.vocabulary_hash == vocabulary_hash)
    return conn.execute(query.order_by(_T.day.desc(), _T.known_by.desc(), _T.id.desc()).limit(1)).scalar_one_or_none()


def prune(conn: Connection, before: dt.datetime) -> int:
    """Delete rows made before then that no generation serves; how many. They can be computed again."""
    served = sa.select(generations.c.trend_weights_id).where(generations.c.trend_weights_id.is_not(None))
    return conn.execute(sa.delete(table).where(_T.created_at < before, _T.id.not_in(served))).rowcount


def get(conn: Connection, trend_weights_id: int) -> TrendWeights:
    """Trend weights by id; UsageError when there are none."""
    row = conn.execute(sa.select(table).where(_T.id == trend_weights_id)).mappings().one_or_none()
    if row is None:
        raise UsageError(f"there are no trend weights {trend_weights_id}")
    arrays, _ = unpack(bytes(row["gates"]))
    return TrendWeights(
        row["id"],
        AsOf(row["day"], row["known_by"]),
        row["vocabulary_hash"],
        row["content_hash"],
        arrays["tokens"].astype(np.int64),
        arrays["gates"],
        row["words"],
        row["note"],
        row["created_at"],
    )
