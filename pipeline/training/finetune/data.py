"""Reading a training set, keeping a part of it to watch the training, and planning every batch before the first."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts import content_hash, file_sha256
from pipeline.config.training import FineTuningConfig
from pipeline.errors import BadInputError


@dataclass(frozen=True)
class TrainingData:
    """A training set by positions: example i asks ``queries[i]``, of a kind (``title`` or another), is answered by
    ``texts[positives[i]]`` and not by those of ``hard[i]``, and counts ``weights[i]``; ``stories[p]`` is text p's."""

    texts: list[str]
    stories: list[int]
    queries: list[str]
    kinds: list[str]
    positives: list[int]
    hard: list[list[int]]
    weights: list[float]
    recipe: dict[str, Any]
    sha256: str


@dataclass(frozen=True)
class Batch:
    """Passages (positions, positives first) and the examples asked of them."""

    passages: list[int]
    examples: list[int]


def read(folder: Path) -> TrainingData:
    """The training set of a folder; BadInputError names what does not fit together."""
    passages, examples = _rows(folder / "passages.jsonl"), _rows(folder / "examples.jsonl")
    if not examples or len(passages) < 2:
        raise BadInputError(f"{folder} holds no training pairs: build the training set from more articles")
    recipe = folder / "recipe.json"
    try:
        place = {row["id"]: index for index, row in enumerate(passages)}
        return TrainingData(
            texts=[row["text"] for row in passages],
            stories=[int(row["story_id"]) for row in passages],
            queries=[row["query"] for row in examples],
            kinds=[row["kind"] for row in examples],
            positives=[place[row["positive"]] for row in examples],
            hard=[[place[i] for i in row.get("hard", ())] for row in examples],
            weights=[float(row.get("weight", 1.0)) for row in examples],
            recipe=json.loads(recipe.read_text("utf-8")) if recipe.exists() else {},
            sha256=content_hash([file_sha256(folder / f"{name}.jsonl") for name in ("passages", "examples")]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{folder} is no training set ({error!r}): build it again") from error


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                rows.append(json.loads(line))
    except FileNotFoundError as error:
        raise BadInputError(f"there is no {path}: name the folder of a training set") from error
    except ValueError as error:
        raise BadInputError(f"{path}:{len(rows) + 1} is not JSON: build the training set again") from error
    return rows


def split(data: TrainingData, queries: int, seed: int) -> tuple[list[int], list[int], list[int]]:
    """Examples to train on, title examples to watch, and the pool (positions of passages) that these search: their
    answers and a rival of each. About ``queries`` titles are watched, a tenth at most.

    Stories are chosen by the hash of their number, so the same ones are whatever else is in the set. No story of the
    pool is trained on: passages that were trained on would give their own titles' terms, and negatives are pushed away,
    so that the watched titles would seem to fare the worse, the longer the training. BadInputError where nothing is
    left to train on.
    """
    titles: dict[int, list[int]] = defaultdict(list)
    for index, kind in enumerate(data.kinds):
        if kind == "title":
            titles[data.stories[data.positives[index]]].append(index)
    most = min(queries, sum(map(len, titles.values())) // 10)
    watched: list[int] = []
    for story in sorted(titles, key=lambda number: hashlib.sha256(f"{seed}\0{number}".encode()).digest()):
        if len(watched) >= most:
            break
        watched += titles[story]
    pool = sorted({data.positives[i] for i in watched} | {p for i in watched for p in data.hard[i][:1]})
    unseen = {data.stories[position] for position in pool}
    trained = [i for i, position in enumerate(data.positives) if data.stories[position] not in unseen]
    if not trained:
        raise BadInputError("no training pairs are left beside the watched ones: take more articles")
    return trained, sorted(watched), pool


def plan(
    data: TrainingData, examples: Iterable[int], settings: FineTuningConfig, seed: int, unseen: Iterable[int] = ()
) -> list[Batch]:
    """Every batch of the training, ``settings.steps`` of them; the same for the same arguments. No passage of the
    stories of ``unseen`` ones (positions) is in any. BadInputError where all pairs are of one story.

    A batch has up to ``batch_passages`` passages: positives, each with up to ``hard_per_positive`` of its hard
    negatives, no two of one story. A passage brings up to ``queries_per_passage`` of its queries, its title first, and
    a negative does so too: who was encoded anyway is asked, and against its hardest rivals. Positives come in epochs
    without repetition, drawn by weight (Efraimidis and Spirakis 2006: largest ``u ** (1 / weight)`` first), so heavier
    ones come early and all come before one comes again.
    """
    draw = random.Random(seed)
    asked: dict[int, list[int]] = defaultdict(list)
    for index in examples:
        asked[data.positives[index]].append(index)
    if len({data.stories[position] for position in asked}) < 2:
        raise BadInputError("the training pairs are all of one story: a batch needs passages that are no answer")
    barred = {data.stories[position] for position in unseen}
    batches: list[Batch] = []
    queue: list[int] = []
    while len(batches) < settings.steps:
        batches.append(_batch(data, asked, barred, queue, draw, settings))
    return batches


def _batch(
    data: TrainingData, asked: dict[int, list[int]], barred: set[int], queue: list[int], draw: random.Random,
    settings: FineTuningConfig,
) -> Batch:  # fmt: skip
    """The next batch of the ``queue`` of positives, which is refilled when it is empty: ``asked`` are a passage's
    examples, ``barred`` stories stay out."""
    positives: list[int] = []
    negatives: list[int] = []
    examples: list[int] = []
    stories: set[int] = set()  # one of each passage
    later: list[int] = []

    def take(position: int, to: list[int]) -> list[int]:
        stories.add(data.stories[position])
        to.append(position)
        titles_first = sorted(asked.get(position, ()), key=lambda i: (data.kinds[i] != "title", draw.random()))
        chosen = titles_first[: settings.queries_per_passage]
        examples.extend(chosen)
        return chosen

    refilled = False
    while len(stories) < settings.batch_passages:
        if not queue:
            if refilled:
                break  # the whole set fits into less than a batch
            weight = {position: max(data.weights[i] for i in own) for position, own in asked.items()}
            queue.extend(sorted(weight, key=lambda p: draw.random() ** (1 / weight[p])))
            refilled = True
        position = queue.pop()
        if data.stories[position] in stories:
            later.append(position)
            continue
        rivals = [p for i in take(position, positives) for p in data.hard[i]]
        draw.shuffle(rivals)
        most = min(len(stories) + settings.hard_per_positive, settings.batch_passages)
        for rival in rivals:
            if len(stories) < most and data.stories[rival] not in stories | barred:
                take(rival, negatives)
    queue.extend(reversed(later))
    return Batch([*positives, *negatives], examples)
