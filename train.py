"""Learn an encoder from a file of articles: ``python train.py --corpus ARTICLES.jsonl --output DIR``.

Files only, no database: builds the base unless ``--base`` names one, learns the query table from the articles, chooses
its gain by validation, and leaves a folder that sentence-transformers loads, too. With ``--steps`` (or
``training.fine_tuning.steps``) the dense encoder is fine-tuned first, for which a training set is made. Killed, the
same command with ``--resume`` goes on from where it was and ends with the same model. On several GPUs the same command
behind ``accelerate launch --num_processes N``: every step is the one that a single process would take.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from pipeline.asof import day_of, parse_instant
from pipeline.config import Config, load
from pipeline.errors import BadInputError, GaramError, UsageError


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
    except KeyboardInterrupt:
        print("\ntrain.py: stopped; --resume goes on from there", file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> Path:
    """Base, fine-tuning where it is asked for, learning; the model's folder."""
    from pipeline.training.files import learn_from_articles
    from pipeline.training.finetune.distributed import ProcessGroup

    config: Config = _configured(options)
    output: Path = options.output
    work = output.with_name(f".{output.name}.work")
    if (output / "card.json").exists():
        if options.resume:
            return output
        raise UsageError(f"{output} holds a trained model already: name another folder, or delete it")
    processes, bar = ProcessGroup(), _Bar()
    if processes.is_main and not options.resume:
        shutil.rmtree(work, ignore_errors=True)
    processes.barrier()
    articles = _articles(options.corpus)
    base: Path | None = options.base
    if config.training.fine_tuning.steps:
        base = _fine_tuned(articles, base, work, config, processes, bar)
    if processes.is_main:
        learned = learn_from_articles(articles, output, work, config, base=base, progress=bar)
        shutil.rmtree(work, ignore_errors=True)
        bar.end()
        for step in learned.report["ladder"]:
            print(_step(step))
        print(f"taken: {learned.report['rung']}; {output / 'ladder.svg'} is its picture")
    processes.barrier()
    return output


def _configured(options: argparse.Namespace) -> Config:
    config = load(options.config)
    training = config.training
    if options.seed is not None:
        training = training.model_copy(update={"seed": options.seed})
    if options.steps is not None:
        tuning = type(training.fine_tuning).model_validate(training.fine_tuning.model_dump() | {"steps": options.steps})
        training = training.model_copy(update={"fine_tuning": tuning})
    return config.model_copy(update={"training": training})


def _fine_tuned(
    articles: list[_Article], base: Path | None, work: Path, config: Config, processes: Any, bar: _Bar
) -> Path:
    """The folder of a base whose dense encoder is fine-tuned on the articles' training set."""
    from pipeline.dataset import make_training_set
    from pipeline.training.base import build_base, fine_tuned_base

    start = base or work / "base"
    if processes.is_main:
        texts = [config.encoder.document_text(article.text) for article in articles]
        if base is None:
            build_base(texts, start, config.encoder, bar)
        made = make_training_set(articles, as_of=articles[-1].day, settings=config.dataset, progress=bar)
        made.write(work / "trainingset")
        print(f"{made.report['examples']} examples of {made.report['articles_used']} articles: {made.report['kinds']}")
    processes.barrier()
    return fine_tuned_base(work / "trainingset", start, work / "tuned-base", config.training, work,
                           {"start": str(start)}, bar)  # fmt: skip


def _step(step: dict[str, Any]) -> str:
    """A rung of the ladder in one line."""
    values = " ".join(f"{name} {step[name]:.4f}" for name in ("titles", "short") if name in step)
    chosen = f" (gain {step['gain']:g}, active in {step['active_share']:.0%})" if "gain" in step else ""
    return f"{step['rung']}: nDCG@10 {values}{chosen}"


class _Article:
    """A line of the corpus, as a training set wants it; articles of one url or one text are one."""

    def __init__(self, number: int, row: dict[str, Any]) -> None:
        self.id = number
        self.title = str(row["title"])
        self.text = str(row["text"])
        self.day = day_of(parse_instant(str(row["published_at"])))
        self.story_id = number
        self.outlet = str(row.get("outlet") or "")


def _articles(path: Path) -> list[_Article]:
    from pipeline.dataset.leakage import duplicates

    found = []
    try:
        with path.open(encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):
                if not line.strip():
                    continue
                try:
                    found.append(_Article(number, json.loads(line)))
                except (ValueError, KeyError, TypeError) as error:
                    raise BadInputError(
                        f"{path}:{number} is no article (title, text, published_at as JSON): {error}"
                    ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    repeated = duplicates(article.text for article in found)
    kept = [article for index, article in enumerate(found) if index not in repeated]
    if len(kept) < 2:
        raise BadInputError(f"{path} holds {len(kept)} different articles: training needs many more")
    return sorted(kept, key=lambda article: (article.day, article.id))


class _Bar:
    """One line of progress, rewritten in place on a terminal and now and then elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._said = ("", -1)

    def __call__(self, what: str, done: int, total: int) -> None:
        share = f"{done}/{total} " if total else ""
        if self._live:
            print(f"\r\033[K{share}{what}"[:240], end="", file=sys.stderr, flush=True)
            return
        tenth = 10 * done // total if total else 0
        key = (what.partition(":")[0], tenth)
        if key != self._said:
            self._said = key
            print(f"{share}{what}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._live:
            print(file=sys.stderr)


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
    parser.add_argument("--resume", action="store_true", help="go on from where the same command was killed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
