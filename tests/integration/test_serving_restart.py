"""Deployed query models come back after a restart of OpenSearch, and a search waits for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from localstack import opensearch, stack
from localstack.state import StateFolder
from pipeline import serving
from tests.integration.serving_world import World
from tests.services import SessionStack

pytest.importorskip("torch")


def test_plain_text_search_after_a_restart(
    tmp_path: Path, database: str, opensearch_url: str, session_stack: SessionStack
) -> None:
    import os
    import signal
    import time

    world = World(tmp_path, database, opensearch_url)
    try:
        for n in range(3):
            world.article(n)
        generation = serving.deploy(world.ctx, world.promoted(1))
        before = [(hit.rank, hit.url, hit.score) for hit in serving.search(world.ctx, "코로나19 속보").hits]
        state = StateFolder(session_stack.folder).load()
        assert state is not None
        pid = state.processes[opensearch.NAME].pid
        os.kill(pid, signal.SIGKILL)
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            time.sleep(0.1)
        stack.up([opensearch.NAME], folder=session_stack.folder)
        found = serving.search(world.ctx, "코로나19 속보")
        assert found.generation == generation
        assert [(hit.rank, hit.url, hit.score) for hit in found.hits] == before
        world.article(3)
        assert serving.index_new_articles(world.ctx) == 1
        world.agree()
    finally:
        world.close()
