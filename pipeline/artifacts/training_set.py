"""The training set as an artifact (kind ``trainingset``): passages, and queries that they answer."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.errors import BadInputError

_Row = TypeVar("_Row", bound=BaseModel)


class Passage(BaseModel):
    """A part of an article; ``story_id`` is the article that it retells."""

    id: str
    article_id: int
    story_id: int
    outlet: str = ""
    day: dt.date
    text: str


class Example(BaseModel):
    """A query and the passage that answers it, with hard and random negatives (ids of passages).

    ``kind`` says where the query comes from: ``title``, ``sentence``, ``synonym`` ...
    """

    query: str
    kind: str
    positive: str
    day: dt.date
    weight: float = 1.0
    hard: list[str] = []
    random: list[str] = []


@dataclass
class TrainingSet:
    """``recipe`` decides what is in it; ``report`` counts what became of the articles."""

    passages: list[Passage]
    examples: list[Example]
    recipe: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write ``passages.jsonl``, ``examples.jsonl``, ``recipe.json`` and ``report.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in (("passages", self.passages), ("examples", self.examples)):
            with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as handle:
                handle.writelines(row.model_dump_json() + "\n" for row in rows)
        for name, value in (("recipe", self.recipe), ("report", self.report)):
            text = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1, default=str)
            (folder / f"{name}.json").write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> TrainingSet:
        """Read the folder; BadInputError names the line that does not fit."""
        passages = list(_rows(folder / "passages.jsonl", Passage))
        examples = list(_rows(folder / "examples.jsonl", Example))
        return cls(passages, examples, *(_json(folder / f"{name}.json") for name in ("recipe", "report")))

    @staticmethod
    def sources(folder: Path) -> Iterator[str]:
        """Ids of the articles whose words the passages are."""
        return (str(passage.article_id) for passage in _rows(folder / "passages.jsonl", Passage))


def _rows(path: Path, row: type[_Row]) -> Iterator[_Row]:
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for number, text in enumerate(lines, 1):  # noqa: B007 (named in the error)
                yield row.model_validate_json(text)
    except FileNotFoundError as error:
        raise BadInputError(f"there is no {path}: name the folder of a training set") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path} is not UTF-8: build the training set again") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        reason = f"{where}: {first['msg']}"
        raise BadInputError(f"{path}:{number} does not fit ({reason}): build the training set again") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8"))) if path.exists() else {}
    except (TypeError, ValueError) as error:
        raise BadInputError(f"{path} is not JSON: build the training set again") from error
