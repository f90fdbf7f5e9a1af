"""Fine-tuning: the loss falls, a kill costs nothing, batches are clean, and nothing that is worse is kept."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.config.training import FineTuningConfig
from pipeline.encoder import Encoder
from pipeline.encoder.statistics import corpus_statistics
from pipeline.errors import BadInputError, ConfigError
from pipeline.progress import silent
from pipeline.training.finetune import CollapsedError, fine_tune
from pipeline.training.finetune import data as training_data
from pipeline.training.finetune.collapse import check
from pipeline.training.finetune.model import SparseModel
from pipeline.training.finetune.objective import Labels, objective
from pipeline.training.finetune.trainer import Trainer
from tests.tiny import tiny_encoder

ROOT = Path(__file__).parents[3]


def settings(**changes):
    given = {
        "steps": 12, "batch_passages": 8, "micro_batch": 4, "freeze_layers": 1, "validation_queries": 6,
        "validation_steps": 6, "checkpoint_steps": 3, "min_active_terms": 0.0, "max_active_share": 1.0,
        "learning_rate": 1e-2, "temperature": 4.0, "distillation_weight": 0.5,
    }  # fmt: skip
    return FineTuningConfig().model_copy(update=given | changes)


def run(training_set, start, output, chosen, progress=silent, seed=13):
    return fine_tune(
        training_set, start, output, chosen, progress, seed=seed, work=output.with_name(f".{output.name}.work")
    )


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    return dict(Encoder.load(folder, device="cpu").dense.model.named_parameters())


def weights(folder: Path) -> bytes:
    return (folder / "document_0_Transformer" / "model.safetensors").read_bytes()


def test_the_loss_falls_and_the_encoder_loads(training_set, start, tmp_path):
    chosen = settings(
        steps=60, validation_queries=0, freeze_layers=0, distillation_weight=0.0, flops_weight=0.0, temperature=1.0,
        learning_rate=5e-3,
    )  # fmt: skip
    result = run(training_set, start, tmp_path / "m", chosen)
    first, last = (np.mean([row["in_batch"] for row in part]) for part in (result.history[:10], result.history[-10:]))
    assert last < first - 0.2
    encoder = Encoder.load(result.folder)
    assert encoder.encode_documents(["금리 인하"]).nnz > 0
    curves = (result.folder / "curves.svg").read_text()
    assert all(f">{name}</text>" in curves for name in ("loss", "in_batch", "active", "accuracy"))
    assert result.card == json.loads((result.folder / "card.json").read_text())
    assert result.card["config"]["steps"] == result.card["steps"] == 60
    assert result.card["losses"][-1]["step"] == 60
    assert result.card["metrics"]["best_step"] == 60


def test_only_upper_layers_move(training_set, start, tmp_path):
    result = run(training_set, start, tmp_path / "m", settings(steps=3, validation_queries=0))
    before, after = parameters(start), parameters(result.folder)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert len(moved) > 5
    assert all(".layer.1." in name for name in moved)
    old, new = Encoder.load(start), Encoder.load(result.folder)
    assert new.vocabulary_hash == old.vocabulary_hash
    assert new.encoding == old.encoding
    np.testing.assert_array_equal(new.query_weights, old.query_weights)
    for name in ("rows", "thresholds", "gain"):
        np.testing.assert_array_equal(getattr(new.table, name), getattr(old.table, name))


def test_a_base_is_trained_with_thresholds_of_its_own(training_set, tmp_path):
    """A base has no gain and may have no thresholds: both are chosen for the training, and neither is saved."""
    from dataclasses import replace

    made = tiny_encoder(tmp_path / "first", gain=0.0)
    made.table = replace(made.table, thresholds=np.full(len(made.vocabulary), np.inf, np.float32))
    made.save(tmp_path / "base")
    texts = training_data.read(training_set).texts
    base = Encoder.load(tmp_path / "base", device="cpu")
    model = SparseModel(base, texts, settings(), 1, silent)
    assert model.table.gain == 32
    learned = model.learned_weights(torch.from_numpy(model.encode_texts(texts, ""))).detach().numpy()
    share = (learned > 0).mean(0)
    np.testing.assert_allclose(share[~base.blocked], 0.1, atol=1 / 60)
    assert not share[base.blocked].any()
    result = run(training_set, tmp_path / "base", tmp_path / "m", settings(steps=4))
    table = Encoder.load(result.folder).table
    assert table.gain == 0
    assert np.isinf(table.thresholds).all()


def test_what_is_trained_is_what_is_served(training_set, start, tmp_path):
    """Learned weights are those of the encoder's own documents, where these have one window and keep every term."""
    task = Trainer(training_set, start, settings(), silent, 13, tmp_path / "work")
    texts = ["코로나19 방역 대책", "금리"]
    encoder = task.encoder
    vectors = torch.from_numpy(task.model.encode_texts(texts, ""))
    ours = task.model.learned_weights(vectors).detach().numpy() + encoder.lexical_floor(texts).toarray()
    theirs = encoder.encode_documents(texts).toarray()
    kept = (theirs > 0) | (ours == 0)
    np.testing.assert_allclose(theirs[kept], ours[kept], atol=0.02)  # dense vectors are kept in half precision
    own = corpus_statistics(encoder, task.data.texts).query_weights
    np.testing.assert_allclose(task.queries.toarray(), encoder.encode_queries(task.data.queries, own).toarray())
    assert not np.allclose(own, encoder.query_weights), "the encoder keeps its own weights"


def test_the_same_training_gives_the_same_files(training_set, start, tmp_path):
    for name in "ab":
        assert run(training_set, start, tmp_path / name, settings(steps=6)).card["metrics"]["best_step"] > 0
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert "card.json" in map(str, files)
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def killed_at(last):
    """A progress that ends a training after its step ``last``, as a kill does: nothing is caught or cleaned up."""

    def progress(what, done, total):
        if what.startswith("fine-tuning:") and done == last:
            raise KeyboardInterrupt

    return progress


def test_killed_and_called_again_it_ends_with_the_same_weights(training_set, start, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        run(training_set, start, tmp_path / "cut", settings(), killed_at(8))  # between two checkpoints
    assert not (tmp_path / "cut").exists()
    done = []
    plain = Trainer.train_step
    monkeypatch.setattr(Trainer, "train_step", lambda self, batch, step: done.append(step) or plain(self, batch, step))
    results = [run(training_set, start, tmp_path / name, settings()) for name in ("cut", "whole")]
    assert done == [*range(6, 12), *range(12)]
    assert results[0].history == results[1].history
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert results[0].card == results[1].card
    assert results[0].card["metrics"]["best_step"] > 8
    assert not list((tmp_path / ".cut.work").iterdir()), "the checkpoint is gone"


def test_anothers_checkpoint_is_refused(training_set, start, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(training_set, start, tmp_path / "m", settings(), killed_at(4))
    with pytest.raises(BadInputError, match="another training"):
        run(training_set, start, tmp_path / "m", settings(), seed=99)
    with pytest.raises(BadInputError, match="another training"):
        run(training_set, start, tmp_path / "m", settings(learning_rate=1e-3))


def gradients(training_set, start, work, **changes):
    task = Trainer(training_set, start, settings(validation_queries=0, **changes), silent, 13, work)
    terms = task.compute_gradients(task.batches[0], 0)
    return terms, {name: p.grad for name, p in task.parameters.items()}


def test_cached_gradients_are_the_gradients(training_set, start, tmp_path):
    terms, whole = gradients(training_set, start, tmp_path, micro_batch=8)
    others, cached = gradients(training_set, start, tmp_path, micro_batch=3)
    assert terms == pytest.approx(others, rel=1e-4)
    assert len(whole) > 5
    for name, gradient in whole.items():
        torch.testing.assert_close(gradient, cached[name], rtol=1e-4, atol=1e-6, msg=name)
    assert any(gradient.abs().max() > 1e-3 for gradient in whole.values())


def test_batches_have_one_passage_of_a_story_and_every_positive_before_one_again(training_set):
    read = training_data.read(training_set)
    trained, validation, pool = training_data.split(read, 6, 13)
    assert validation
    assert {read.positives[i] for i in validation} < set(pool), "and rivals of theirs"
    plan = training_data.plan(read, trained, settings(steps=40), 13, pool)
    strange = {read.stories[p] for p in pool}
    assert not strange & {read.stories[p] for batch in plan for p in batch.passages}, "not even as negatives"
    assert strange & {read.stories[p] for i in trained for p in read.hard[i]}, "which they would have been"
    for batch in plan:
        stories = [read.stories[p] for p in batch.passages]
        assert len(set(stories)) == len(stories)
        assert 2 <= len(stories) <= 8
        assert {read.positives[i] for i in batch.examples} <= set(batch.passages)
    assert plan == training_data.plan(read, trained, settings(steps=40), 13, pool)
    alone = training_data.plan(read, trained, settings(steps=40, hard_negatives_per_positive=0), 13, pool)
    positives = [p for b in alone for p in dict.fromkeys(read.positives[i] for i in b.examples)]
    whole = {read.positives[i] for i in trained}
    assert len(set(positives[: len(whole)])) > 0.9 * len(whole)


def test_a_hard_negative_is_asked_its_own_title_too(training_set):
    read = training_data.read(training_set)
    trained, _, pool = training_data.split(read, 6, 13)
    answers = {read.positives[i] for i in trained}
    chosen = settings(steps=10, hard_negatives_per_positive=2, queries_per_passage=1)
    for batch in training_data.plan(read, trained, chosen, 13, pool):
        asked = [read.positives[i] for i in batch.examples]
        assert sorted(asked) == sorted(p for p in batch.passages if p in answers)
        assert {read.kinds[i] for i in batch.examples} == {"title"}


def test_the_floor_counts_in_scores_and_only_what_is_learned_is_charged():
    learned = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.5, 0.0]], requires_grad=True)
    floor = torch.tensor([[5.0, 5.0, 0.0], [0.0, 0.0, 5.0]])
    queries, nobody = torch.eye(3)[:2], torch.zeros(2, 2, dtype=torch.bool)
    labels = Labels(torch.tensor([0, 1]), nobody, nobody, torch.ones(2))
    chosen = settings(flops_weight=1.0, distillation_weight=0.0, temperature=1.0)
    loss, terms = objective(queries, learned, floor, labels, None, chosen, 1.0)
    expected = torch.nn.functional.cross_entropy(queries @ (learned + floor).T, labels.positive)
    torch.testing.assert_close(loss, expected + learned.mean(0).square().sum())
    assert terms["active"] == 1.5
    assert terms["loss"] == pytest.approx(float(loss.detach()))


def test_the_teacher_is_the_mean_of_the_floor_and_the_start(training_set, start, tmp_path):
    task = Trainer(training_set, start, settings(teacher_scale=10.0), silent, 13, tmp_path / "work")
    batch = task.batches[0]
    lexical = torch.from_numpy((task.queries[batch.examples] @ task.floor[batch.passages].T).toarray())
    scores = task.teacher_scores(batch, lexical)
    dense = Encoder.load(start).dense
    passages = dense.encode([task.data.texts[p] for p in batch.passages], "passage")
    queries = dense.encode([task.data.queries[i] for i in batch.examples], "query")
    cosines = torch.from_numpy(queries @ passages.T)
    for row, (a, b) in enumerate(zip(lexical, cosines, strict=True)):
        expected = sum((one - one.min()) / (one.max() - one.min()) for one in (a, b)) / 2 * 10
        torch.testing.assert_close(scores[row], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"hard_negatives_weight": 1.0, "triplet_margin": 1.0, "in_batch_weight": 0.0},
        {"margin_weight": 1.0},
        {"flops_warmup_ratio": 0.0, "distillation_weight": 0.0},
        {"freeze_layers": 0, "micro_batch": 8},
    ],
)
def test_every_option_trains(training_set, start, tmp_path, changes):
    result = run(training_set, start, tmp_path / "m", settings(steps=3, validation_queries=0, **changes))
    assert np.isfinite([list(row.values()) for row in result.history]).all()
    assert weights(result.folder) != weights(start)


def test_initial_weights_that_validate_best_are_kept(training_set, start, tmp_path, monkeypatch):
    values = iter([0.5, 0.4, 0.5])
    monkeypatch.setattr(Trainer, "validation_ndcg", lambda self: next(values))
    result = run(training_set, start, tmp_path / "m", settings())
    assert [row["step"] for row in result.card["validations"]] == [0, 6, 12]
    assert (result.card["metrics"]["best_step"], result.card["metrics"]["validation_ndcg@10"]) == (0, 0.5)
    assert weights(result.folder) == weights(start)


def test_the_best_validation_is_kept(training_set, start, tmp_path, monkeypatch):
    values = iter([0.5, 0.6, 0.4])
    monkeypatch.setattr(Trainer, "validation_ndcg", lambda self: next(values))
    best = []
    plain = Trainer.validate

    def validate(self):
        plain(self)
        if self.done == 6:
            best.append(self.copy_weights())

    monkeypatch.setattr(Trainer, "validate", validate)
    result = run(training_set, start, tmp_path / "m", settings())
    assert result.card["metrics"]["best_step"] == 6
    saved = parameters(result.folder)
    for name, value in best[0].items():
        torch.testing.assert_close(saved[name].detach(), value.half().float(), msg=name)


def test_validation_measures_what_is_served(training_set, start, tmp_path):
    task = Trainer(training_set, start, settings(), silent, 13, tmp_path / "work")
    table = task.model.table.terms(
        task.model.encode_texts([task.data.texts[p] for p in task.pool], ""), np.arange(len(task.pool) + 1), 40
    )
    scores = (task.queries @ (task.floor[task.pool] + table).T).toarray()
    gains = []
    for example in task.validation:
        own = scores[example, task.pool.index(task.data.positives[example])]
        rank = (scores[example] >= own).sum()
        gains.append(1 / np.log2(rank + 1) if rank <= 10 else 0.0)
    assert task.validation_ndcg() == pytest.approx(np.mean(gains))
    assert 0 < np.mean(gains) < 1


def test_collapse_is_stopped_with_a_reason(training_set, start, tmp_path):
    with pytest.raises(CollapsedError, match=r"lower training\.fine_tuning\.flops_weight"):
        run(training_set, start, tmp_path / "m", settings(min_active_terms=190.0))
    assert not (tmp_path / "m").exists()
    with pytest.raises(CollapsedError, match=r"lower training\.fine_tuning\.learning_rate"):
        check({"loss": float("nan"), "active": 100, "empty": 0}, 3, settings(), 1000, 5)
    with pytest.raises(CollapsedError, match=r"raise training\.fine_tuning\.flops_weight"):
        check({"loss": 1.0, "active": 900, "empty": 0}, 50, settings(max_active_share=0.5), 1000, 5)


def test_bad_input_is_one_sentence(training_set, start, tmp_path):
    with pytest.raises(BadInputError, match="name the folder of a training set"):
        run(tmp_path, start, tmp_path / "m", settings())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "passages.jsonl").write_text("{not json\n")
    (broken / "examples.jsonl").write_text("")
    with pytest.raises(BadInputError, match=r"jsonl:1 does not fit"):
        run(broken, start, tmp_path / "m", settings())
    with pytest.raises(ConfigError, match="has 2 layers"):
        run(training_set, start, tmp_path / "m", settings(freeze_layers=2))
    with pytest.raises(ConfigError, match="steps is 0"):
        run(training_set, start, tmp_path / "m", settings(steps=0))
    bare = Encoder.load(start)
    bare.table = None
    bare.save(tmp_path / "bare")
    with pytest.raises(BadInputError, match="no query table"):
        run(training_set, tmp_path / "bare", tmp_path / "m", settings())


def test_nothing_heavy_is_imported_before_it_is_asked_for():
    code = "import sys, pipeline.training.finetune; assert not {'torch', 'numpy', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
