"""What goes wrong around a training (memory, disk, gradients, inputs) ends well or in a sentence; several processes."""

import json
import os
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.encoder import Encoder
from pipeline.errors import BadInputError
from pipeline.training import CollapsedError, checkpoint, train
from pipeline.training.health import check_gradient
from pipeline.training.student import Student
from tests.unit.training.test_trainer import settings


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
    plain, tried = Student.logits, []

    def logits(self, tokens, columns):
        tried.append(len(tokens))
        if len(tokens) > most:
            torch.empty(1 << 50)
        return plain(self, tokens, columns)

    monkeypatch.setattr(Student, "logits", logits)
    return tried


def test_the_micro_batch_is_halved_until_memory_suffices(training_set, start, tmp_path, monkeypatch):
    chosen = settings(steps=4, batch_passages=8, micro_batch=8, learning_rate=1e-4)
    train(training_set, start, tmp_path / "plain", chosen)
    tried, said = allocate_too_much(monkeypatch, 2), []
    train(training_set, start, tmp_path / "halved", chosen, lambda what, done, total: said.append(what))
    assert tried[:3] == [8, 4, 2]
    assert max(tried[2:]) == 2  # it is not tried again in later steps
    assert any("2 passages at once" in what for what in said)
    plain, halved = (dict(Encoder.load(tmp_path / n).module.named_parameters()) for n in ("plain", "halved"))
    for name, value in plain.items():
        torch.testing.assert_close(value, halved[name], rtol=1e-3, atol=2e-3, msg=name)


def test_memory_for_not_even_one_passage_is_a_sentence(training_set, start, tmp_path, monkeypatch):
    allocate_too_much(monkeypatch, 0)
    with pytest.raises(BadInputError, match=r"can't allocate memory.*lower training\.micro_batch"):
        train(training_set, start, tmp_path / "m", settings())
    assert not (tmp_path / "m").exists()


def test_encoding_goes_on_by_halves(start, monkeypatch):
    encoder = Encoder.load(start, precision="float32")
    texts = ["금리 인하", "코로나19 방역 대책", "축구", "", "수출 기업 주가"]
    expected = encoder.encode_documents(texts, max_added=20).toarray()
    plain = type(encoder.module).forward

    def forward(self, ids, mask):
        if len(ids) > 2:
            torch.empty(1 << 50)
        return plain(self, ids, mask)

    monkeypatch.setattr(type(encoder.module), "forward", forward)
    np.testing.assert_allclose(encoder.encode_documents(texts, max_added=20).toarray(), expected, atol=1e-6)


def test_a_full_disk_is_a_sentence_and_leaves_no_model(training_set, start, tmp_path):
    encoder = Encoder.load(start)
    with files_of_at_most(8192), pytest.raises(BadInputError, match="free some space"):
        encoder.save(tmp_path / "m")
    with files_of_at_most(8192), pytest.raises(BadInputError, match="free some space"):
        checkpoint.save(tmp_path / "work", {"weights": torch.zeros(10_000)})
    with files_of_at_most(8192), pytest.raises(BadInputError, match="free some space"):
        train(training_set, start, tmp_path / "n", settings())
    left = [p.name for p in tmp_path.rglob("*") if p.is_file()]
    assert left == []
    result = train(training_set, start, tmp_path / "n", settings())  # with space again, it is as if nothing was
    assert json.loads((result.folder / "card.json").read_text())["steps"] == 12


def test_a_card_is_there_whenever_the_model_is(training_set, start, tmp_path):
    result = train(training_set, start, tmp_path / "m", settings(steps=2))
    listed = json.loads((result.folder / "garam.json").read_text())["files"]
    assert {"card.json", "curves.svg", "model.safetensors"} <= set(listed)


def test_gradients_that_are_lost_or_dead_stop_the_training(training_set, start, tmp_path):
    with pytest.raises(CollapsedError, match=r"lower training\.learning_rate"):
        train(training_set, start, tmp_path / "m", settings(learning_rate=1e30, head_learning_rate=1e30))
    assert not (tmp_path / "m").exists()
    dead = settings(in_batch_weight=0.0, distil_weight=0.0, flops_weight=1e-45)
    with pytest.raises(CollapsedError, match="nothing is learned"):
        train(training_set, start, tmp_path / "m", dead)
    with pytest.raises(CollapsedError, match="nan"):
        check_gradient(float("nan"), 1)


def test_pairs_of_one_story_are_refused(training_set, start, tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    rows = [json.loads(line) | {"story_id": 1} for line in (training_set / "passages.jsonl").read_text().splitlines()]
    (folder / "passages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "examples.jsonl").write_bytes((training_set / "examples.jsonl").read_bytes())
    with pytest.raises(BadInputError, match="all of one story"):
        train(folder, start, tmp_path / "m", settings(validation_queries=0))


def test_a_cut_checkpoint_is_refused(training_set, start, tmp_path):
    work = tmp_path / ".m.work"
    checkpoint.save(work, {"identity": "x", "weights": torch.zeros(1000)})
    whole = (work / checkpoint.NAME).read_bytes()
    (work / checkpoint.NAME).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInputError, match="delete it"):
        train(training_set, start, tmp_path / "m", settings())


def test_two_processes_take_the_steps_of_one(training_set, start, tmp_path):
    chosen = settings(steps=6, batch_passages=8, micro_batch=4, learning_rate=1e-3, checkpoint_every=2)
    code = f"""
from pathlib import Path
from pipeline.config.training import TrainingConfig
from pipeline.training import train
train(Path({str(training_set)!r}), Path({str(start)!r}), Path({str(tmp_path / "two")!r}),
      TrainingConfig.model_validate({chosen.model_dump()!r}))
"""
    (tmp_path / "run.py").write_text(code)
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
        "--cpu",
    ]
    launch += [
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--main_process_port",
        "0",
        str(tmp_path / "run.py"),
    ]
    root = Path(__file__).parents[3]
    environ = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(launch, cwd=root, env=environ, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    train(training_set, start, tmp_path / "one", chosen)
    one, two = (dict(Encoder.load(tmp_path / n).module.named_parameters()) for n in ("one", "two"))
    before = dict(Encoder.load(start).module.named_parameters())
    assert any(not torch.equal(before[name], one[name]) for name in one)
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=1e-3, atol=2e-3, msg=name)
    cards = [json.loads((tmp_path / n / "card.json").read_text()) for n in ("one", "two")]
    first, second = (np.array([row["loss"] for row in card["losses"]]) for card in cards)
    np.testing.assert_allclose(first, second, rtol=1e-4)


def test_the_champion_is_distilled_and_the_mixture_chosen_by_the_watched_queries(training_set, start, tmp_path):
    chosen = settings(steps=6, learning_rate=1e-3, in_batch_weight=0.0, distil_weight=0.0, flops_weight=0.0)
    moved = settings(steps=6, learning_rate=1e-2)
    away = train(training_set, start, tmp_path / "away", moved).folder
    # Only the champion's scores pull: a student that starts elsewhere comes nearer to them.
    result = train(
        training_set, start, tmp_path / "m", chosen.model_copy(update={"champion_weight": 1.0}), champion=away
    )
    terms = [row["champion"] for row in result.history]
    assert terms[-1] < terms[0]
    same = chosen.model_copy(update={"champion_weight": 1.0, "flops_weight": 1e-3})
    assert train(training_set, start, tmp_path / "s", same, champion=start).history[0]["champion"] < 1e-5
    souped = train(training_set, start, tmp_path / "soup", moved.model_copy(update={"soup_choices": 4}))
    values = souped.card["soup"]["watched_ndcg@10"]
    assert sorted(values) == [0, 0.25, 0.5, 0.75]
    assert values[souped.card["soup"]["share"]] == max(values.values())
    card = json.loads((tmp_path / "soup" / "card.json").read_text())
    assert card["soup"]["share"] == souped.card["soup"]["share"]


def test_a_champion_of_another_vocabulary_is_refused(training_set, start, tmp_path):
    from tests.unit.test_encoder import tiny

    model, tokenizer = tiny()
    Encoder(model, tokenizer, device="cpu").save(tmp_path / "other")
    with pytest.raises(BadInputError, match="another vocabulary"):
        train(training_set, start, tmp_path / "m", settings(champion_weight=1.0), champion=tmp_path / "other")
