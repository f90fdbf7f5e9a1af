"""The training loop of fine-tuning: steps, validation, checkpoints, and the saved model.

The scores of a batch are ``queries @ (floor + learned).T``. Query vectors, lexical floor, query table, thresholds and
gain are frozen: the gradient flows through the dense vectors of the passages only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.artifacts import file_sha256
from pipeline.config.training import FineTuningConfig
from pipeline.encoder import Encoder
from pipeline.encoder import folder as files
from pipeline.encoder.statistics import corpus_statistics
from pipeline.encoder.vocabulary import MANIFEST
from pipeline.errors import ConfigError
from pipeline.hashing import content_hash
from pipeline.progress import Progress, silent
from pipeline.training import plots
from pipeline.training.finetune import checkpoint, collapse, data, losses
from pipeline.training.finetune.data import Batch
from pipeline.training.finetune.distributed import ProcessGroup
from pipeline.training.finetune.model import SparseModel
from pipeline.training.finetune.objective import Labels, objective

CURVE_POINTS = 200
"""Points of a loss curve that the model card keeps, about."""


@dataclass(frozen=True)
class FineTuned:
    """A finished training: the folder of the encoder, its model card, and the metrics of every step."""

    folder: Path
    card: dict[str, Any]
    history: list[dict[str, float]]


def fine_tune(
    training_set: Path, start: Path, output: Path, settings: FineTuningConfig, progress: Progress = silent, *,
    seed: int, work: Path,
) -> FineTuned:  # fmt: skip
    """Fine-tune the dense encoder of the model in ``start`` and save the result to ``output``.

    Tokenizer, query table, query weights and encoding settings stay those of ``start``. ``card.json`` and
    ``curves.svg`` are saved beside the model. ``work`` holds the checkpoint: the same call after a kill resumes from it
    and ends with the same weights (on one device). Raises CollapsedError where training diverges, BadInputError for
    unusable data, ConfigError for settings that do not fit; then nothing is saved.
    """
    trainer = Trainer(training_set, start, settings, progress, seed, work)
    trainer.train()
    return FineTuned(output, trainer.finish(output), trainer.history)


class Trainer:
    """The state of one training.

    Attributes: ``data``, ``encoder``, ``model``; ``queries`` (Q, V) and ``floor`` (P, V) of all examples and passages;
    ``batches`` (one for each step); ``validation`` (indices of examples) and ``pool`` (indices of the passages they
    search); ``parameters`` (trained ones, by name); ``done`` (steps); ``history`` (metrics of each step);
    ``validations`` (nDCG@10 of each validation).
    """

    def __init__(
        self, training_set: Path, start: Path, settings: FineTuningConfig, progress: Progress, seed: int, work: Path
    ) -> None:
        if settings.steps < 1:
            raise ConfigError("training.fine_tuning.steps is 0, so there is nothing to do: raise it")
        self.processes = ProcessGroup()
        self.settings, self.seed, self.work = settings, seed, work
        self.progress = progress if self.processes.is_main else silent
        self.progress("reading the training set", 0, 0)
        self.data = data.read(training_set)
        self.encoder = Encoder.load(start, device=self.processes.device)
        self.model = SparseModel(self.encoder, self.data.texts, settings, self.processes.world_size, self.progress)
        self.device = self.model.dense.device
        self._encode_lexical()
        training, self.validation, self.pool = data.split(self.data, settings.validation_queries, seed)
        with_terms = [i for i in training if self.queries.indptr[i + 1] > self.queries.indptr[i]]
        self.batches = data.plan(self.data, with_terms, settings, seed, self.pool)
        self.teacher = self._teacher_vectors()
        identity = {"data": self.data.sha256, "start": file_sha256(start / MANIFEST), "seed": seed}
        self.identity = content_hash({**identity, "settings": settings.model_dump(mode="json")})
        self.parameters = self.model.trainable()
        matrices = [p for p in self.parameters.values() if p.dim() > 1]
        others = [p for p in self.parameters.values() if p.dim() <= 1]  # biases and layer norms: no weight decay
        groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), fused=True)
        self.ramp_steps = round(settings.flops_warmup_ratio * settings.steps)
        self.done = 0
        self.history: list[dict[str, float]] = []
        self.validations: list[dict[str, float]] = []
        self.best: dict[str, Any] = {"value": -1.0, "step": 0, "weights": {}}

    # ------------------------------------------------------------------ preparation
    def _encode_lexical(self) -> None:
        """Query vectors (Q, V) and lexical floors (P, V) with the term statistics of the training texts.

        The statistics of the encoder itself, which are saved with it, are restored afterwards.
        """
        encoder = self.encoder
        weights, encoding = encoder.query_weights, encoder.encoding
        encoder.set_statistics(corpus_statistics(encoder, self.data.texts))
        self.queries = encoder.encode_queries(self.data.queries)
        self.floor = encoder.lexical_floor(self.data.texts)
        encoder.set_query_weights(weights)
        encoder.encoding = encoding

    def _teacher_vectors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Dense vectors of the initial model for passages (P, H) and queries (Q, H), 0 for those in no batch; None
        without distillation."""
        if self.settings.distillation_weight <= 0:
            return None
        dense = self.model.dense
        used = sorted({p for batch in self.batches for p in batch.passages})
        passages: NDArray[np.float32] = np.zeros((len(self.data.texts), dense.width), np.float32)
        passages[used] = self.model.encode_texts([self.data.texts[p] for p in used], "encoding passages (teacher)")
        used = sorted({i for batch in self.batches for i in batch.examples})
        queries: NDArray[np.float32] = np.zeros((len(self.data.queries), dense.width), np.float32)
        queries[used] = dense.encode(
            [self.data.queries[i] for i in used], "query",
            lambda done, total: self.progress("encoding queries (teacher)", done, total),
        )  # fmt: skip
        return passages, queries

    # ------------------------------------------------------------------ training
    def train(self) -> None:
        """Run the remaining steps."""
        self._resume()
        settings, last = self.settings, len(self.batches)
        if self.done == 0:
            self.validate()
        began, first = time.monotonic(), self.done
        while self.done < last:
            metrics = self.train_step(self.batches[self.done], self.done)
            self.done += 1
            collapse.check(metrics, self.done, settings, int((~self.encoder.blocked).sum()), self.ramp_steps)
            self.history.append({"step": float(self.done), **metrics})
            speed = (self.done - first) / max(time.monotonic() - began, 1e-9)
            shown = " ".join(f"{name} {value:.3g}" for name, value in metrics.items() if name != "empty")
            self.progress(f"fine-tuning: {shown}; {speed:.2f} steps/s", self.done, last)
            if self.done % settings.validation_steps == 0 or self.done == last:
                self.validate()
            if self.processes.is_main and self.done % settings.checkpoint_steps == 0 and self.done < last:
                self._save_checkpoint()

    def _learning_rate(self, step: int) -> float:
        """Learning rate of a step (from 0): linear warm-up, then linear decay to 0."""
        steps = self.settings.steps
        warmup = round(self.settings.warmup_ratio * steps)
        factor = (step + 1) / (warmup + 1) if step < warmup else (steps - step) / max(1, steps - warmup)
        return self.settings.learning_rate * factor

    def train_step(self, batch: Batch, step: int) -> dict[str, float]:
        """One optimizer step, number ``step`` (from 0), on ``batch``; returns its metrics."""
        metrics = self.model.retry_out_of_memory(lambda: self.compute_gradients(batch, step))
        self.processes.all_reduce_gradients(self.parameters.values())
        norm = torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), self.settings.max_grad_norm)
        collapse.check_gradient(float(norm), step + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        self.optimizer.step()
        return metrics

    def compute_gradients(self, batch: Batch, step: int) -> dict[str, float]:
        """Compute the gradients of the passages of this process, and return the metrics of the batch.

        Gradient caching (Gao et al. 2021): the loss is backpropagated to the vectors of the whole batch first. Then
        each micro-batch is encoded again and backpropagated separately, so only its activations are in memory.
        """
        model = self.model
        self.optimizer.zero_grad(set_to_none=True)
        tokens = model.tokenize([self.data.texts[p] for p in batch.passages])
        micro_batches = model.micro_batches(tokens)
        local = self.processes.shard(micro_batches)
        encode_twice = len(local) > 1  # the activations of a single micro-batch can stay in memory
        with torch.set_grad_enabled(not encode_twice):
            encoded = [model.encode([tokens[i] for i in indices]) for indices in local]
        vectors = self.processes.all_gather(encoded, micro_batches, model.dense.width).requires_grad_()
        queries, floor = (
            torch.from_numpy(matrix.toarray()).to(self.device)
            for matrix in (self.queries[batch.examples], self.floor[batch.passages])
        )
        loss, metrics = objective(
            queries, model.learned_weights(vectors), floor, Labels.of(self.data, batch, self.device),
            self.teacher_scores(batch, queries @ floor.T), self.settings,
            losses.quadratic_ramp(step + 1, self.ramp_steps),
        )  # fmt: skip
        loss.backward()  # type: ignore[no-untyped-call]
        assert vectors.grad is not None
        for indices, first_pass in zip(local, encoded, strict=True):
            output = model.encode([tokens[i] for i in indices]) if encode_twice else first_pass
            output.backward(vectors.grad[indices])  # type: ignore[no-untyped-call]
        return metrics

    def teacher_scores(self, batch: Batch, lexical: Tensor) -> Tensor | None:
        """Scores (Q, D) of the teacher: the ensemble of the ``lexical`` scores and the cosines of the initial model."""
        if self.teacher is None:
            return None
        passages, queries = self.teacher
        cosines = torch.from_numpy(queries[batch.examples] @ passages[batch.passages].T).to(self.device)
        return losses.teacher_scores(lexical, cosines, scale=self.settings.teacher_scale)

    # ------------------------------------------------------------------ validation
    def validate(self) -> None:
        """Measure nDCG@10 on the validation set and keep the best weights so far, the initial ones among them."""
        if not self.validation:
            return
        value = self.processes.broadcast(self.validation_ndcg() if self.processes.is_main else 0.0)
        self.validations.append({"step": float(self.done), "ndcg@10": value})
        if value > self.best["value"]:
            self.best = {"value": value, "step": self.done, "weights": self.copy_weights()}

    def validation_ndcg(self) -> float:
        """nDCG@10 of the validation titles over their pool, with documents encoded as they are for serving.

        Each title has one relevant passage, which ranks last among passages of the same score.
        """
        vectors = self.model.encode_texts([self.data.texts[p] for p in self.pool], "encoding passages (validation)")
        max_terms = self.encoder.encoding.max_terms
        learned = self.model.table.terms(vectors, np.arange(len(self.pool) + 1), max_terms)
        scores = (self.queries[self.validation] @ (self.floor[self.pool] + learned).T).toarray()
        column = {passage: index for index, passage in enumerate(self.pool)}
        relevant = [column[self.data.positives[i]] for i in self.validation]
        rank = (scores >= scores[np.arange(len(relevant)), relevant][:, None]).sum(1)
        return float(np.where(rank <= 10, 1 / np.log2(rank + 1), 0.0).mean())

    # ------------------------------------------------------------------ checkpoints and the result
    def copy_weights(self) -> dict[str, Tensor]:
        """A copy of the trained parameters on the CPU."""
        return {name: p.detach().cpu().clone() for name, p in self.parameters.items()}

    def _load_weights(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in weights.items():
                self.parameters[name].copy_(value)

    def _save_checkpoint(self) -> None:
        state = {name: getattr(self, name) for name in ("identity", "done", "history", "validations", "best")}
        state |= {"weights": self.copy_weights(), "optimizer": self.optimizer.state_dict()}
        checkpoint.save(self.work, state | {"micro_batch": self.model.micro_batch})

    def _resume(self) -> None:
        state = checkpoint.load(self.work, self.identity)
        if state is None:
            return
        self._load_weights(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done, self.history = state["done"], state["history"]
        self.validations, self.best = state["validations"], state["best"]
        self.model.micro_batch = state["micro_batch"]

    def finish(self, output: Path) -> dict[str, Any]:
        """Restore the best weights, save the encoder with its model card, and return the card."""
        if self.validations:
            self._load_weights(self.best["weights"])
        every = max(1, len(self.history) // CURVE_POINTS)
        curve = self.history[::every] + ([self.history[-1]] if (len(self.history) - 1) % every else [])
        tail = self.history[-max(1, len(self.history) // 10) :]
        averaged = ("loss", "active", "accuracy")
        card = {
            "config": self.settings.model_dump(mode="json"),
            "seed": self.seed,
            "data_sha256": self.data.sha256,
            "recipe": {name: value for name, value in self.data.recipe.items() if name != "settings"},
            "steps": self.done,
            "metrics": {
                "validation_ndcg@10": self.best["value"] if self.validations else None,
                "best_step": self.best["step"] if self.validations else self.done,
                **{f"train_{name}": round(sum(row[name] for row in tail) / len(tail), 6) for name in averaged},
            },
            "validations": self.validations,
            "losses": [{name: round(value, 6) for name, value in row.items()} for row in curve],
        }
        if self.processes.is_main:
            picture = plots.learning_curves([*self.validations, *curve])
            self.encoder.save(output, {"card.json": files.as_json(card), "curves.svg": picture})
            checkpoint.remove(self.work)
        self.processes.barrier()
        return card
