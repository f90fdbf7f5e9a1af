"""The training data: reading a training set, splitting off a validation set, and planning all batches in advance."""

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
    """A training set. Passages are referred to by their index in ``texts``.

    Passage p has ``texts[p]`` and belongs to the story ``stories[p]``. Example i has ``queries[i]``, its kind
    ``kinds[i]`` (``title`` or another), the positive passage ``positives[i]``, the mined hard negatives ``hard[i]`` and
    the weight ``weights[i]``.
    """

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
    """Indices of passages (positives first) and of the examples whose positives are among them."""

    passages: list[int]
    examples: list[int]


def read(folder: Path) -> TrainingData:
    """Read the training set in ``folder``. Raises BadInputError where files are missing or do not fit together."""
    passages, examples = _rows(folder / "passages.jsonl"), _rows(folder / "examples.jsonl")
    if not examples or len(passages) < 2:
        raise BadInputError(f"{folder} holds no training pairs: build the training set from more articles")
    recipe = folder / "recipe.json"
    try:
        position = {row["id"]: index for index, row in enumerate(passages)}
        return TrainingData(
            texts=[row["text"] for row in passages],
            stories=[int(row["story_id"]) for row in passages],
            queries=[row["query"] for row in examples],
            kinds=[row["kind"] for row in examples],
            positives=[position[row["positive"]] for row in examples],
            hard=[[position[i] for i in row.get("hard", ())] for row in examples],
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
    """Split into training examples, validation examples and the passages that validation searches.

    Validation examples are titles: about ``queries`` of them, at most a tenth. The searched passages are their
    positives and a hard negative of each. Stories are chosen by the hash of their id, so the choice does not depend on
    the rest of the set. No story of a searched passage is trained on: training positives would rank for their own
    titles and training negatives are pushed away, so validation would get worse the longer the training. Raises
    BadInputError where no training example is left.
    """
    titles: dict[int, list[int]] = defaultdict(list)
    for index, kind in enumerate(data.kinds):
        if kind == "title":
            titles[data.stories[data.positives[index]]].append(index)
    most = min(queries, sum(map(len, titles.values())) // 10)
    validation: list[int] = []
    for story in sorted(titles, key=lambda number: hashlib.sha256(f"{seed}\0{number}".encode()).digest()):
        if len(validation) >= most:
            break
        validation += titles[story]
    pool = sorted({data.positives[i] for i in validation} | {p for i in validation for p in data.hard[i][:1]})
    held_out = {data.stories[position] for position in pool}
    training = [i for i, position in enumerate(data.positives) if data.stories[position] not in held_out]
    if not training:
        raise BadInputError("no training examples are left beside those for validation: use more articles")
    return training, sorted(validation), pool


def plan(
    data: TrainingData, examples: Iterable[int], settings: FineTuningConfig, seed: int, held_out: Iterable[int] = ()
) -> list[Batch]:
    """All batches of the training, one for each of ``settings.steps``; deterministic. Stories of the passages
    ``held_out`` are left out.

    A batch has up to ``batch_passages`` passages: positives, each with up to ``hard_per_positive`` of its hard
    negatives, no two of one story. Each passage comes with up to ``queries_per_passage`` of its queries, the title
    first. So do hard negatives: they are encoded anyway, and their queries meet their hardest negatives. An epoch
    contains every positive once, in the order of weighted sampling without replacement (Efraimidis and Spirakis 2006:
    largest ``u ** (1 / weight)`` first), so heavier examples come early. Raises BadInputError where all examples are of
    one story.
    """
    rng = random.Random(seed)
    by_positive: dict[int, list[int]] = defaultdict(list)
    for index in examples:
        by_positive[data.positives[index]].append(index)
    if len({data.stories[position] for position in by_positive}) < 2:
        raise BadInputError("the training examples are all of one story: a batch needs negatives")
    excluded = {data.stories[position] for position in held_out}
    batches: list[Batch] = []
    queue: list[int] = []
    while len(batches) < settings.steps:
        batches.append(_next_batch(data, by_positive, excluded, queue, rng, settings))
    return batches


def _next_batch(
    data: TrainingData, by_positive: dict[int, list[int]], excluded: set[int], queue: list[int], rng: random.Random,
    settings: FineTuningConfig,
) -> Batch:  # fmt: skip
    """The next batch from the ``queue`` of positives, which is refilled once when it runs empty.

    ``by_positive`` are the examples of each positive passage; the stories ``excluded`` are in no batch.
    """
    positives: list[int] = []
    negatives: list[int] = []
    examples: list[int] = []
    stories: set[int] = set()  # of the passages, all different
    skipped: list[int] = []  # their story is in the batch: they stay in the queue

    def add(position: int, to: list[int]) -> list[int]:
        stories.add(data.stories[position])
        to.append(position)
        titles_first = sorted(by_positive.get(position, ()), key=lambda i: (data.kinds[i] != "title", rng.random()))
        chosen = titles_first[: settings.queries_per_passage]
        examples.extend(chosen)
        return chosen

    refilled = False
    while len(stories) < settings.batch_passages:
        if not queue:
            if refilled:
                break  # the whole training set is smaller than a batch
            weight = {position: max(data.weights[i] for i in own) for position, own in by_positive.items()}
            queue.extend(sorted(weight, key=lambda p: rng.random() ** (1 / weight[p])))
            refilled = True
        position = queue.pop()
        if data.stories[position] in stories:
            skipped.append(position)
            continue
        hard = [p for i in add(position, positives) for p in data.hard[i]]
        rng.shuffle(hard)
        most = min(len(stories) + settings.hard_per_positive, settings.batch_passages)
        for negative in hard:
            if len(stories) < most and data.stories[negative] not in stories | excluded:
                add(negative, negatives)
    queue.extend(reversed(skipped))
    return Batch([*positives, *negatives], examples)
