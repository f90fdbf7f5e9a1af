"""A training set and a start, small enough to train in a second."""

import contextlib
import json
import os
import random
from pathlib import Path

import pytest

# Two threads of a tiny model wait for one another most of the time, the more the busier the machine is.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.tiny import WORDS, tiny_encoder


@pytest.fixture(autouse=True)
def single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bfloat16, wherever the tests run: gradients are compared closely."""
    monkeypatch.setattr("pipeline.encoder.dense.autocast", lambda device: contextlib.nullcontext())


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "tiny"
    tiny_encoder(folder)
    return folder


@pytest.fixture(scope="session")
def training_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    draw = random.Random(5)
    words = [w for w in WORDS.split() if not w.startswith("##") and len(w) > 1]
    related = dict(zip(words, [*words[1:], words[0]], strict=True))  # what a title says instead of a text's word
    passages, examples = [], []
    for number in range(60):
        own = draw.sample(words, 6)
        text = " ".join(own + draw.choices(words, k=6))
        passages.append(
            {
                "id": f"{number}-0",
                "article_id": number,
                "story_id": number // 2,
                "day": "2026-01-01",
                "text": text,
            }
        )
        others = [f"{n}-0" for n in draw.sample(range(60), 4) if n // 2 != number // 2]
        for kind, query in (("title", " ".join(related[word] for word in own[:3])), ("sentence", " ".join(own[3:]))):
            examples.append(
                {"query": query, "kind": kind, "positive": f"{number}-0", "hard": others, "random": [],
                 "day": "2026-01-01", "weight": 1.0}
            )  # fmt: skip
    for name, rows in (("passages", passages), ("examples", examples)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    (folder / "recipe.json").write_text(json.dumps({"as_of": "2026-01-01"}))
    return folder
