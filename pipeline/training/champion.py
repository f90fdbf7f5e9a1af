"""The champion as a teacher: what is in service ranks the same batch, and the student is drawn towards its scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pipeline.config.training import TrainingConfig
from pipeline.encoder import Encoder
from pipeline.errors import BadInputError
from pipeline.training import losses
from pipeline.training.objective import Relation, Sampled
from pipeline.training.processes import Processes
from pipeline.training.student import Student


class Champion:
    """A frozen encoder of the student's vocabulary."""

    def __init__(self, folder: Path, vocabulary_hash: str, settings: TrainingConfig, processes: Processes) -> None:
        """Raises BadInputError where its vocabulary is another than the student's."""
        encoder = Encoder.load(folder, device=processes.device)
        if encoder.vocabulary_hash != vocabulary_hash:
            raise BadInputError(
                f"the champion {folder} has another vocabulary than the model in training: set "
                "training.champion_weight to 0 until a model of the new vocabulary is in service"
            )
        encoder.module.requires_grad_(False)
        self._student = Student(encoder, settings.model_copy(update={"gradient_checkpointing": False}))
        self._settings, self._processes = settings, processes

    def term(
        self, tokens: Sequence[Sequence[int]], parts: Sequence[list[int]], columns: Tensor, queries: Tensor,
        documents: Sampled, relation: Relation,
    ) -> Tensor:  # fmt: skip
        """``KL(champion || student)`` over the batch's documents, mean over queries.

        ``tokens`` of the passages, ``parts`` their micro-batches, ``columns`` (C,) and ``queries`` (Q, C) as the
        student has them. Only the queries' own dimensions are computed.
        """
        exact = columns[: documents.exact]
        own = self._processes.share(parts)
        with torch.no_grad():
            found = [self._student.logits([tokens[i] for i in part], exact) for part in own]
            logits = self._processes.gather(found, parts, len(exact))
            floor = None if documents.floor is None else documents.floor[:, : documents.exact]
            share = documents.df_share[: documents.exact]
            held = Sampled(logits, documents.exact, 1.0, share, floor, documents.lexical)
            theirs = queries[:, : documents.exact] @ held.weights.T / self._settings.temperature
        return losses.kl_distillation(
            queries @ documents.weights.T, theirs.masked_fill(relation.excluded, -torch.inf),
            temperature=self._settings.temperature, weight=relation.weight,
        )  # fmt: skip
