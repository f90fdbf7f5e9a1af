"""Queries of more terms than OpenSearch takes (``indices.query.bool.max_clause_count``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pipeline.encoder.encoding import cut
from pipeline.search.cluster import ClusterError

T = TypeVar("T")


def too_long(error: ClusterError) -> bool:
    """Whether OpenSearch refused a query because it has too many terms."""
    return error.status == 400 and "clause" in error.reason.lower()


def shortened(search: Callable[[str], T], text: str) -> tuple[T, str]:
    """What ``search`` answers to ``text``, and the part of it that was searched: halved until OpenSearch takes it."""
    while True:
        try:
            return search(text), text
        except ClusterError as error:
            if not too_long(error) or len(text) < 2:
                raise
            text = cut(text, len(text) // 2)
