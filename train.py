"""Train an encoder on a file of articles: ``python train.py --corpus ARTICLES.jsonl --output DIR``.

Reads and writes files only, no database. The base is built from the articles unless ``--base`` names one; then the
query table is learned, and validation selects its thresholds and gain. sentence-transformers can load the result, too.
With ``--steps`` (or ``training.fine_tuning.steps``) the dense encoder is fine-tuned first, on a training set made of
the articles. After a kill, the same command with ``--resume`` continues and ends with the same model. For several GPUs
start it by ``accelerate launch --num_processes N``: the steps are those of a single process.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import datetime as dt
import json
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.asof import day_of, parse_instant
from pipeline.config import Config, load
from pipeline.encoder import Encoding
from pipeline.errors import BadInputError, GaramError, UsageError
from pipeline.progress import Progress, shown, silent
from pipeline.text.normalise import clean_title, normalise

if TYPE_CHECKING:
    from pipeline.training.finetune.distributed import ProcessGroup


_OURS = "train.py.unfinished"
"""Marks the folder of what is unfinished as ours: only such a folder is ever emptied."""


def main(arguments: list[str] | None = None) -> int:
    """The command: 0 done, 1 refused or failed, 2 wrong use."""
    options = _parser().parse_args(arguments)
    try:
        output = run(options)
        if os.environ.get("RANK", "0") == "0":
            print(f"model in {output}")
    except GaramError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"train.py: {error.filename or options.output}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ntrain.py: stopped; continue with --resume", file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> Path:
    """Train the model: base, fine-tuning if configured, query table; returns the folder of the model."""
    from pipeline.training.files import learn_from_articles
    from pipeline.training.finetune.distributed import ProcessGroup

    config: Config = _configured(options)
    output = options.output.resolve()
    work = output.with_name(f".{output.name}.work")
    if options.resume and (output / "card.json").exists():
        return output
    processes = ProcessGroup()
    if processes.is_main:
        _check_new(output)
        _claim(work, resume=options.resume)
    processes.barrier()
    articles = _articles(options.corpus, config)
    base: Path | None = options.base
    with shown() if processes.is_main else nullcontext(silent) as progress:
        if config.training.fine_tuning.steps:
            base = _fine_tuned(articles, base, work, config, processes, progress)
        if processes.is_main:
            learned = learn_from_articles(articles, output, work, config, base=base, progress=progress)
            shutil.rmtree(work, ignore_errors=True)
    if processes.is_main:
        for step in learned.report["ladder"]:
            print(_step(step))
        print(f"taken: {learned.report['rung']}; plot: {output / 'ladder.svg'}")
    processes.barrier()
    return output


def _check_new(output: Path) -> None:
    """UsageError unless ``output`` is a new or an empty folder: training replaces nothing."""
    if not output.exists() and output.name:
        return
    if (output / "card.json").is_file():
        raise UsageError(f"{output} holds a trained model already: name another folder, or delete it")
    if not output.is_dir():
        raise UsageError(f"{output} is a file: name a new folder")
    if any(output.iterdir()) or not output.name:
        raise UsageError(f"{output} is not empty, and training replaces nothing: name a new folder")


def _claim(work: Path, *, resume: bool) -> None:
    """Make the folder of what is unfinished, empty unless it is resumed; one that is not ours is refused."""
    if work.is_dir() and any(work.iterdir()) and not (work / _OURS).is_file():
        raise UsageError(f"{work} would hold what is unfinished, and it holds something else: name another output")
    if not resume and work.is_dir():
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    (work / _OURS).touch()


def _configured(options: argparse.Namespace) -> Config:
    config = load(options.config)
    training = config.training
    if options.seed is not None:
        training = training.model_copy(update={"seed": options.seed})
    if options.steps is not None:
        if options.steps < 0:
            raise UsageError(f"--steps {options.steps}: write how many steps, or 0 for none")
        tuning = training.fine_tuning.model_copy(update={"steps": options.steps})
        training = training.model_copy(update={"fine_tuning": tuning})
    return config.model_copy(update={"training": training})


def _fine_tuned(
    articles: list[_Article], base: Path | None, work: Path, config: Config, processes: ProcessGroup, progress: Progress
) -> Path:
    """Fine-tune the dense encoder on a training set made of the articles; returns the folder of the new base."""
    from pipeline.dataset import make_training_set
    from pipeline.training.base import build_base, fine_tuned_base

    start = base or work / "base"
    if processes.is_main:
        texts = [Encoding.of(config.encoder).document_text(article.text) for article in articles]
        if base is None:
            build_base(texts, start, config.encoder, progress)
        made = make_training_set(articles, as_of=articles[-1].day, settings=config.dataset, progress=progress)
        made.write(work / "trainingset")
        report = made.report
        progress(f"training set: {report['examples']} examples of {report['articles_used']} articles", 0, 0)
    processes.barrier()
    return fine_tuned_base(work / "trainingset", start, work / "tuned-base", config.training, work,
                           {"start": str(start)}, progress)  # fmt: skip


def _step(step: dict[str, Any]) -> str:
    """One line for a rung of the ladder."""
    values = " ".join(f"{name} {step[name]:.4f}" for name in ("titles", "short") if name in step)
    chosen = f" (gain {step['gain']:g}, active in {step['active_share']:.0%})" if "gain" in step else ""
    return f"{step['rung']}: nDCG@10 {values}{chosen}"


class _Article:
    """A line of the corpus, as a training set wants it; articles of one text are one."""

    def __init__(self, number: int, row: dict[str, Any]) -> None:
        self.id = number
        self.title = clean_title(_string(row, "title"))
        self.text = normalise(_string(row, "text"))
        self.published_at = parse_instant(str(row["published_at"]))
        self.day = day_of(self.published_at)
        self.story_id = number
        self.outlet = str(row.get("outlet") or "")


def _string(row: dict[str, Any], name: str) -> str:
    if not isinstance(row[name], str):
        raise TypeError(f"{name} is {json.dumps(row[name])[:40]}, not a text")
    return str(row[name])


def _articles(path: Path, config: Config) -> list[_Article]:
    """The different articles of a file by (day, line), with their stories by the service's rule."""
    from pipeline.dataset.leakage import duplicates
    from pipeline.text.duplicates import stories

    rows = []
    try:
        with path.open(encoding="utf-8-sig") as handle:
            for number, line in enumerate(handle, 1):
                if not line.strip():
                    continue
                try:
                    rows.append(_Article(number, json.loads(line)))
                except (ValueError, KeyError, TypeError) as error:
                    raise BadInputError(
                        f"{path}:{number} is no article (title, text, published_at as JSON): {error}"
                    ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    repeated = duplicates(article.text for article in rows)
    articles = [article for index, article in enumerate(rows) if index not in repeated]
    if len(articles) < 2:
        raise BadInputError(f"{path} holds {len(articles)} different articles: training needs many more")
    articles.sort(key=lambda article: (article.day, article.id))
    first_of = stories(
        [(article.title, article.text, article.published_at) for article in articles],
        similarity=config.news.duplicate_similarity,
        within=dt.timedelta(days=config.news.duplicate_days),
    )
    for article, first in zip(articles, first_of, strict=True):
        article.story_id = articles[first].id
    return articles


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="train.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", type=Path, help="configuration file (default: config.yaml)")
    parser.add_argument(
        "--corpus", type=Path, required=True, help="articles as JSON lines: title, text, published_at ..."
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the trained model")
    parser.add_argument("--base", type=Path, help="base to start from (default: it is built from the corpus)")
    parser.add_argument(
        "--steps", type=int, help="steps of fine-tuning the dense encoder (default: training.fine_tuning.steps, 0)"
    )
    parser.add_argument("--seed", type=int, help="seed (default: training.seed)")
    parser.add_argument("--resume", action="store_true", help="continue after a kill of the same command")
    return parser


if __name__ == "__main__":
    sys.exit(main())
