"""Fine-tuning: batches through the student, losses, checkpoints, an eye on quality and health, an encoder at the end.

A batch's score is ``queries @ (floor + learned).T``. Queries, floor, table, thresholds and gain are fixed; the gradient
flows through the passages' dense vectors alone.
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

from pipeline.artifacts import content_hash, file_sha256
from pipeline.config.training import FineTuningConfig
from pipeline.encoder import Encoder
from pipeline.encoder import folder as files
from pipeline.encoder.statistics import corpus_statistics
from pipeline.encoder.vocabulary import MANIFEST
from pipeline.errors import ConfigError
from pipeline.progress import Progress, silent
from pipeline.training.finetune import checkpoint, collapse, curves, data, losses
from pipeline.training.finetune.data import Batch
from pipeline.training.finetune.distributed import Processes
from pipeline.training.finetune.model import Student
from pipeline.training.finetune.objective import Relation, objective

LOGGED = 200
"""Points of a loss curve that a card keeps."""


@dataclass(frozen=True)
class FineTuned:
    """A finished training: the encoder's folder, its card, steps taken, seconds it took (no part of the card), and
    every step's loss terms by name."""

    folder: Path
    card: dict[str, Any]
    steps: int
    seconds: float
    history: list[dict[str, float]]


def fine_tune(
    training_set: Path, start: Path, output: Path, settings: FineTuningConfig, progress: Progress = silent, *,
    seed: int, work: Path, facts: dict[str, Any] | None = None,
) -> FineTuned:  # fmt: skip
    """Fine-tune the dense encoder of the encoder in ``start`` and save it all to ``output``, with ``card.json`` and
    ``curves.svg`` in it; tokenizer, table, query weights and encoding stay the start's.

    ``work`` keeps the checkpoint: the same call after a kill goes on from it and ends with the same weights (on one
    device). ``facts`` go into the card. Raises CollapsedError when the model is lost, BadInputError for what does not
    fit, ConfigError for settings that cannot be met; then nothing is saved.
    """
    began = time.monotonic()
    run = _Run(training_set, start, settings, progress, seed, work)
    run.steps()
    card = run.finish(output, facts or {})
    return FineTuned(output, card, run.done, time.monotonic() - began, run.history)


class _Run:
    """The state of one training."""

    def __init__(
        self, training_set: Path, start: Path, settings: FineTuningConfig, progress: Progress, seed: int, work: Path
    ) -> None:
        if settings.steps < 1:
            raise ConfigError("training.fine_tuning.steps is 0, so there is nothing to do: raise it")
        self.processes = Processes()
        self.settings, self.seed, self.work = settings, seed, work
        self.progress = progress if self.processes.main else silent
        self.progress("reading the training set", 0, 0)
        self.data = data.read(training_set)
        self.encoder = Encoder.load(start, device=self.processes.device)
        self.student = Student(self.encoder, self.data.texts, settings, self.processes.count, self.progress)
        self.device = self.student.dense.device
        self._weigh_terms()
        trained, self.watched, self.pool = data.split(self.data, settings.validation_queries, seed)
        askable = [i for i in trained if self.queries.indptr[i + 1] > self.queries.indptr[i]]
        self.plan = data.plan(self.data, askable, settings, seed, self.pool)
        self.teacher = self._teacher_vectors()
        described = {"data": self.data.sha256, "start": file_sha256(start / MANIFEST), "seed": seed}
        self.identity = content_hash({**described, "settings": settings.model_dump(mode="json")})
        self.weights = self.student.trainable()
        decayed = [p for p in self.weights.values() if p.dim() > 1]
        others = [p for p in self.weights.values() if p.dim() <= 1]  # biases and norms
        groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), fused=True)
        self.ramp_steps = round(settings.flops_ramp * settings.steps)
        self.done = 0
        self.history: list[dict[str, float]] = []
        self.looks: list[dict[str, float]] = []
        self.best: dict[str, Any] = {"value": -1.0, "step": 0, "weights": {}}

    # ------------------------------------------------------------------ preparation
    def _weigh_terms(self) -> None:
        """Queries (Q, V) and floors (P, V) by the training texts' own statistics; the encoder keeps its own."""
        encoder = self.encoder
        weights, encoding = encoder.query_weights, encoder.encoding
        encoder.set_statistics(corpus_statistics(encoder, self.data.texts))
        self.queries = encoder.encode_queries(self.data.queries)
        self.floor = encoder.lexical_floor(self.data.texts)
        encoder.set_query_weights(weights)
        encoder.encoding = encoding
        share = np.bincount(self.floor.indices, minlength=self.floor.shape[1]) / len(self.data.texts)
        self.df_share = torch.from_numpy(share.astype(np.float32)).to(self.device)

    def _teacher_vectors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """The start's vectors of passages (P, H) and queries (Q, H); those that the plan does not use are 0."""
        if self.settings.distil_weight <= 0 and self.settings.margin_mse_weight <= 0:
            return None
        dense = self.student.dense
        used = sorted({p for batch in self.plan for p in batch.passages})
        passages: NDArray[np.float32] = np.zeros((len(self.data.texts), dense.width), np.float32)
        passages[used] = self.student.vectors([self.data.texts[p] for p in used], "the teacher's passages")
        used = sorted({i for batch in self.plan for i in batch.examples})
        queries: NDArray[np.float32] = np.zeros((len(self.data.queries), dense.width), np.float32)
        queries[used] = dense.encode(
            [self.data.queries[i] for i in used], "query",
            lambda done, total: self.progress("the teacher's queries", done, total),
        )  # fmt: skip
        return passages, queries

    # ------------------------------------------------------------------ steps
    def steps(self) -> None:
        """Run what is left of the plan."""
        self._resume()
        settings, last = self.settings, len(self.plan)
        if self.done == 0:
            self._look()
        began, first = time.monotonic(), self.done
        while self.done < last:
            terms = self._step(self.plan[self.done], self.done)
            self.done += 1
            collapse.check(terms, self.done, settings, int((~self.encoder.blocked).sum()), self.ramp_steps)
            self.history.append({"step": float(self.done), **terms})
            pace = (self.done - first) / max(time.monotonic() - began, 1e-9)
            shown = " ".join(f"{name} {value:.3g}" for name, value in terms.items() if name != "empty")
            left = (last - self.done) / pace
            self.progress(f"fine-tuning: {shown}; {pace:.2f} steps/s, {left:.0f} s left", self.done, last)
            if self.done % settings.validate_every == 0 or self.done == last:
                self._look()
            if self.processes.main and self.done % settings.checkpoint_every == 0 and self.done < last:
                self._checkpoint()

    def _rate(self, step: int) -> float:
        """Share of the learning rate: a linear rise over the warm-up, then a linear fall to 0."""
        steps = self.settings.steps
        warm = round(self.settings.warmup_share * steps)
        return (step + 1) / (warm + 1) if step < warm else (steps - step) / max(1, steps - warm)

    def _step(self, batch: Batch, step: int) -> dict[str, float]:
        """Take the step number ``step`` (from 0) with a batch; its loss terms."""
        terms = self.student.fitting(lambda: self._gradients(batch, step))
        self.processes.add_up(self.weights.values())
        norm = torch.nn.utils.clip_grad_norm_(list(self.weights.values()), self.settings.clip_norm)
        collapse.check_gradient(float(norm), step + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * self._rate(step)
        self.optimizer.step()
        return terms

    def _gradients(self, batch: Batch, step: int) -> dict[str, float]:
        """The batch's loss terms; the weights have the gradients of this process's passages.

        Gradient caching (Gao et al. 2021): the loss is carried back to the passages' vectors first, and from there
        through each micro-batch, which is encoded again, so that one micro-batch's activations are in memory at once.
        """
        student = self.student
        self.optimizer.zero_grad(set_to_none=True)
        tokens = student.tokens([self.data.texts[p] for p in batch.passages])
        parts = student.micro_batches(tokens)
        own = self.processes.share(parts)
        again = len(own) > 1  # a single micro-batch's activations may as well stay
        with torch.set_grad_enabled(not again):
            encoded = [student.encode([tokens[i] for i in part]) for part in own]
        vectors = self.processes.gather(encoded, parts, student.dense.width).requires_grad_()
        queries, floor = (
            torch.from_numpy(matrix.toarray()).to(self.device)
            for matrix in (self.queries[batch.examples], self.floor[batch.passages])
        )
        loss, terms = objective(
            queries, student.learned(vectors), floor, Relation.of(self.data, batch, self.device),
            self._teacher_scores(batch, queries @ floor.T), self.df_share, self.settings,
            losses.quadratic_ramp(step + 1, self.ramp_steps),
        )  # fmt: skip
        loss.backward()  # type: ignore[no-untyped-call]
        assert vectors.grad is not None
        for part, once in zip(own, encoded, strict=True):
            output = student.encode([tokens[i] for i in part]) if again else once
            output.backward(vectors.grad[part])  # type: ignore[no-untyped-call]
        return terms

    def _teacher_scores(self, batch: Batch, lexical: Tensor) -> Tensor | None:
        """The mean (Q, D) of ``lexical`` scores and the start's cosines, scaled."""
        if self.teacher is None:
            return None
        passages, queries = self.teacher
        cosines = torch.from_numpy(queries[batch.examples] @ passages[batch.passages].T).to(self.device)
        return losses.teacher_scores(lexical, cosines, scale=self.settings.teacher_scale)

    # ------------------------------------------------------------------ watching
    def _look(self) -> None:
        """Watch: the best weights so far are kept, the start's among them."""
        if not self.watched:
            return
        value = self.processes.agree(self.watched_ndcg() if self.processes.main else 0.0)
        self.looks.append({"step": float(self.done), "ndcg@10": value})
        if value > self.best["value"]:
            self.best = {"value": value, "step": self.done, "weights": self._copy()}

    def watched_ndcg(self) -> float:
        """nDCG@10 of the watched titles over their pool, none of it trained on, with documents as they are served.

        The one relevant document comes last among those of its score.
        """
        vectors = self.student.vectors([self.data.texts[p] for p in self.pool], "watched passages")
        most = self.encoder.encoding.max_terms
        learned = self.student.table.terms(vectors, np.arange(len(self.pool) + 1), most)
        scores = (self.queries[self.watched] @ (self.floor[self.pool] + learned).T).toarray()
        place = {position: column for column, position in enumerate(self.pool)}
        target = [place[self.data.positives[i]] for i in self.watched]
        rank = (scores >= scores[np.arange(len(target)), target][:, None]).sum(1)
        return float(np.where(rank <= 10, 1 / np.log2(rank + 1), 0.0).mean())

    # ------------------------------------------------------------------ keeping
    def _copy(self) -> dict[str, Tensor]:
        return {name: p.detach().cpu().clone() for name, p in self.weights.items()}

    def _put(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in weights.items():
                self.weights[name].copy_(value)

    def _checkpoint(self) -> None:
        state = {name: getattr(self, name) for name in ("identity", "done", "history", "looks", "best")}
        state |= {"weights": self._copy(), "optimizer": self.optimizer.state_dict()}
        checkpoint.save(self.work, state | {"micro_batch": self.student.micro_batch})

    def _resume(self) -> None:
        state = checkpoint.load(self.work, self.identity)
        if state is None:
            return
        self._put(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done, self.history = state["done"], state["history"]
        self.looks, self.best = state["looks"], state["best"]
        self.student.micro_batch = state["micro_batch"]

    def finish(self, output: Path, facts: dict[str, Any]) -> dict[str, Any]:
        """Take the best weights and save the encoder with its card, which is returned."""
        if self.looks:
            self._put(self.best["weights"])
        every = max(1, len(self.history) // LOGGED)
        shown = self.history[::every] + ([self.history[-1]] if (len(self.history) - 1) % every else [])
        tail = self.history[-max(1, len(self.history) // 10) :]
        averaged = ("loss", "active", "ranked_first")
        card = {
            **facts,
            "config": self.settings.model_dump(mode="json"),
            "seed": self.seed,
            "data_sha256": self.data.sha256,
            "recipe": {name: value for name, value in self.data.recipe.items() if name != "settings"},
            "steps": self.done,
            "metrics": {
                "watched_ndcg@10": self.best["value"] if self.looks else None,
                "best_step": self.best["step"] if self.looks else self.done,
                **{f"train_{name}": round(sum(row[name] for row in tail) / len(tail), 6) for name in averaged},
            },
            "looks": self.looks,
            "losses": [{name: round(value, 6) for name, value in row.items()} for row in shown],
        }
        if self.processes.main:
            beside = {"card.json": files.as_json(card), "curves.svg": curves.draw([*self.looks, *shown])}
            self.encoder.save(output, beside)
            checkpoint.remove(self.work)
        self.processes.wait()
        return card
