"""Train an encoder from a file of articles: ``python train.py --corpus ARTICLES.jsonl --output DIR``.

Files only, no database: builds the training set from the file, the base model unless ``--base`` names one, trains, and
leaves a folder that transformers and sentence-transformers load. Killed, the same command with ``--resume`` goes on
from its last checkpoint and ends with the same weights. On several GPUs the same command behind
``accelerate launch --num_processes N``: every step is the one that a single process would take.
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
        print("\ntrain.py: stopped; --resume goes on from the last checkpoint", file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> Path:
    """Training set, base, training; the model's folder."""
    from pipeline.training import train
    from pipeline.training.processes import Processes

    config: Config = load(options.config)
    changed = {name: value for name in ("steps", "seed") if (value := getattr(options, name)) is not None}
    settings = type(config.training).model_validate(config.training.model_dump() | changed)
    output: Path = options.output
    work = output.with_name(f".{output.name}.work")
    if (output / "card.json").exists():
        if options.resume:
            return output
        raise UsageError(f"{output} holds a trained model already: name another folder, or delete it")
    processes = Processes()
    bar = _Bar()
    base: Path = options.base or work / "base"
    if processes.main:
        if not options.resume:
            shutil.rmtree(work, ignore_errors=True)
        _prepare(options, config, work, bar)
    processes.wait()
    result = train(
        work / "trainingset",
        base,
        output,
        settings,
        bar,
        work=work / "training",
        teacher=base,
        facts={"parent": str(base)},
        encoding=config.encoder,
    )
    if processes.main:
        shutil.copyfile(work / "trainingset" / "report.json", output / "data.json")
        shutil.rmtree(work, ignore_errors=True)
        bar.end()
        print(f"{result.steps} steps in {result.seconds:.0f} s; loss curves in {output / 'curves.svg'}")
    return output


def _prepare(options: argparse.Namespace, config: Config, work: Path, bar: _Bar) -> None:
    """The training set and, unless one is named, the base, in the work folder."""
    from pipeline.dataset import make_training_set

    articles = _articles(options.corpus)
    made = make_training_set(articles, as_of=max(a.day for a in articles), settings=config.dataset, progress=bar)
    made.write(work / "trainingset")
    print(f"{made.report['examples']} examples of {made.report['articles_used']} articles: {made.report['kinds']}")
    if options.base is None:
        _base(config, [config.encoder.document_text(a.text) for a in articles], work, bar)


def _base(config: Config, texts: list[str], work: Path, bar: _Bar) -> Path:
    from pipeline.training.base.build import build_base
    from pipeline.training.base.settings import BaseSettings

    return build_base(texts, work / "base", BaseSettings.model_validate(config.base.model_dump(mode="json")), bar)


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
    parser.add_argument("--base", type=Path, help="encoder to start from (default: a base is built from the corpus)")
    parser.add_argument("--steps", type=int, help="optimizer steps (default: training.steps)")
    parser.add_argument("--seed", type=int, help="seed (default: training.seed)")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of the same command")
    return parser


if __name__ == "__main__":
    sys.exit(main())
