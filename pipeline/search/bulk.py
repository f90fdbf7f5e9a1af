"""Bulk loading: streamed, tried again where the cluster is busy, refused documents named."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from pipeline.errors import UnavailableError
from pipeline.search.cluster import Cluster, ClusterError

BATCH_BYTES = 4_000_000
BATCH_DOCUMENTS = 500
TRIES = 6
FIRST_WAIT_S = 0.5  # doubled at each try: 15 s in all


@dataclass(frozen=True)
class Action:
    """One document to write, or to delete when ``source`` is None.

    With a ``version`` the write counts only where nothing newer is there (external_gte), so that a slow writer never
    puts an old version over a new one.
    """

    id: str
    source: dict[str, Any] | None
    version: int | None = None

    def lines(self) -> bytes:
        """The action as OpenSearch's bulk format has it."""
        head: dict[str, Any] = {"_id": self.id}
        if self.source is None:
            return json.dumps({"delete": head}).encode() + b"\n"
        if self.version is not None:
            head |= {"version": self.version, "version_type": "external_gte"}
        source = json.dumps(self.source, ensure_ascii=False, separators=(",", ":")).encode()
        return json.dumps({"index": head}).encode() + b"\n" + source + b"\n"


def load(cluster: Cluster, index: str, actions: Iterable[Action]) -> int:
    """Write the actions into ``index`` and return how many documents are there because of them or newer.

    Busy answers (429, 503) are tried again with growing pauses, only for the documents that got them. A document that
    was there in a newer version, or gone already when it was to be deleted, counts. Raises UnavailableError when the
    cluster stays busy, ClusterError naming the first document that was refused; what was written stays written.
    """
    retrying = Retrying(
        stop=stop_after_attempt(TRIES), wait=wait_exponential(FIRST_WAIT_S),
        retry=retry_if_exception_type(UnavailableError), reraise=True,
    )  # fmt: skip
    done = 0
    for batch in _batches(actions):
        waiting = batch
        for attempt in retrying:
            with attempt:
                waiting = _send(cluster, index, waiting)
                if waiting:
                    raise UnavailableError(f"OpenSearch stays too busy to take documents into {index}: try again later")
        done += len(batch)
    return done


def _batches(actions: Iterable[Action]) -> Iterator[list[tuple[Action, bytes]]]:
    batch: list[tuple[Action, bytes]] = []
    size = 0
    for action in actions:
        lines = action.lines()
        if batch and (size + len(lines) > BATCH_BYTES or len(batch) >= BATCH_DOCUMENTS):
            yield batch
            batch, size = [], 0
        batch.append((action, lines))
        size += len(lines)
    if batch:
        yield batch


def _send(cluster: Cluster, index: str, batch: list[tuple[Action, bytes]]) -> list[tuple[Action, bytes]]:
    """Send one bulk request; the actions that the cluster was too busy for."""
    # require_alias=false, and no index made by accident: a mistyped or deleted one is an error, not a new index.
    answer = cluster.call("POST", f"/{index}/_bulk", b"".join(lines for _, lines in batch))
    again = []
    if not answer["errors"]:
        return []
    for (action, lines), item in zip(batch, answer["items"], strict=True):
        result = next(iter(item.values()))
        status = int(result["status"])
        if status in (429, 503):
            again.append((action, lines))
        elif status == 409 or (status == 404 and action.source is None and "error" not in result):
            continue  # a newer version is there; or what was to be deleted is gone
        elif status >= 300:
            reason = result.get("error", {})
            raise ClusterError(
                f"document {action.id} for {index}", status, f"{reason.get('type')}: {reason.get('reason')}"
            )
    return again
