"""What goes wrong around a training (memory, disk, gradients, inputs) ends well or in a sentence; several processes."""

import json
import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from pipeline.encoder import Encoder
from pipeline.encoder.dense import DenseEncoder
from pipeline.errors import BadInputError
from pipeline.progress import silent
from pipeline.training.finetune import CollapsedError, checkpoint
from pipeline.training.finetune.collapse import check_gradient
from pipeline.training.finetune.model import SparseModel
from pipeline.training.finetune.trainer import Trainer
from tests.unit.training.test_trainer import ROOT, parameters, run, settings, weights


@contextmanager
def files_of_at_most(size: int):
    """The system refuses to write a byte beyond ``size`` into any file, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def allocate_too_much(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """More than ``most`` passages at once ask the real allocator for more than there is; returns what was tried."""
    plain, tried = SparseModel.encode, []

    def encode(self, tokens):
        tried.append(len(tokens))
        if len(tokens) > most:
            torch.empty(1 << 50)
        return plain(self, tokens)

    monkeypatch.setattr(SparseModel, "encode", encode)
    return tried


def test_the_micro_batch_is_halved_until_memory_suffices(training_set, start, tmp_path, monkeypatch):
    chosen, steps, told = settings(micro_batch=8, distillation_weight=0.0, validation_queries=0), [], []

    def progress(what, done, total):
        told.append(what)

    for most in (8, 2):
        tried = allocate_too_much(monkeypatch, most)
        task = Trainer(training_set, start, chosen, progress, 13, tmp_path)
        terms = task.train_step(task.batches[0], 0)
        steps.append((terms, {name: p.grad for name, p in task.parameters.items()}))
    assert tried[:3] == [8, 4, 2]
    assert max(tried[2:]) == 2
    assert task.model.micro_batch == 2, "it is not tried again in later steps"
    assert "out of memory: the micro-batch is now 2 passages" in told
    (whole, gradients), (halved, others) = steps
    assert whole == pytest.approx(halved, rel=1e-4)
    for name, value in gradients.items():
        torch.testing.assert_close(value, others[name], rtol=1e-4, atol=1e-6, msg=name)


def test_memory_for_not_even_one_passage_is_a_sentence(training_set, start, tmp_path, monkeypatch):
    allocate_too_much(monkeypatch, 0)
    with pytest.raises(BadInputError, match=r"allocate memory.*lower training\.fine_tuning\.micro_batch"):
        run(training_set, start, tmp_path / "m", settings())
    assert not (tmp_path / "m").exists()


def test_encoding_goes_on_by_halves(start, monkeypatch):
    encoder = Encoder.load(start)
    texts = ["금리 인하", "코로나19 방역 대책", "축구", "", "수출 기업 주가"]
    expected = encoder.encode_documents(texts).toarray()
    plain = DenseEncoder.states

    def states(self, ids, mask):
        if len(ids) > 2:
            torch.empty(1 << 50)
        return plain(self, ids, mask)

    monkeypatch.setattr(DenseEncoder, "states", states)
    np.testing.assert_allclose(encoder.encode_documents(texts).toarray(), expected, atol=1e-2)


def test_a_full_disk_is_a_sentence_and_leaves_no_model(training_set, start, tmp_path):
    encoder = Encoder.load(start)
    with files_of_at_most(4096), pytest.raises(BadInputError, match="free some space"):
        encoder.save(tmp_path / "m")
    with files_of_at_most(4096), pytest.raises(BadInputError, match="free some space"):
        checkpoint.save(tmp_path / "work", {"weights": torch.zeros(10_000)})
    with files_of_at_most(4096), pytest.raises(BadInputError, match="free some space"):
        run(training_set, start, tmp_path / "n", settings())
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == []
    result = run(training_set, start, tmp_path / "n", settings())  # with space again, it is as if nothing was
    assert json.loads((result.folder / "card.json").read_text())["steps"] == 12


def test_a_card_is_there_whenever_the_model_is(training_set, start, tmp_path):
    result = run(training_set, start, tmp_path / "m", settings(steps=2))
    listed = json.loads((result.folder / "garam.json").read_text())["files"]
    assert {"card.json", "curves.svg", "document_0_Transformer/model.safetensors", "table.safetensors"} <= set(listed)


def test_gradients_that_are_lost_or_dead_stop_the_training(training_set, start, tmp_path):
    with pytest.raises(CollapsedError, match=r"lower training\.fine_tuning\.learning_rate"):
        run(training_set, start, tmp_path / "m", settings(learning_rate=1e30))
    assert not (tmp_path / "m").exists()
    dead = settings(in_batch_weight=0.0, distillation_weight=0.0, flops_weight=0.0)
    with pytest.raises(CollapsedError, match="nothing is learned"):
        run(training_set, start, tmp_path / "m", dead)
    with pytest.raises(CollapsedError, match="nan"):
        check_gradient(float("nan"), 1)


def test_pairs_of_one_story_are_refused(training_set, start, tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    rows = [json.loads(line) | {"story_id": 1} for line in (training_set / "passages.jsonl").read_text().splitlines()]
    (folder / "passages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "examples.jsonl").write_bytes((training_set / "examples.jsonl").read_bytes())
    with pytest.raises(BadInputError, match="all of one story"):
        run(folder, start, tmp_path / "m", settings(validation_queries=0))


def test_a_cut_checkpoint_is_refused(training_set, start, tmp_path):
    work = tmp_path / ".m.work"
    checkpoint.save(work, {"identity": "x", "weights": torch.zeros(1000)})
    whole = (work / checkpoint.NAME).read_bytes()
    (work / checkpoint.NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInputError, match="delete it"):
        run(training_set, start, tmp_path / "m", settings())


def test_two_processes_take_the_steps_of_one(training_set, start, tmp_path):
    chosen = settings(steps=6, learning_rate=1e-3, checkpoint_steps=2, validation_steps=3)
    (tmp_path / "run.py").write_text(f"""
import contextlib, sys
from pathlib import Path
import pipeline.encoder.dense
from pipeline.config.training import FineTuningConfig
from pipeline.training.finetune import fine_tune
pipeline.encoder.dense.autocast = lambda device: contextlib.nullcontext()
fine_tune(Path({str(training_set)!r}), Path({str(start)!r}), Path({str(tmp_path / "two")!r}),
          FineTuningConfig.model_validate({chosen.model_dump()!r}), seed=13, work=Path({str(tmp_path / "work")!r}))
banned = ("pipeline.store", "sqlalchemy", "psycopg", "opensearchpy")
assert not [name for name in sys.modules if name.startswith(banned)], "a machine that trains needs no database"
""")
    options = {"num_processes": 2, "num_machines": 1, "mixed_precision": "no", "dynamo_backend": "no",
               "main_process_port": 0}  # fmt: skip
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu"]
    launch += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, str(tmp_path / "run.py")], cwd=ROOT, env=environ, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    run(training_set, start, tmp_path / "one", chosen)
    assert weights(tmp_path / "one") != weights(start)
    cards = [json.loads((tmp_path / n / "card.json").read_text()) for n in ("one", "two")]
    first, second = (np.array([row["loss"] for row in card["losses"]]) for card in cards)
    np.testing.assert_allclose(first, second, rtol=1e-4)
    assert [row["step"] for row in cards[1]["validations"]] == [0, 3, 6]
    one, two = parameters(tmp_path / "one"), parameters(tmp_path / "two")
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=1e-3, atol=2e-3, msg=name)


def test_no_process_is_left_without_work_by_a_small_batch(start):
    model = SparseModel(Encoder.load(start), ["금리"], settings(), 4, silent)
    assert [len(part) for part in model.micro_batches([[1]] * 8)] == [2, 2, 2, 2]
