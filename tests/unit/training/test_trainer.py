"""Training: the loss falls, a kill costs nothing, batches are clean, and a lost model is never saved."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config import Config
from pipeline.encoder import Encoder
from pipeline.encoder.lexical import LexicalFloor
from pipeline.errors import BadInputError, ConfigError
from pipeline.progress import silent
from pipeline.training import CollapsedError, train
from pipeline.training import data as training_data
from pipeline.training.asking import answered, ask
from pipeline.training.health import check
from pipeline.training.objective import Relation, Sampled, objective
from pipeline.training.student import Student
from pipeline.training.teacher import bm25_matrix
from pipeline.training.trainer import _Run


def settings(**changes):
    given = {
        "steps": 12, "batch_passages": 8, "micro_batch": 4, "columns": 0, "validation_queries": 6, "validate_every": 6,
        "checkpoint_every": 3, "min_active": 0.0, "max_active_share": 1.0, "precision": "float32",
        "learning_rate": 1e-2, "temperature": 1.0, "teacher": "bm25", "distil_weight": 0.5,
    }  # fmt: skip
    return Config().training.model_copy(update=given | changes)


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_the_loss_falls_and_the_model_loads(training_set, start, tmp_path):
    result = train(training_set, start, tmp_path / "m", settings(steps=60, validation_queries=0))
    first, last = (np.mean([row["in_batch"] for row in part]) for part in (result.history[:5], result.history[-5:]))
    assert last < first - 0.1
    encoder = Encoder.load(tmp_path / "m")
    assert encoder.encode_documents(["금리 인하"]).nnz > 0
    assert (tmp_path / "m" / "curves.svg").read_text().count("<polyline") >= 4
    assert result.card["config"]["steps"] == 60
    assert result.card["losses"][-1]["step"] == 60


def test_the_same_training_gives_the_same_files(training_set, start, tmp_path):
    for name in "ab":
        train(training_set, start, tmp_path / name, settings())
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert "card.json" in map(str, files)
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def train_in_a_process(training_set, start, output, *, killed_at=0):
    """A training as the worker runs it, in a process of its own; returns (exit code, first step it told of)."""
    # Other tests of this process may have changed torch's threads, and with them the order of sums.
    code = f"""
import os, signal
from pathlib import Path
from tests.unit.training.test_trainer import settings
from pipeline.training import train
seen = []
def progress(what, done, total):
    if what.startswith("training:"):
        seen.append(done)
        if done == {killed_at}:
            os.kill(os.getpid(), signal.SIGKILL)
train(Path({str(training_set)!r}), Path({str(start)!r}), Path({str(output)!r}), settings(), progress)
print("first step", seen[0])
"""
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False, capture_output=True, text=True
    )
    said = [line for line in child.stdout.splitlines() if line.startswith("first step")]
    return child.returncode, int(said[0].split()[-1]) if said else None


def test_killed_and_called_again_it_ends_with_the_same_weights(training_set, start, tmp_path):
    assert train_in_a_process(training_set, start, tmp_path / "whole") == (0, 1)
    # Step 8 lies between two checkpoints.
    code, _ = train_in_a_process(training_set, start, tmp_path / "cut", killed_at=8)
    assert code == -signal.SIGKILL
    assert not (tmp_path / "cut").exists()
    assert train_in_a_process(training_set, start, tmp_path / "cut") == (0, 7)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert (tmp_path / "cut" / "card.json").read_bytes() == (tmp_path / "whole" / "card.json").read_bytes()


def test_anothers_checkpoint_is_refused(training_set, start, tmp_path):
    def stop(what, done, total):
        if what.startswith("training") and done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(training_set, start, tmp_path / "m", settings(), stop)
    with pytest.raises(BadInputError, match="another training"):
        train(training_set, start, tmp_path / "m", settings(seed=99))


@pytest.mark.parametrize("terms", [0, 6])
def test_cached_gradients_are_the_gradients(training_set, start, tmp_path, terms):
    found = []
    for cached in (False, True):
        chosen = settings(validation_queries=0, gradient_cache=cached, query_terms=terms)
        run = _Run(training_set, start, chosen, silent, tmp_path / "work", None, None)
        run._step(run.plan[0], 0)
        found.append({name: p.grad for name, p in run.weights.items() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert len(found[0]) > 20
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-4, atol=1e-6, msg=name)


def test_sampled_columns_are_the_encoders_own_numbers(start):
    encoder = Encoder.load(start, precision="float32")
    student = Student(encoder, settings(columns=20))
    texts = ["코로나19 방역 대책", "금리"]
    columns = student.columns(student.queries(["금리 인하"]).indices, random.Random(1))
    assert columns.exact == 2
    assert len(columns.ids) == 22
    assert columns.scale == pytest.approx((len(student.free) - 2) / 20)
    with torch.no_grad():
        ours = torch.log1p(torch.relu(student.logits(student.tokens(texts, 64), torch.from_numpy(columns.ids)))).numpy()
    theirs = encoder.encode_documents(texts).toarray()[:, columns.ids]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_batches_have_one_passage_of_a_story_and_every_positive_before_one_again(training_set):
    read = training_data.read(training_set)
    parts = training_data.split(read, 6, 13)
    trained = parts.trained
    assert parts.watched
    assert {read.positives[i] for i in parts.watched} < set(parts.pool), "and rivals of theirs"
    plan = training_data.plan(read, trained, settings(steps=40), parts.pool)
    strange = {read.stories[p] for p in parts.pool}
    assert not strange & {read.stories[p] for batch in plan for p in batch.passages}, "not even as negatives"
    assert strange & {read.stories[p] for i in trained for p in read.hard[i]}, "which they would have been"
    for batch in plan:
        held = [read.stories[p] for p in batch.passages]
        assert len(set(held)) == len(held)
        assert 2 <= len(held) <= 8
        assert {read.positives[i] for i in batch.examples} <= set(batch.passages)
    assert plan == training_data.plan(read, trained, settings(steps=40), parts.pool)
    alone = training_data.plan(read, trained, settings(steps=40, hard_per_positive=0), parts.pool)
    positives = [p for b in alone for p in dict.fromkeys(read.positives[i] for i in b.examples)]
    whole = {read.positives[i] for i in trained}
    assert len(set(positives[: len(whole)])) > 0.9 * len(whole)


def test_a_hard_negative_is_asked_its_own_title_too(training_set):
    read = training_data.read(training_set)
    trained = training_data.split(read, 6, 13).trained
    answers = {read.positives[i] for i in trained}
    for batch in training_data.plan(read, trained, settings(steps=10, hard_per_positive=2, queries_per_passage=1)):
        asked = [read.positives[i] for i in batch.examples]
        assert sorted(asked) == sorted(p for p in batch.passages if p in answers)
        assert {read.kinds[i] for i in batch.examples} == {"title"}


def test_a_share_of_the_floor_is_trained_over_and_all_of_it_is_watched(training_set, start, tmp_path):
    """Half a floor leaves the model more to learn; which weights are kept is decided by what would be served."""
    floors, watched = [], []
    for share in (1.0, 0.25):
        chosen = settings(floor_share=share, validation_queries=6)
        run = _Run(training_set, start, chosen, silent, tmp_path / str(share), None, Config().encoder)
        floors.append(run.floor.toarray())
        watched.append(run.watched_value())
    np.testing.assert_allclose(floors[1], 0.25 * floors[0], rtol=1e-6)
    assert floors[0].any()
    assert watched[0] == watched[1]


def _documents(floor: torch.Tensor | None, logits: torch.Tensor) -> Sampled:
    share = torch.full((logits.shape[1],), 0.1)
    return Sampled(logits, logits.shape[1], 1.0, share, floor, LexicalFloor(1.0, 1.0, added=True))


def test_what_is_trained_is_what_is_served_and_only_what_is_learned_is_charged():
    """FLOPS once charged the floor, too: more than ten times what the model gives, and no step can lower it."""
    logits = torch.tensor([[1.0, -1.0, 2.0], [-1.0, 0.5, -1.0]], requires_grad=True)
    floor = torch.tensor([[5.0, 5.0, 0.0], [0.0, 0.0, 5.0]])
    learned = torch.log1p(torch.relu(logits))
    queries, nobody = torch.eye(3)[:2], torch.zeros(2, 2, dtype=torch.bool)
    relation = Relation(torch.tensor([0, 1]), nobody, nobody, torch.ones(2))
    chosen = settings(flops_weight=1.0, in_batch_weight=1.0, distil_weight=0.0)
    loss, terms = objective(queries, _documents(floor, logits), relation, None, chosen, 1.0)
    expected = torch.nn.functional.cross_entropy(queries @ (learned + floor).T, relation.positive)
    torch.testing.assert_close(loss, expected + learned.mean(0).square().sum())
    assert (terms["learned"], terms["active"]) == (1.5, 2.5)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] != 0  # an own term learns although its floor is higher


def test_an_untied_output_matrix_learns_at_the_heads_rate(training_set, start, tmp_path):
    chosen = settings(freeze_embeddings=False, learning_rate=1e-5, head_learning_rate=1e-3)
    run = _Run(training_set, start, chosen, silent, tmp_path / "work", None, None)
    decoder = run.student.encoder.module.decoder
    tied = decoder.weight is run.student.encoder.module.backbone.get_input_embeddings().weight
    rates = {
        id(p): rate for group, rate in zip(run.optimizer.param_groups, run.rates, strict=True) for p in group["params"]
    }
    assert rates[id(decoder.bias)] == 1e-3
    assert rates[id(decoder.weight)] == (1e-5 if tied else 1e-3)


def test_the_bm25_teacher_is_the_formula():
    matrix = bm25_matrix([[1, 1, 2], [2, 3]], 5).toarray()
    idf = np.log(1 + (2 - 1 + 0.5) / (1 + 0.5))
    assert matrix[0, 1] == pytest.approx(idf * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 3 / 2.5)), rel=1e-5)
    assert matrix[1, 1] == 0


def test_a_dense_teacher_is_distilled_and_asked_for_when_missing(training_set, start, tmp_path):
    with pytest.raises(ConfigError, match="no dense encoder"):
        train(training_set, start, tmp_path / "m", settings(teacher="both"))
    result = train(training_set, start, tmp_path / "m", settings(teacher="both", steps=3), teacher=start)
    assert result.history[0]["distil"] > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"hard_weight": 1.0, "triplet_margin": 1.0, "in_batch_weight": 0.0},
        {"margin_weight": 1.0, "margin_mse_weight": 0.1},
        {"flops_kind": "df_flops", "l0_threshold": 20, "columns": 30},
        {"freeze_layers": 1, "freeze_embeddings": True, "gradient_checkpointing": True},
        {"soup": 0.5, "teacher": "none"},
        {"query_terms": 6, "columns": 30},
    ],
)
def test_every_option_trains(training_set, start, tmp_path, changes):
    result = train(training_set, start, tmp_path / "m", settings(steps=4, **changes))
    assert np.isfinite([list(row.values()) for row in result.history[:3]]).all()


def test_a_bi_encoder_is_asked_as_it_was_trained(training_set, start, tmp_path):
    train(training_set, start, tmp_path / "m", settings(query_terms=6))
    encoder = Encoder.load(tmp_path / "m", precision="float32")
    assert encoder.query_terms == 6
    texts = ["금리 인하", "코로나19 방역 대책", "축구"]
    tokens = encoder.token_queries(texts, encoder.query_weights)
    served = encoder.encode_queries(texts)
    for own, all_of_it in zip(tokens.toarray(), served.toarray(), strict=True):
        assert (all_of_it[own > 0] == own[own > 0]).all(), "statistics rule a query's own tokens"
        assert 0 < (all_of_it > 0).sum() - (own > 0).sum() <= 6
    student = Student(encoder, settings(query_terms=6, micro_batch=2))
    trained = answered(student, student.queries(texts), student.tokens(texts, 64))
    np.testing.assert_allclose(trained.toarray(), served.toarray(), atol=1e-5)
    asked = ask(student, student.queries(texts), student.tokens(texts, 64), random.Random(1))
    np.testing.assert_allclose(asked.weights.detach().numpy(), served.toarray()[:, asked.columns.ids], atol=1e-5)
    assert asked.weights.detach().numpy().sum() == pytest.approx(served.sum(), rel=1e-5), "no term is left out"
    train(training_set, tmp_path / "m", tmp_path / "plain", settings(steps=1))
    assert Encoder.load(tmp_path / "plain").query_terms == 0


def test_a_bi_encoders_query_side_learns(training_set, start, tmp_path):
    """The gradient that reaches the model through the queries is that of the loss."""
    run = _Run(training_set, start, settings(query_terms=6, validation_queries=0), silent, tmp_path / "w", None, None)
    batch = run.plan[0]
    bias = run.student.encoder.module.decoder.bias
    tokens, own = run._query_tokens(batch.examples), run.queries[batch.examples]
    found = []
    for processes in (1, 2):  # each of several processes asks all queries, and gradients are added up
        bias.grad = None
        asked = ask(run.student, own, tokens, random.Random(0))
        asked.weights.sum().backward()
        asked.backward(processes)
        found.append(bias.grad.clone())
    torch.testing.assert_close(found[0], 2 * found[1])
    with torch.no_grad():
        before = asked.weights.sum()
        bias += 1e-3 * found[0]
        after = ask(run.student, own, tokens, random.Random(0)).weights.sum()
    assert float(after - before) == pytest.approx(1e-3 * float(found[0].square().sum()), rel=0.1)


def test_frozen_weights_do_not_move(training_set, start, tmp_path):
    train(training_set, start, tmp_path / "m", settings(steps=3, freeze_layers=1, freeze_embeddings=True))
    before, after = (dict(Encoder.load(f).module.named_parameters()) for f in (start, tmp_path / "m"))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert not [n for n in moved if "embeddings" in n or ".layer.0." in n]


def test_collapse_is_stopped_with_a_reason(training_set, start, tmp_path):
    with pytest.raises(CollapsedError, match=r"lower training\.flops_weight"):
        train(training_set, start, tmp_path / "m", settings(min_active=190.0))
    assert not (tmp_path / "m").exists()
    with pytest.raises(CollapsedError, match=r"lower training\.learning_rate"):
        check({"loss": float("nan"), "active": 100, "empty": 0}, 3, settings(), 1000, 5)
    with pytest.raises(CollapsedError, match=r"raise training\.flops_weight"):
        check({"loss": 1.0, "active": 900, "empty": 0}, 50, settings(max_active_share=0.5), 1000, 5)


def test_bad_input_is_one_sentence(training_set, start, tmp_path):
    with pytest.raises(BadInputError, match="name the folder of a training set"):
        train(tmp_path, start, tmp_path / "m", settings())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "passages.jsonl").write_text("{not json\n")
    (broken / "examples.jsonl").write_text("")
    with pytest.raises(BadInputError, match="not JSON"):
        train(broken, start, tmp_path / "m", settings())
    with pytest.raises(ConfigError, match="has 2 layers"):
        train(training_set, start, tmp_path / "m", settings(freeze_layers=9))


def test_the_worker_knows_no_database():
    code = (
        "import sys\n"
        "from pipeline.training.worker import run_job\n"
        "import pipeline.training.trainer, pipeline.training.base.build\n"
        "banned = ('pipeline.store', 'sqlalchemy', 'psycopg', 'opensearchpy')\n"
        "assert not [m for m in sys.modules if m.startswith(banned)]\n"
    )
    environ = {key: value for key, value in os.environ.items() if not key.startswith("GARAM")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environ, cwd=Path(__file__).parents[3])
    began = time.monotonic()
    code = "import sys, pipeline.training, pipeline.dataset; assert not {'torch', 'numpy', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=environ, cwd=Path(__file__).parents[3])
    assert time.monotonic() - began < 20
