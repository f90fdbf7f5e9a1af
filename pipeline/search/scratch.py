"""Scratch indices and query models: named with their time, removed by whoever made them, else by the next one."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.errors import GaramError
from pipeline.search import query_models
from pipeline.search.cluster import Cluster

PREFIX = "garam-scratch"
STALE_S = 2 * 3600.0
"""No scratch work takes that long: what is older was left by a process that was killed."""
_NAME = re.compile(rf"{PREFIX}-(\d+)-[0-9a-f]+")


@contextmanager
def scratch(cluster: Cluster) -> Iterator[str]:
    """A name for a scratch index and the prefix of its query models; both are removed at the end of the block."""
    sweep(cluster)
    name = f"{PREFIX}-{int(time.time())}-{secrets.token_hex(4)}"
    try:
        yield name
    finally:
        # What cannot be removed now (the cluster went away) is swept later; the block's own error matters more.
        with suppress(GaramError):
            cluster.delete_index(name)
            for model in query_models.models(cluster, name):
                query_models.remove(cluster, model.id)


def sweep(cluster: Cluster, *, older_than_s: float = STALE_S) -> list[str]:
    """Remove scratch indices and query models older than ``older_than_s`` seconds; their names."""
    now = time.time()
    gone = []
    for index in cluster.indices(f"{PREFIX}-*"):
        if _age(index, now) > older_than_s:
            cluster.delete_index(index)
            gone.append(index)
    for model in query_models.models(cluster, PREFIX):
        if _age(model.name, now) > older_than_s:
            query_models.remove(cluster, model.id)
            gone.append(model.name)
    return gone


def _age(name: str, now: float) -> float:
    match = _NAME.match(name)
    return now - int(match[1]) if match else 0.0
