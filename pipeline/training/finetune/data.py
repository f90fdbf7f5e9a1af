"""The training data: reading a training set, splitting off a validation set, and planning all batches in advance."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts import file_sha256
from pipeline.artifacts.training_set import TrainingSet
from pipeline.config.training import FineTuningConfig
from pipeline.errors import BadInputError
from pipeline.hashing import content_hash


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
    stored = TrainingSet.read(folder)
    passages, examples = stored.passages, stored.examples
    if not examples or len(passages) < 2:
        raise BadInputError(f"{folder} holds no training pairs: build the training set from more articles")
    place = {passage.id: index for index, passage in enumerate(passages)}
    try:
        return TrainingData(
            texts=[passage.text for passage in passages],
            stories=[passage.story_id for passage in passages],
            queries=[example.query for example in examples],
            kinds=[example.kind for example in examples],
            positives=[place[example.positive] for example in examples],
            hard=[[place[i] for i in example.hard] for example in examples],
            weights=[example.weight for example in examples],
            recipe=stored.recipe,
            sha256=content_hash([file_sha256(folder / f"{name}.jsonl") for name in ("passages", "examples")]),
        )
    except KeyError as error:
        raise BadInputError(f"{folder} names the passage {error} but does not have it: build it again") from error


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

    A batch has up to ``batch_passages`` passages: positives, each with up to ``hard_negatives_per_positive`` of its
    hard negatives, no two of one story. Each passage comes with up to ``queries_per_passage`` of its queries, the
    title first. So do hard negatives: they are encoded anyway, and their queries meet their hardest negatives. An
    epoch contains every positive once, in the order of weighted sampling without replacement (Efraimidis and Spirakis
    2006: largest ``u ** (1 / weight)`` first), so heavier examples come early. Raises BadInputError where all examples
    are of one story.
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
        most = min(len(stories) + settings.hard_negatives_per_positive, settings.batch_passages)
        for negative in hard:
            if len(stories) < most and data.stories[negative] not in stories | excluded:
                add(negative, negatives)
    queue.extend(reversed(skipped))
    return Batch([*positives, *negatives], examples)
