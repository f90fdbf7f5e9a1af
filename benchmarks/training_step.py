"""A training step against sentence-transformers' trainer: `python benchmarks/training_step.py [--model DIR]`.

The same start, the same batches (titles asking, articles answering, in-batch negatives, FLOPS), the same lengths, all
weights trained, all output dimensions computed. sentence-transformers runs its own `SparseEncoderTrainer` over the
same folder with `SpladeLoss(SparseMultipleNegativesRankingLoss)`; the time is that between two of its steps. Sides
take turns, so that a machine's moods fall on both. Without `--model` a base is built from the packaged speeches
(`benchmarks.material`). The last row is ours as configured: fewer columns and frozen embeddings, which is other work.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import argparse
import contextlib
import datetime as dt
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import material
from pipeline.config import Config
from pipeline.config.training import TrainingConfig
from pipeline.encoder.module import bf16_is_fast
from pipeline.progress import silent

SAME = {
    "hard_per_positive": 0, "queries_per_passage": 1, "columns": 0, "freeze_layers": 0, "freeze_embeddings": False,
    "teacher": "none", "distil_weight": 0.0, "in_batch_weight": 1.0, "hard_weight": 0.0, "margin_weight": 0.0,
    "margin_mse_weight": 0.0, "validation_queries": 0, "checkpoint_every": 10**6, "min_active": 0.0,
    "max_active_share": 1.0, "soup": 0.0, "gradient_cache": False, "flops_kind": "flops", "l0_threshold": 0,
}  # fmt: skip


def write_set(folder: Path, pairs: list[tuple[str, str]]) -> None:
    """A training set of (title, text) pairs, in the product's own form."""
    passages = [
        {"id": f"{n}-0", "article_id": n, "story_id": n, "day": "2019-01-01", "text": text}
        for n, (_, text) in enumerate(pairs)
    ]
    examples = [
        {"query": title, "kind": "title", "positive": f"{n}-0", "hard": [], "random": [], "weight": 1.0}
        for n, (title, _) in enumerate(pairs)
    ]
    for name, rows in (("passages", passages), ("examples", examples)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")


def ours(folder: Path, model: Path, settings: TrainingConfig, work: Path) -> list[float]:
    """Seconds of each step."""
    from pipeline.training.trainer import _Run

    run = _Run(folder, model, settings, silent, work, None, None)
    found = []
    for number, batch in enumerate(run.plan):
        began = time.perf_counter()
        run._step(batch, number)
        found.append(time.perf_counter() - began)
    return found


def theirs(pairs: list[tuple[str, str]], model: Path, settings: TrainingConfig, bf16: bool, work: Path) -> list[float]:
    """Seconds between the steps of sentence-transformers' trainer."""
    from datasets import Dataset
    from sentence_transformers import SparseEncoder, SparseEncoderTrainer, SparseEncoderTrainingArguments
    from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss, SpladeLoss
    from transformers import TrainerCallback

    encoder = SparseEncoder(str(model), device="cpu" if not _cuda() else "cuda")
    encoder.max_seq_length = settings.max_length
    for part in encoder.modules():  # ours trains without dropout: neither side pays for it
        if type(part).__name__ == "Dropout":
            part.p = 0.0
    times: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.last = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            now = time.perf_counter()
            times.append(now - self.last)
            self.last = now

    arguments = SparseEncoderTrainingArguments(
        output_dir=str(work), max_steps=settings.steps, per_device_train_batch_size=settings.batch_passages, bf16=bf16,
        learning_rate=settings.learning_rate, weight_decay=settings.weight_decay, max_grad_norm=settings.clip_norm,
        save_strategy="no", report_to="none", logging_strategy="no", disable_tqdm=True, dataloader_drop_last=True,
        router_mapping={"anchor": "query", "positive": "document"}, dataloader_pin_memory=False,
        use_cpu=not _cuda(), seed=settings.seed,
    )  # fmt: skip
    data = Dataset.from_dict({"anchor": [title for title, _ in pairs], "positive": [text for _, text in pairs]})
    loss = SpladeLoss(
        encoder, SparseMultipleNegativesRankingLoss(encoder), document_regularizer_weight=settings.flops_weight
    )
    trainer = SparseEncoderTrainer(model=encoder, args=arguments, train_dataset=data, loss=loss, callbacks=[Clock()])
    with contextlib.redirect_stdout(None):
        trainer.train()
    return times


def _cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="encoder folder of Garam's (default: a base built here)")
    parser.add_argument("--batch", type=int, default=32, help="pairs of a step")
    parser.add_argument("--length", type=int, default=128, help="tokens of a passage")
    parser.add_argument("--steps", type=int, default=6, help="steps of a turn; the first is not counted")
    parser.add_argument("--turns", type=int, default=2, help="turns of each side")
    options = parser.parse_args()
    import torch

    articles = material.articles(dt.date(2018, 1, 1), dt.date(2019, 12, 31))
    model = options.model or material.base([article.text for article in articles])
    pairs = [(a.title, a.text) for a in articles][: options.batch * options.steps * 2]
    default = Config().training
    common = {
        "steps": options.steps,
        "batch_passages": options.batch,
        "micro_batch": default.micro_batch,
        "max_length": options.length,
    }
    same = default.model_copy(update=SAME | common)
    configured = default.model_copy(
        update={"steps": options.steps, "batch_passages": options.batch, "max_length": options.length,
                "hard_per_positive": 0, "queries_per_passage": 1, "validation_queries": 0}
    )  # fmt: skip
    fast = bf16_is_fast(torch.device("cuda" if _cuda() else "cpu"))
    sides: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "set"
        folder.mkdir()
        write_set(folder, pairs)

        def turn(name: str, steps: list[float]) -> None:
            sides.setdefault(name, []).extend(steps[1:])
            print(f"{name:<40} {statistics.median(steps[1:]):.3f} s a step (median of {len(steps) - 1})", flush=True)

        for number in range(options.turns):
            for precision in ("float32", "bfloat16") if fast else ("float32",):
                chosen = same.model_copy(update={"precision": precision})
                turn(f"garam, {precision}", ours(folder, model, chosen, Path(place) / f"w{number}"))
                steps = theirs(pairs, model, same, precision == "bfloat16", Path(place) / f"t{number}")
                turn(f"sentence-transformers, {precision}", steps)
            turn("garam as configured", ours(folder, model, configured, Path(place) / f"c{number}"))
    middle = {name: statistics.median(found) for name, found in sides.items()}
    print(f"{options.batch} pairs of {options.length} tokens, {torch.get_num_threads()} threads; medians of all turns:")
    best = min(value for name, value in middle.items() if name.startswith("sentence"))
    for name, value in middle.items():
        precision = name.partition(", ")[2]
        peer = middle.get(f"sentence-transformers, {precision}", best)
        print(f"  {name:<40} {value:.3f} s   {peer / value:.2f} x its peer   {best / value:.2f} x the best of theirs")


if __name__ == "__main__":
    main()
