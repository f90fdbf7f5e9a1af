"""Reading a training set, keeping a part of it to watch the training, and planning every batch before the first."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.artifacts import file_sha256
from pipeline.config.training import TrainingConfig
from pipeline.errors import BadInputError


@dataclass(frozen=True)
class TrainingData:
    """A training set by positions: example i asks ``queries[i]`` and is answered by ``texts[positives[i]]``.
    ``outlets`` say who published a text, "" where nobody knows."""

    ids: list[str]
    texts: list[str]
    stories: list[int]
    outlets: list[str]
    queries: list[str]
    kinds: list[str]
    positives: list[int]
    hard: list[list[int]]
    random: list[list[int]]
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
    passages = list(_rows(folder / "passages.jsonl"))
    examples = list(_rows(folder / "examples.jsonl"))
    if not examples or len(passages) < 2:
        raise BadInputError(f"{folder} holds no training pairs: build the training set from more articles")
    place = {row["id"]: index for index, row in enumerate(passages)}
    try:
        positives = [place[row["positive"]] for row in examples]
        hard = [[place[i] for i in row.get("hard", ())] for row in examples]
        drawn = [[place[i] for i in row.get("random", ())] for row in examples]
        data = TrainingData(
            ids=[row["id"] for row in passages],
            texts=[row["text"] for row in passages],
            stories=[int(row["story_id"]) for row in passages],
            outlets=[str(row.get("outlet") or "") for row in passages],
            queries=[row["query"] for row in examples],
            kinds=[row["kind"] for row in examples],
            positives=positives,
            hard=hard,
            random=drawn,
            weights=[float(row.get("weight", 1.0)) for row in examples],
            recipe=json.loads((folder / "recipe.json").read_text("utf-8")) if (folder / "recipe.json").exists() else {},
            sha256=hashlib.sha256(
                "".join(file_sha256(folder / f"{name}.jsonl") for name in ("passages", "examples")).encode()
            ).hexdigest(),
        )
    except KeyError as error:
        raise BadInputError(f"{folder} is no training set: {error} is missing; build it again") from error
    return data


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise BadInputError(f"{path}:{number} is not JSON: build the training set again") from error
    except FileNotFoundError as error:
        raise BadInputError(f"there is no {path}: name the folder of a training set") from error


@dataclass(frozen=True)
class Split:
    """Examples to train on, title examples to watch, and the ``pool`` (positions of passages) that these search."""

    trained: list[int]
    watched: list[int]
    pool: list[int]


def split(data: TrainingData, queries: int, seed: int) -> Split:
    """Keep about ``queries`` titles to watch, a tenth at most; they search their passages and a rival of each.

    Stories go to the watched part by the hash of their number, so the same ones do whatever else is in the set. No
    story of the pool is trained on. What answers or rivals a watched title has to be as strange to the model as
    tomorrow's news: passages that were trained on fire their own titles' terms, and negatives are pushed away, so
    that the longer the training, the worse the held-out titles would seem to fare.
    """
    titles = [i for i, kind in enumerate(data.kinds) if kind == "title"]
    most = min(queries, len(titles) // 10)
    order = sorted({data.stories[data.positives[i]] for i in titles}, key=lambda story: _hash(seed, story))
    by_story: dict[int, list[int]] = defaultdict(list)
    for index in titles:
        by_story[data.stories[data.positives[index]]].append(index)
    watched: list[int] = []
    kept: set[int] = set()
    for story in order:
        if len(watched) >= most:
            break
        kept.add(story)
        watched += by_story[story]
    pool = sorted({data.positives[i] for i in watched} | {p for i in watched for p in data.hard[i][:1]})
    kept |= {data.stories[position] for position in pool}
    trained = [i for i in range(len(data.queries)) if data.stories[data.positives[i]] not in kept]
    if not trained:
        raise BadInputError("all training pairs are of one story: take more articles")
    return Split(trained, sorted(watched), pool)


def _hash(seed: int, value: object) -> bytes:
    return hashlib.sha256(f"{seed}\0{value}".encode()).digest()


def plan(
    data: TrainingData, examples: Iterable[int], settings: TrainingConfig, unseen: Iterable[int] = ()
) -> list[Batch]:
    """Every batch of the training, ``settings.steps`` of them; the same for the same data and settings. No passage of
    the stories of ``unseen`` ones (positions) is in any.

    A batch has up to ``batch_passages`` passages: positives, each with up to ``hard_per_positive`` of its hard
    negatives, no two of one story. A passage brings up to ``queries_per_passage`` of its queries, its title first; a
    negative does so too, where it answers any: who was encoded anyway is asked, and against its hardest rivals.
    Positives come in epochs without repetition, drawn by weight (Efraimidis and Spirakis 2006: largest
    ``u ** (1 / weight)`` first), so heavier ones come early and all come before one comes again.
    """
    draw = random.Random(settings.seed)
    barred = {data.stories[position] for position in unseen}
    data = replace(data, hard=[[p for p in held if data.stories[p] not in barred] for held in data.hard])
    asked: dict[int, list[int]] = defaultdict(list)
    for index in examples:
        asked[data.positives[index]].append(index)
    if len({data.stories[position] for position in asked}) < 2:
        raise BadInputError("the training pairs are all of one story: a batch needs passages that are no answer")
    weight = {position: max(data.weights[i] for i in held) for position, held in asked.items()}
    batches: list[Batch] = []
    queue: list[int] = []
    while len(batches) < settings.steps:
        batches.append(_batch(data, asked, weight, queue, draw, settings))
    return batches


def _batch(
    data: TrainingData,
    asked: dict[int, list[int]],
    weight: dict[int, float],
    queue: list[int],
    draw: random.Random,
    settings: TrainingConfig,
) -> Batch:
    positives: list[int] = []
    negatives: list[int] = []
    examples: list[int] = []
    stories: set[int] = set()
    later: list[int] = []
    refilled = False
    while len(positives) + len(negatives) < settings.batch_passages:
        if not queue:
            if refilled:
                break  # the whole set fits into less than a batch
            queue.extend(sorted(weight, key=lambda p: draw.random() ** (1 / weight[p])))
            refilled = True
        position = queue.pop()
        if data.stories[position] in stories:
            later.append(position)
            continue
        stories.add(data.stories[position])
        positives.append(position)
        chosen = _asked(data, asked[position], draw, settings)
        examples += chosen
        candidates = [p for i in chosen for p in data.hard[i]]
        draw.shuffle(candidates)
        for candidate in candidates[: 4 * settings.hard_per_positive]:
            added = len(negatives) - (len(positives) - 1) * settings.hard_per_positive
            if added >= settings.hard_per_positive or len(positives) + len(negatives) >= settings.batch_passages:
                break
            if data.stories[candidate] not in stories:
                stories.add(data.stories[candidate])
                negatives.append(candidate)
                if candidate in asked:
                    examples += _asked(data, asked[candidate], draw, settings)
    queue.extend(reversed(later))
    return Batch([*positives, *negatives], examples)


def _asked(data: TrainingData, examples: list[int], draw: random.Random, settings: TrainingConfig) -> list[int]:
    """The queries of a passage that a batch asks: its title first, the others drawn."""
    titled = sorted(examples, key=lambda i: (data.kinds[i] != "title", draw.random()))
    return titled[: settings.queries_per_passage]
