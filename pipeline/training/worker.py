"""The GPU worker's part: a job of artifacts in, artifacts out. No database, no cluster, no address of either.

A job is an artifact, so the same job always means the same; its work folder is named after it, and a job that was
killed goes on from there.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts import Artifacts
from pipeline.config.encoder import EncoderConfig
from pipeline.config.training import TrainingConfig
from pipeline.context import state_folder
from pipeline.errors import BadInputError
from pipeline.progress import Progress, silent
from pipeline.querysets import Corpus
from pipeline.vectors import Vectors, text_key

if TYPE_CHECKING:
    from pipeline.encoder import Encoder

ENCODED_AT_ONCE = 1024
"""Texts whose vectors are kept together: what is lost at most when the encoding is killed."""


@dataclass(frozen=True)
class JobResult:
    """What a job made: names of artifacts, and of the card what registering needs (the whole is in the model)."""

    model: str
    vectors: str | None
    champion_vectors: str | None
    card: dict[str, Any]


def run_job(artifacts: Artifacts, job: str, progress: Progress = silent) -> JobResult:
    """Run a job (see `pipeline.training.make_job`); at once when it was run here before.

    For a training: trains, stores the model, encodes every text of the job's corpora with it and the texts that the
    champion never encoded with the champion. For a base: builds it. Two at once: the second waits for the first.
    """
    described = read_job(artifacts, job)
    work = state_folder() / "work" / job
    with _alone(work):
        done = work / "result.json"
        if done.exists():
            result = JobResult(**json.loads(done.read_text("utf-8")))
            if all(artifacts.has(n) for n in (result.model, result.vectors, result.champion_vectors) if n):
                return result
        began = time.monotonic()
        run = {"base": _run_base, "train": _run_training}[described["kind"]]
        result = run(artifacts, described, work, progress)
        result.card["seconds"] = round(time.monotonic() - began, 1)
        partial = done.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(result), ensure_ascii=False), encoding="utf-8")
        for path in work.iterdir():
            if path.name not in (partial.name, "lock"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        partial.replace(done)
        return result


def read_job(artifacts: Artifacts, job: str) -> dict[str, Any]:
    """What a job says; BadInputError when it is not one."""
    path = artifacts.get(job) / "job.json"
    if not path.exists():
        raise BadInputError(f"artifact {job} is not a job: make one with `garam retrain`")
    described: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if described.get("kind") not in ("base", "train") or described.get("format") != 1:
        raise BadInputError(f"job {job} was written by another version of Garam: make it again")
    return described


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Hold the work folder; the lock ends with the process, however it ends."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run_base(artifacts: Artifacts, job: dict[str, Any], work: Path, progress: Progress) -> JobResult:
    from pipeline.training.base.build import build_base
    from pipeline.training.base.settings import BaseSettings

    texts = Corpus.read(artifacts.get(job["texts"])).texts
    folder = build_base(texts, work / "base", BaseSettings.model_validate(job["settings"]), progress)
    facts = json.loads((folder / "garam.json").read_text("utf-8")) if (folder / "garam.json").exists() else {}
    card = {"kind": "base", "config": job["settings"], "texts": job["texts"], "as_of": job["as_of"]}
    card |= {key: value for key, value in facts.items() if key not in ("files", "format")}
    _write_json(folder / "card.json", card)
    return JobResult(artifacts.put(folder, "base"), None, None, {"kind": "base"})


def _run_training(artifacts: Artifacts, job: dict[str, Any], work: Path, progress: Progress) -> JobResult:
    from pipeline.training.trainer import train

    settings = TrainingConfig.model_validate(job["training"])
    encoding = EncoderConfig.model_validate(job["encoder"])
    facts = {name: job[name] for name in ("training_set", "parent", "as_of", "base", "encoder")}
    model = _kept(work / "model.txt", artifacts)
    if model is None:
        result = train(
            artifacts.get(job["training_set"]),
            artifacts.get(job["parent"]),
            work / "model",
            settings,
            progress,
            work=work / "training",
            teacher=artifacts.get(job["base"]),
            encoding=encoding,
            champion=artifacts.get(job["champion"]) if job["champion"] and settings.champion_weight > 0 else None,
            facts=facts,
        )
        model = artifacts.put(result.folder, "model")
        _write(work / "model.txt", model)
    texts = [text for name in job["corpora"] for text in Corpus.read(artifacts.get(name)).texts]
    made = _encode(artifacts, model, None, texts, encoding, work, progress)
    vectors = _put_vectors(artifacts, made)
    champion_vectors = None
    if job["champion"] is not None:
        known = None
        if job["champion_vectors"] is not None and artifacts.has(job["champion_vectors"]):
            known = Vectors.read(artifacts.get(job["champion_vectors"]))
        champion_vectors = _put_vectors(
            artifacts, _encode(artifacts, job["champion"], known, texts, encoding, work, progress)
        )
    card = json.loads((artifacts.get(model) / "card.json").read_text("utf-8"))
    return JobResult(model, vectors, champion_vectors, {"kind": "trained", "metrics": card["metrics"]})


def _encode(
    artifacts: Artifacts,
    model: str,
    known: Vectors | None,
    texts: Sequence[str],
    settings: EncoderConfig,
    work: Path,
    progress: Progress,
) -> Vectors:
    """``known`` vectors of a model and those of the texts it lacks; parts are kept, so a kill costs one part."""
    from pipeline.encoder import Encoder

    encoder: Encoder | None = None
    wanted = known.missing(texts) if known else list({text_key(text): text for text in texts}.values())
    found = known
    what = "encoding" if known is None else "encoding with the champion"
    for start in range(0, len(wanted), ENCODED_AT_ONCE):
        part = wanted[start : start + ENCODED_AT_ONCE]
        place = work / f"vectors-{model}-{start}"
        if place.exists():
            held = Vectors.read(place)
        else:
            if encoder is None:
                encoder = Encoder.load(artifacts.get(model), max_length=settings.max_length, lexical=settings.lexical)
            matrix = encoder.encode_documents(
                part,
                batch_size=settings.batch_size,
                max_added=settings.max_added,
                progress=lambda done, _, at=start: progress(what, at + done, len(wanted)),  # type: ignore[misc]
            )
            held = Vectors(model, [text_key(text) for text in part], matrix)
            shutil.rmtree(work / "vectors.partial", ignore_errors=True)
            held.write(work / "vectors.partial")
            (work / "vectors.partial").rename(place)
        found = held if found is None else found.with_rows(part, held.matrix)
    if found is None:
        raise BadInputError("the job's corpora hold no text: build the training set again")
    return found


def _put_vectors(artifacts: Artifacts, vectors: Vectors) -> str:
    with artifacts.scratch() as folder:
        vectors.write(folder / "vectors")
        return artifacts.put(folder / "vectors", "vectors")


def _kept(path: Path, artifacts: Artifacts) -> str | None:
    name = path.read_text("utf-8") if path.exists() else ""
    return name if name and artifacts.has(name) else None


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)


def _write_json(path: Path, value: Any) -> None:
    _write(path, json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1) + "\n")
