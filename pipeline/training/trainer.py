"""Training: batches through the student, losses, checkpoints, an eye on health, and a model at the end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.artifacts import content_hash
from pipeline.config.encoder import EncoderConfig
from pipeline.config.training import TrainingConfig
from pipeline.encoder import Encoder
from pipeline.encoder import folder as files
from pipeline.encoder.dense import DenseEncoder
from pipeline.encoder.memory import out_of_memory
from pipeline.encoder.statistics import corpus_statistics
from pipeline.errors import BadInputError, ConfigError
from pipeline.progress import Progress, silent
from pipeline.training import checkpoint, curves, data, heads, health, losses
from pipeline.training.asking import answered, ask
from pipeline.training.champion import Champion
from pipeline.training.data import Batch, TrainingData
from pipeline.training.objective import Relation, Sampled, objective
from pipeline.training.processes import Processes
from pipeline.training.student import Student
from pipeline.training.teacher import bm25_matrix
from pipeline.training.wholes import Pairs

T = TypeVar("T")
LOGGED = 200
"""Points of a loss curve that a card keeps."""


@dataclass(frozen=True)
class TrainResult:
    """A finished training: the model's folder, its card, and how long it took (which is not part of the card)."""

    folder: Path
    card: dict[str, Any]
    steps: int
    seconds: float
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    training_set: Path,
    start: Path,
    output: Path,
    settings: TrainingConfig,
    progress: Progress = silent,
    *,
    work: Path | None = None,
    teacher: Path | None = None,
    facts: dict[str, Any] | None = None,
    encoding: EncoderConfig | None = None,
    champion: Path | None = None,
) -> TrainResult:
    """Train the encoder in ``start`` on a training set and save it to ``output`` with ``card.json``, ``curves.svg``.

    ``work`` keeps the checkpoint: the same call after a kill goes on from it and ends with the same weights (on one
    device). ``teacher`` is a dense encoder's folder, for ``settings.teacher`` dense or both; ``champion`` an encoder's,
    for ``settings.champion_weight``. ``facts`` go into the card. Raises CollapsedError when the model is lost,
    BadInputError for what does not fit, ConfigError for settings that cannot be met; then nothing is saved.
    """
    began = time.monotonic()
    processes = Processes()
    run = _Run(
        training_set, start, settings, progress if processes.main else silent,
        work or output.with_name(f".{output.name}.work"), teacher, encoding, processes, champion,
    )  # fmt: skip
    run.steps()
    card = run.finish(output, facts or {})
    return TrainResult(output, card, run.done, time.monotonic() - began, run.history)


class _Run:
    """The state of one training."""

    def __init__(
        self, training_set: Path, start: Path, settings: TrainingConfig, progress: Progress, work: Path,
        teacher: Path | None, encoding: EncoderConfig | None, processes: Processes | None = None,
        champion: Path | None = None,
    ) -> None:  # fmt: skip
        self.processes = processes or Processes()
        self.cached = settings.gradient_cache
        if settings.teacher in ("dense", "both") and _distils(settings) and teacher is None:
            raise ConfigError(f"training.teacher is {settings.teacher}, but no dense encoder was named: set it to bm25")
        self.settings, self.progress, self.work = settings, progress, work
        progress("reading the training set", 0, 0)
        self.data: TrainingData = data.read(training_set)
        torch.manual_seed(settings.seed)
        encoder = Encoder.load(start, device=self.processes.device)
        self.student = Student(encoder, settings)
        self.passages = self.student.tokens(self.data.texts, min(settings.max_length, encoder.max_length))
        self._weigh_queries()
        self.queries = self.student.queries(self.data.queries)
        length = min(settings.query_max_length, encoder.max_length)
        self.query_tokens = self.student.tokens(self.data.queries, length) if settings.query_terms else []
        parts = data.split(self.data, settings.validation_queries, settings.seed)
        self.watched, self.pool = parts.watched, parts.pool
        trained = [i for i in parts.trained if self.queries.indptr[i + 1] > self.queries.indptr[i]]
        self.plan = data.plan(self.data, trained, settings, self.pool)
        self.df_share = self._df_share()
        self.bm25 = self._bm25()
        self.lexical = encoding.lexical.times(settings.floor_share) if encoding and encoding.lexical else None
        heads.check(settings, self.lexical, encoder)
        self.floor = self._floor()
        self.trained = trained
        self.champion = None
        if champion is not None and settings.champion_weight > 0:
            self.champion = Champion(champion, encoder.vocabulary_hash, settings, self.processes)
        self.identity = content_hash(
            {
                "data": self.data.sha256,
                "start": _folder_identity(start),
                "settings": settings.model_dump(mode="json"),
                "encoding": encoding.model_dump(mode="json") if encoding else None,
                "champion": _folder_identity(champion) if champion and self.champion else None,
            }
        )
        self.dense = self._dense(teacher)
        self.weights = self.student.trainable()
        head = self.student.head()
        ids = {id(p) for p in head}
        others = [p for p in self.weights.values() if id(p) not in ids]
        groups: list[dict[str, Any]] = [
            {"params": others, "lr": settings.learning_rate, "weight_decay": settings.weight_decay},
            {"params": head, "lr": settings.head_learning_rate, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW([g for g in groups if g["params"]], betas=(0.9, 0.98), fused=True)
        self.rates = [g["lr"] for g in self.optimizer.param_groups]
        self.ramp_steps = round(settings.flops_ramp * settings.steps)
        self.started = (
            {n: p.detach().cpu().clone() for n, p in self.weights.items()}
            if settings.soup or settings.soup_choices
            else {}
        )
        self.done = 0
        self.history: list[dict[str, float]] = []
        self.looks: list[dict[str, float]] = []
        self.best: dict[str, Any] = {"value": -1.0, "step": 0, "weights": None}

    # ------------------------------------------------------------------ preparation
    def _weigh_queries(self) -> None:
        """The passages' statistics, where the start brings no query weights (a hub model)."""
        encoder = self.student.encoder
        free = encoder.query_weights[~encoder.blocked]
        if free.size and (free == free[0]).all():
            encoder.know(corpus_statistics(encoder, self.data.texts))

    def _df_share(self) -> Tensor:
        df = np.bincount(
            [t for held in self.passages for t in set(held)], minlength=len(self.student.encoder.vocabulary)
        )
        return torch.from_numpy((df / len(self.passages)).astype(np.float32))

    def _bm25(self) -> sp.csr_matrix | None:
        if self.settings.teacher not in ("bm25", "both") or not _distils(self.settings):
            return None
        blocked = self.student.encoder.blocked
        return bm25_matrix([[t for t in held if not blocked[t]] for held in self.passages], len(blocked))

    def _floor(self) -> sp.csr_matrix | None:
        """The lexical floor in training of each passage, of its whole text as in serving; None where there is none."""
        encoder = self.student.encoder
        encoder.lexical = self.lexical
        return encoder.lexical_floor(self.data.texts) if self.lexical else None

    def _dense(self, folder: Path | None) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Teacher vectors of the passages and queries that the plan uses, kept beside the checkpoint."""
        if self.settings.teacher not in ("dense", "both") or not _distils(self.settings):
            return None
        assert folder is not None
        kept = self.work / f"teacher-{content_hash([self.identity, _folder_identity(folder)])[:20]}.npz"
        if not self.processes.main:
            self.processes.wait()
        if kept.exists():
            if self.processes.main:
                self.processes.wait()
            with np.load(kept, allow_pickle=False) as held:
                return held["passages"], held["queries"]
        encoder = DenseEncoder(folder, self.student.encoder.device, self.settings.max_length)
        found = []
        for what, texts, used in (
            ("passage", self.data.texts, sorted({p for b in self.plan for p in b.passages})),
            ("query", self.data.queries, sorted({i for b in self.plan for i in b.examples})),
        ):
            vectors = encoder.encode(
                [texts[i] for i in used], f"{what}: ", lambda done, total: self.progress("dense teacher", done, total)
            )
            table = np.zeros((len(texts), vectors.shape[1]), np.float32)
            table[used] = vectors
            found.append(table)
        self.work.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".partial.npz")
        np.savez(partial, passages=found[0], queries=found[1])
        partial.replace(kept)
        self.processes.wait()
        return found[0], found[1]

    # ------------------------------------------------------------------ steps
    def steps(self) -> None:
        """Run what is left of the plan."""
        self._resume()
        settings = self.settings
        began, first = time.monotonic(), self.done
        while self.done < len(self.plan) and not self._stalled():
            terms = self._step(self.plan[self.done], self.done)
            self.done += 1
            health.check(terms, self.done, settings, len(self.student.free), self.ramp_steps)
            self.history.append({"step": float(self.done), **terms})
            pace = (self.done - first) / max(time.monotonic() - began, 1e-9)
            shown = " ".join(f"{name} {value:.3g}" for name, value in terms.items() if name != "empty")
            left = (len(self.plan) - self.done) / pace
            self.progress(f"training: {shown}; {pace:.2f} steps/s, {left:.0f} s left", self.done, len(self.plan))
            if self.watched and (self.done % settings.validate_every == 0 or self.done == len(self.plan)):
                self._look()
            if self.processes.main and self.done % settings.checkpoint_every == 0 and self.done < len(self.plan):
                self._checkpoint()

    def _stalled(self) -> bool:
        """Whether the last ``patience`` looks brought nothing better."""
        values = [row["ndcg@10"] for row in self.looks]
        patience = self.settings.patience
        return len(values) > patience and max(values[-patience:]) <= max(values[:-patience])

    def _rate(self, step: int) -> float:
        """Linear rise over the warm-up, then linear fall to 0."""
        warm = round(self.settings.warmup_share * self.settings.steps)
        if step < warm:
            return (step + 1) / (warm + 1)
        return max(0.0, (self.settings.steps - step) / max(1, self.settings.steps - warm))

    def _step(self, batch: Batch, step: int) -> dict[str, float]:
        settings, student = self.settings, self.student
        terms = self._fitting(lambda: self._gradients(batch, step))
        self.processes.add_up(self.weights.values())
        norm = torch.nn.utils.clip_grad_norm_(list(self.weights.values()), settings.clip_norm)
        health.check_gradient(float(norm), step + 1)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * self._rate(step)
        self.optimizer.step()
        student.encoder.module.block()
        return terms

    def _gradients(self, batch: Batch, step: int) -> dict[str, float]:
        """The batch's loss terms; the weights have the gradients of this process's passages.

        The loss is carried back to the documents' weights first and from there through each micro-batch. With
        gradient caching (Gao et al. 2021) those are encoded again, so that one micro-batch's activations are held.
        """
        settings, student = self.settings, self.student
        device = student.encoder.device
        queries = self.queries[batch.examples]
        self.optimizer.zero_grad(set_to_none=True)
        asked = ask(student, queries, self._query_tokens(batch.examples), random.Random(f"{settings.seed}-{step}"))
        columns = asked.columns
        ids = torch.from_numpy(columns.ids).to(device)
        relation, teacher = self._relation(batch), self._teacher(batch, queries)
        ramp = losses.quadratic_ramp(step + 1, self.ramp_steps)
        share = self.df_share[columns.ids].to(device)
        floor = None
        if self.floor is not None:
            floor = torch.from_numpy(self.floor[batch.passages][:, columns.ids].toarray()).to(device)

        tokens = [self.passages[i] for i in batch.passages]
        parts = student.micro_batches(tokens, self.processes.count)
        own = self.processes.share(parts)
        with torch.set_grad_enabled(not self.cached):
            found = [student.logits([tokens[i] for i in part], ids) for part in own]
        documents = self.processes.gather(found, parts, len(columns.ids)).requires_grad_()
        held = Sampled(documents, columns.exact, columns.scale, share, floor, self.lexical)
        loss, terms = objective(asked.weights, held, relation, teacher, settings, ramp, asked.learned)
        if self.champion is not None:
            value = self.champion.term(tokens, parts, ids, asked.weights, held, relation)
            loss = loss + settings.champion_weight * value
            terms |= {"champion": float(value.detach()), "loss": float(loss.detach())}
        loss.backward()  # type: ignore[no-untyped-call]
        assert documents.grad is not None
        for part, logits in zip(own, found, strict=True):
            again = student.logits([tokens[i] for i in part], ids) if self.cached else logits
            again.backward(documents.grad[part])  # type: ignore[no-untyped-call]
        asked.backward(self.processes.count)
        return terms

    def _query_tokens(self, examples: Sequence[int]) -> list[list[int]]:
        """Token ids of the examples' queries, where the model reads them."""
        return [self.query_tokens[i] for i in examples] if self.query_tokens else []

    def _fitting(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, tried again with half the passages at once while memory does not suffice."""
        while True:
            try:
                return work()
            except Exception as error:
                if not out_of_memory(error):
                    raise
                said = (str(error).splitlines() or ["out of memory"])[0]
            # Here the error is gone, and with it what it kept in memory.
            student = self.student
            self.optimizer.zero_grad(set_to_none=True)
            if student.micro_batch == 1 or self.processes.count > 1:
                raise BadInputError(
                    f"memory does not suffice for {student.micro_batch} passages of {self.settings.max_length} tokens "
                    f"({said}): lower training.micro_batch, max_length or columns, or set training.gradient_cache or "
                    "gradient_checkpointing"
                )
            self.cached, student.micro_batch = True, student.micro_batch // 2
            if student.encoder.device.type == "cuda":
                torch.cuda.empty_cache()
            self.progress(f"memory does not suffice: {student.micro_batch} passages at once from here on", 0, 0)

    def _relation(self, batch: Batch) -> Relation:
        device = self.student.encoder.device
        place = {position: column for column, position in enumerate(batch.passages)}
        stories = np.array([self.data.stories[p] for p in batch.passages])
        positive = np.array([place[self.data.positives[i]] for i in batch.examples])
        # A batch has one passage of a story; two examples may share a positive, which is an answer to both.
        excluded = stories[None, :] == stories[positive][:, None]
        excluded[np.arange(len(positive)), positive] = False
        hard = np.zeros_like(excluded)
        for row, index in enumerate(batch.examples):
            hard[row, [place[p] for p in self.data.hard[index] if p in place]] = True
        weight = np.array([self.data.weights[i] for i in batch.examples], np.float32)
        tensors = [torch.from_numpy(a).to(device) for a in (positive, excluded, hard & ~excluded, weight)]
        return Relation(*tensors)

    def _teacher(self, batch: Batch, queries: sp.csr_matrix) -> Tensor | None:
        found: list[Tensor] = []
        if self.bm25 is not None:
            scores = (queries > 0).astype(np.float32) @ self.bm25[batch.passages].T
            found.append(torch.from_numpy(scores.toarray()))
        if self.dense is not None:
            passages, asked = self.dense
            found.append(torch.from_numpy(asked[batch.examples] @ passages[batch.passages].T))
        if not found:
            return None
        return losses.teacher_scores(*found, scale=self.settings.teacher_scale).to(self.student.encoder.device)

    # ------------------------------------------------------------------ watching
    def _look(self) -> None:
        """Watch: the best weights so far are kept."""
        value = self.processes.agree(self._fitting(self.watched_value) if self.processes.main else 0.0)
        self.looks.append({"step": float(self.done), "ndcg@10": value})
        self.history[-1]["watched_ndcg"] = value
        if value > self.best["value"]:
            kept = {n: p.detach().cpu().clone() for n, p in self.weights.items()}
            self.best = {"value": value, "step": self.done, "weights": kept}

    def watched_value(self) -> float:
        """nDCG@10 of the watched titles over their passages and as many rivals, none of them trained on."""
        pool = self.pool
        place = {position: row for row, position in enumerate(pool)}
        queries = answered(self.student, self.queries[self.watched], self._query_tokens(self.watched))
        own = np.unique(queries.indices).astype(np.int64)
        ids = torch.from_numpy(own).to(self.student.encoder.device)
        found = torch.zeros(len(pool), len(own))
        with torch.no_grad():
            for part, logits in self.student.batches([self.passages[i] for i in pool], ids):
                found[part] = torch.log1p(torch.relu(logits)).float().cpu()
        if self.floor is not None and self.lexical is not None:
            served = self.floor[pool][:, own].toarray() / self.settings.floor_share
            found = self.lexical.under(found, torch.from_numpy(served))
        scores = queries[:, own].toarray() @ found.numpy().T
        target = np.array([place[self.data.positives[i]] for i in self.watched])
        return _ndcg(scores, target)

    # ------------------------------------------------------------------ keeping
    def _checkpoint(self) -> None:
        state = {
            "identity": self.identity,
            "done": self.done,
            "weights": {n: p.detach().cpu() for n, p in self.weights.items()},
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "looks": self.looks,
            "best": self.best,
            "cached": self.cached,
            "micro_batch": self.student.micro_batch,
        }
        checkpoint.save(self.work, state)

    def _resume(self) -> None:
        state = checkpoint.load(self.work, self.identity)
        if state is None:
            return
        self._put(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done, self.history = state["done"], state["history"]
        self.looks, self.best = state["looks"], state["best"]
        self.cached, self.student.micro_batch = state["cached"], state["micro_batch"]

    def _put(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in weights.items():
                self.weights[name].copy_(value)

    def _soup(self) -> dict[str, Any]:
        """Mix the start's weights into the result; the share that was taken and, where it was chosen, what by.

        Of ``soup_choices`` shares the one with the best watched value wins, the smallest of equals.
        """
        settings = self.settings
        if not self.started:
            return {"share": 0.0}
        ended = {n: p.detach().cpu().clone() for n, p in self.weights.items()}
        choices = {settings.soup: 0.0}
        if settings.soup_choices and self.watched:
            choices = {k / settings.soup_choices: 0.0 for k in range(settings.soup_choices)}
            for share in choices:
                self._mix(ended, share)
                choices[share] = self.processes.agree(self.watched_value() if self.processes.main else 0.0)
        best = max(choices, key=lambda share: (choices[share], -share))
        self._mix(ended, best)
        return {"share": best, "watched_ndcg@10": choices if len(choices) > 1 else None}

    def _mix(self, ended: dict[str, Tensor], share: float) -> None:
        self._put({n: (1 - share) * value + share * self.started[n] for n, value in ended.items()})

    def _fit_heads(self) -> dict[str, Any]:
        """Fit what is wanted beside to the model as it will be saved; what the card says of it."""
        if not heads.wanted(self.settings) or not self.processes.main:
            return {}
        assert self.floor is not None
        length = min(self.settings.query_max_length, self.student.encoder.max_length)
        asked = self.student.tokens([self.data.queries[i] for i in self.trained], length)
        pairs = Pairs.of(self.data, self.trained, self.queries, asked, self.passages, self.floor)
        return heads.fit(self.student, pairs, self.progress, self._fitting)

    def finish(self, output: Path, facts: dict[str, Any]) -> dict[str, Any]:
        """Take the best weights, mix in the start's where configured, and save the model with its card."""
        if self.best["weights"] is not None and self.best["step"] != self.done:
            self._put(self.best["weights"])
        souped = self._soup()
        fitted = self._fit_heads()
        every = max(1, len(self.history) // LOGGED)
        shown = self.history[::every] + ([self.history[-1]] if (len(self.history) - 1) % every else [])
        tail = self.history[-max(1, len(self.history) // 10) :]
        numbers = ("loss", "active", "learned", "ranked_first")
        card = {
            "kind": "trained",
            **facts,
            "config": self.settings.model_dump(mode="json"),
            "data_sha256": self.data.sha256,
            "recipe": {k: v for k, v in self.data.recipe.items() if k != "settings"},
            "steps": self.done,
            "metrics": {
                "watched_ndcg@10": self.best["value"] if self.looks else None,
                "best_step": self.best["step"] if self.looks else self.done,
                **{f"train_{n}": round(sum(row[n] for row in tail) / len(tail), 6) for n in numbers},
            },
            "soup": souped,
            **fitted,
            "looks": self.looks,
            "losses": [{k: round(v, 6) for k, v in row.items()} for row in shown],
        }
        if self.processes.main:
            written = {"curves.svg": curves.draw(shown), "card.json": files.as_json(card)}
            self.student.encoder.save(output, written)
            checkpoint.remove(self.work)
        self.processes.wait()
        return card


def _distils(settings: TrainingConfig) -> bool:
    return settings.distil_weight > 0 or settings.margin_mse_weight > 0


def _ndcg(scores: NDArray[np.float32], target: Sequence[int] | NDArray[np.int64], depth: int = 10) -> float:
    """Mean nDCG of one relevant document each; ties count against it."""
    own = scores[np.arange(len(target)), target][:, None]
    rank = (scores >= own).sum(1)
    return float(np.where(rank <= depth, 1 / np.log2(rank + 1), 0.0).mean())


def _folder_identity(folder: Path) -> str:
    """The identity of a model folder: its files' names, sizes and, for the weights, bytes."""
    from pipeline.artifacts import file_sha256

    return content_hash(
        {p.relative_to(folder).as_posix(): file_sha256(p) for p in sorted(folder.rglob("*.safetensors"))}
    )
