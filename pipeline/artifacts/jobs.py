"""Jobs for the GPU worker (kind ``job``): the names of the artifacts that a run reads, and its settings.

Everything that decides a run's result is in its job, so the same job gives the same artifacts.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from pipeline.artifacts import Artifacts
from pipeline.config.encoder import EncoderConfig
from pipeline.config.training import TrainingConfig
from pipeline.errors import BadInputError

FILE = "job.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JobAsOf(_Part):
    """The day that a job computes for; ``known_by`` where the articles' knowledge is fixed."""

    day: dt.date
    known_by: dt.datetime | None = None


class NewArticles(_Part):
    """Articles that no batch of day sums covers: ``days[i]`` and ``versions[i]`` are those of text i of ``corpus``."""

    corpus: str
    days: list[dt.date]
    versions: list[int]


class _Job(_Part):
    """Each kind has ``references()``: the names of the artifacts that its run reads."""

    format: Literal[3] = 3
    as_of: JobAsOf

    def put(self, artifacts: Artifacts) -> str:
        """Store the job; its artifact's name."""
        return artifacts.put_json(self.model_dump(mode="json"), "job", FILE)

    def facts(self, *names: str) -> dict[str, object]:
        """These fields as JSON, for a model's card."""
        return self.model_dump(mode="json", include=set(names))


class BaseJob(_Job):
    """Build a base from the texts of a corpus."""

    kind: Literal["base"] = "base"
    texts: str
    encoder: EncoderConfig

    def references(self) -> set[str]:
        return {self.texts}


class GrowthJob(_Job):
    """Add tokens for ``words`` to the base ``start``."""

    kind: Literal["grow"] = "grow"
    texts: str
    start: str
    words: list[str]

    def references(self) -> set[str]:
        return {self.texts, self.start}


class FineTuningJob(_Job):
    """Fine-tune the dense encoder of the base ``start`` on a training set."""

    kind: Literal["fine-tune"] = "fine-tune"
    training_set: str
    start: str
    training: TrainingConfig

    def references(self) -> set[str]:
        return {self.training_set, self.start}


class TrainingJob(_Job):
    """Learn a query table over ``base``, and encode what is judged and served.

    ``corpora`` are those of the query sets; ``unseen`` has the texts that have no dense vectors, ``recent`` the newest;
    ``sums`` are (day, artifact) of day sums; ``dense`` and ``champion_dense`` are the stored dense vectors of the base
    and of the champion.
    """

    kind: Literal["train"] = "train"
    training_set: str
    training_set_id: int
    query_sets: list[str]
    corpora: list[str]
    unseen: list[str]
    recent: str
    sums: list[tuple[dt.date, str]]
    sums_recipe: str
    new: NewArticles | None = None
    dense: list[str]
    parent: str
    base: str
    champion: str | None = None
    champion_dense: list[str]
    training: TrainingConfig

    def references(self) -> set[str]:
        named = {self.training_set, self.recent, self.parent, self.base, *self.query_sets, *self.corpora, *self.unseen}
        named |= {*self.dense, *self.champion_dense, *(name for _, name in self.sums)}
        return named | ({self.new.corpus} if self.new else set()) | ({self.champion} if self.champion else set())


AnyJob = BaseJob | GrowthJob | FineTuningJob | TrainingJob


class _Read(RootModel[Annotated[AnyJob, Field(discriminator="kind")]]):
    """Any job, told apart by its kind."""


def read_job(folder: Path) -> AnyJob:
    """The job of an artifact's folder; BadInputError when it is not one."""
    path = folder / FILE
    if not path.exists():
        raise BadInputError(f"artifact {folder.name} is not a job: make one with `garam retrain`")
    try:
        return _Read.model_validate(json.loads(path.read_text("utf-8"))).root
    except (ValidationError, ValueError) as error:
        raise BadInputError(f"job {folder.name} was written by another version of Garam: make it again") from error
