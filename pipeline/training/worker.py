"""Runs jobs on the GPU worker: artifacts in, artifacts out. It needs neither the database nor the cluster.

A job is an immutable artifact. Its work folder is named after it, so a killed job resumes from what is there.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.addresses import state_folder
from pipeline.artifacts import Artifacts
from pipeline.artifacts.jobs import AnyJob, BaseJob, FineTuningJob, GrowthJob, TrainingJob, read_job
from pipeline.artifacts.query_sets import Corpus
from pipeline.artifacts.vectors import DenseVectors, KeptVectors, to_merge
from pipeline.config.training import TrainingConfig
from pipeline.progress import Progress, silent

if TYPE_CHECKING:
    from pipeline.encoder import Encoder
    from pipeline.training.sums import Sums

ENCODED_AT_ONCE = 1024
"""Texts in a part of an encoding: the work that a kill loses at most."""


@dataclass(frozen=True)
class JobResult:
    """The artifacts that a job produced (by name), and the part of the model card that `register` needs.

    ``dense`` are new dense vectors; the artifacts in ``replaces`` were merged into them. ``sums`` has a folder for each
    day of the new texts of the job.
    """

    model: str
    dense: list[str] = field(default_factory=list)
    replaces: list[str] = field(default_factory=list)
    sums: str | None = None
    card: dict[str, Any] = field(default_factory=dict)


def run_job(artifacts: Artifacts, job: str, progress: Progress = silent) -> JobResult:
    """Run a job (see `pipeline.training.make_job`). A job that was completed here before returns its result at once.

    A training encodes all texts without dense vectors, computes the sums of the new articles, learns the query table
    and saves the model. The other kinds produce a base: a new one, a fine-tuned one, or one with more tokens. A second
    process that runs the same job waits for the first.
    """
    described = read_job(artifacts.get(job))
    work = state_folder() / "work" / job
    with _alone(work):
        done = work / "result.json"
        if done.exists():
            result = JobResult(**json.loads(done.read_text("utf-8")))
            if all(artifacts.has(name) for name in (result.model, *result.dense, result.sums) if name):
                return result
        began = time.monotonic()
        result = _run(artifacts, described, work, progress)
        result.card["seconds"] = round(time.monotonic() - began, 1)
        unfinished = done.with_suffix(".partial")
        unfinished.write_text(json.dumps(asdict(result), ensure_ascii=False), encoding="utf-8")
        for path in work.iterdir():
            if path.name not in (unfinished.name, "lock"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        unfinished.replace(done)
        return result


def _run(artifacts: Artifacts, job: AnyJob, work: Path, progress: Progress) -> JobResult:
    match job:
        case BaseJob():
            return _run_base(artifacts, job, work, progress)
        case GrowthJob():
            return _run_growth(artifacts, job, work, progress)
        case FineTuningJob():
            return _run_fine_tuning(artifacts, job, work, progress)
        case TrainingJob():
            return _run_training(artifacts, job, work, progress)


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Lock the work folder. The operating system releases the lock when the process ends, even by a kill."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run_base(artifacts: Artifacts, job: BaseJob, work: Path, progress: Progress) -> JobResult:
    from pipeline.training.base import build_base

    texts = Corpus.read(artifacts.get(job.texts)).texts
    folder = build_base(texts, work / "base", job.encoder, progress)
    return JobResult(artifacts.put(folder, "base"), card={"kind": "base"})


def _run_growth(artifacts: Artifacts, job: GrowthJob, work: Path, progress: Progress) -> JobResult:
    """A base with more tokens and the same dense encoder: stored dense vectors stay valid, sums do not."""
    from pipeline.training.base import grown_base

    texts = Corpus.read(artifacts.get(job.texts)).texts
    facts = job.facts("start", "as_of")
    folder = grown_base(artifacts.get(job.start), job.words, texts, work / "base", facts, progress)
    return JobResult(artifacts.put(folder, "base"), card={"kind": "base"})


def _run_fine_tuning(artifacts: Artifacts, job: FineTuningJob, work: Path, progress: Progress) -> JobResult:
    from pipeline.training.base import fine_tuned_base

    settings = job.training
    facts = job.facts("training_set", "start", "as_of")
    folder = fine_tuned_base(
        artifacts.get(job.training_set), artifacts.get(job.start), work / "base", settings, work, facts, progress
    )
    return JobResult(artifacts.put(folder, "base"), card={"kind": "base"})


def _run_training(artifacts: Artifacts, job: TrainingJob, work: Path, progress: Progress) -> JobResult:
    from pipeline.encoder import Encoder
    from pipeline.training.learning import Recent, learn

    settings = job.training
    base = Encoder.load(artifacts.get(job.base))
    new = _new_sums(artifacts, job, base, settings, work, progress)
    total = _total(artifacts, job, new, base, settings)
    newest = Corpus.read(artifacts.get(job.recent))
    recent = Recent(newest.texts, newest.titles)
    texts = [text for name in (*job.corpora, *job.unseen) for text in Corpus.read(artifacts.get(name)).texts]
    kept, made, replaces = _dense(artifacts, base, job.dense, [*recent.texts, *texts], work, progress)
    dense = [made] if made else []
    if job.champion is not None:
        champion = Encoder.load(artifacts.get(job.champion))
        if champion.dense_identity != base.dense_identity:
            searched = [text for name in job.corpora for text in Corpus.read(artifacts.get(name)).texts]
            _, more, gone = _dense(artifacts, champion, job.champion_dense, searched, work, progress)
            dense += [more] if more else []
            replaces += gone
    initial = _parent_rows(artifacts, job, base)
    learned = learn(base, total, recent, kept, settings, initial=initial, progress=progress)
    base.table = learned.table
    facts = job.facts("training_set", "parent", "as_of", "base")
    card = {"kind": "trained", **facts, "config": settings.model_dump(mode="json"), **learned.report}
    base.facts |= {"base": job.base}
    save(base, work / "model", card)
    sums = artifacts.put(new, "sums") if new is not None else None
    model = artifacts.put(work / "model", "model")
    return JobResult(model, dense, replaces, sums, {"kind": "trained", "rung": learned.report["rung"]})


def save(encoder: Encoder, output: Path, card: dict[str, Any]) -> None:
    """Save a trained model with its card and a plot of the ladder."""
    from pipeline.encoder.folder import as_json
    from pipeline.training.plots import ladder

    encoder.save(output, {"card.json": as_json(card), "ladder.svg": ladder(card["ladder"])})


def _new_sums(
    artifacts: Artifacts, job: TrainingJob, base: Encoder, settings: TrainingConfig, work: Path, progress: Progress
) -> Path | None:
    """The folder with the sums of the new texts, by day; None without new texts. A kill loses at most one part."""
    if job.new is None:
        return None
    texts = Corpus.read(artifacts.get(job.new.corpus)).texts
    by_day: dict[str, list[str]] = {}
    for day, text in zip(job.new.days, texts, strict=True):
        by_day.setdefault(day.isoformat(), []).append(text)
    folder = work / "sums"
    folder.mkdir(exist_ok=True)
    write_sums(base, by_day, folder, settings, progress)
    return folder


def write_sums(
    base: Encoder, by_day: dict[str, list[str]], folder: Path, settings: TrainingConfig, progress: Progress = silent
) -> None:
    """Write the sums of each day's texts to ``folder / day``, several days in one batch; existing ones are skipped."""
    from pipeline.training.learning import sums_of

    pending = [day for day in by_day if not (folder / day).exists()]
    total, done = sum(len(by_day[day]) for day in pending), 0
    while pending:
        part: list[str] = []
        size = 0
        while pending and (not part or size + len(by_day[pending[0]]) <= ENCODED_AT_ONCE):
            size += len(by_day[pending[0]])
            part.append(pending.pop(0))
        made = sums_of(base, [by_day[day] for day in part], settings)
        for day, sums in zip(part, made, strict=True):
            unfinished = folder.with_name(f".{folder.name}.partial")
            shutil.rmtree(unfinished, ignore_errors=True)
            sums.write(unfinished)
            unfinished.rename(folder / day)
        done += size
        progress("pseudo queries of articles", done, total)


def _total(artifacts: Artifacts, job: TrainingJob, new: Path | None, base: Encoder, settings: TrainingConfig) -> Sums:
    places = [(str(day), artifacts.get(name) / str(day)) for day, name in job.sums]
    if new is not None:
        places += [(place.name, place) for place in sorted(new.iterdir())]
    return total_of(base, places, job.as_of.day, settings)


def total_of(base: Encoder, places: Sequence[tuple[str, Path]], day: dt.date, settings: TrainingConfig) -> Sums:
    """The sum of all sums, (day, folder) each, as of ``day``, decayed by their age."""
    from pipeline.training.sums import Sums

    def parts() -> Iterator[tuple[float, Sums]]:
        for when, place in places:
            age = (day - dt.date.fromisoformat(when)).days
            yield settings.decay_factor**age, Sums.read(place)

    return Sums.total(parts(), len(base.vocabulary), base.dense.width)


def _parent_rows(artifacts: Artifacts, job: TrainingJob, base: Encoder) -> Any:
    """The rows (V, H) of the parent's query table, for a warm start; None where the parent has another base."""
    from pipeline.encoder import QueryTable

    folder = artifacts.get(job.parent)
    facts = json.loads((folder / "garam.json").read_text("utf-8"))
    if facts.get("base") != job.base:
        return None
    table = QueryTable.read(folder, len(base.vocabulary), base.dense.width)
    return table.rows if table is not None else None


def _dense(
    artifacts: Artifacts, encoder: Encoder, known: Sequence[str], texts: Sequence[str], work: Path, progress: Progress
) -> tuple[KeptVectors, str | None, list[str]]:
    """All dense vectors of an encoder, the artifact of the newly encoded ones (None where none was missing), and the
    artifacts that were merged into it."""
    parts = {name: DenseVectors.read(artifacts.get(name)) for name in known if artifacts.has(name)}
    kept = KeptVectors(encoder.dense_identity, parts.values())
    made = encode_in_parts(encoder, kept, texts, work, progress)
    if not made:
        return kept, None, []
    merged = to_merge({name: len(part.keys) for name, part in parts.items()})
    whole = DenseVectors.join([*(parts[name] for name in merged), *made])
    with artifacts.scratch() as folder:
        whole.write(folder / "dense")
        return kept, artifacts.put(folder / "dense", "dense"), merged


def encode_in_parts(
    encoder: Encoder, kept: KeptVectors, texts: Sequence[str], work: Path, progress: Progress = silent
) -> list[DenseVectors]:
    """Encode the texts that ``kept`` lacks and add them to it; returns the new vectors.

    Parts are written to ``work`` as they are encoded, so a kill loses at most one.
    """
    missing = kept.missing(texts)
    made = []
    for start in range(0, len(missing), ENCODED_AT_ONCE):
        part = missing[start : start + ENCODED_AT_ONCE]
        place = work / f"dense-{encoder.dense_identity}-{start}"
        if place.exists():
            vectors = DenseVectors.read(place)
        else:
            vectors = encoder.encode_dense(part, partial(_report, progress, start, len(part), len(missing)))
            unfinished = work / "dense.partial"
            shutil.rmtree(unfinished, ignore_errors=True)
            vectors.write(unfinished)
            unfinished.rename(place)
        kept.add(vectors)
        made.append(vectors)
    return made


def _report(progress: Progress, start: int, size: int, total: int, windows: int, all_windows: int) -> None:
    """Report the number of encoded texts, estimated from the encoded windows of the part that starts at ``start``."""
    progress("dense vectors of texts", start + size * windows // max(1, all_windows), total)
