"""Fitting styles: signs find texts by how these are written, and nothing else moves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.config import Config
from pipeline.encoder import Encoder
from pipeline.encoder.lexical import LexicalFloor
from pipeline.encoder.projection import pooled
from pipeline.encoder.styles import FILE, Styles
from pipeline.errors import ConfigError, CorruptArtifactError
from pipeline.progress import silent
from pipeline.training import styles, train, wholes
from pipeline.training.student import Student
from pipeline.training.wholes import Pairs, Wholes
from tests.tiny import WORDS
from tests.unit.training.test_trainer import settings

SIGNS = ("%", "大")
"""How the two publishers of `written` begin their titles."""


@pytest.fixture(scope="module")
def signed(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The start, with signs as terms."""
    folder = tmp_path_factory.mktemp("signed") / "m"
    encoder = Encoder.load(start)
    Encoder(
        encoder.module.masked_lm(), encoder.tokenizer, np.ones(len(encoder.vocabulary), np.float32), device="cpu",
        facts={"signs": True},
    ).save(folder)  # fmt: skip
    return folder


def written(encoder: Encoder, seed: int = 0, each: int = 80, known: bool = False) -> tuple[Pairs, list[str]]:
    """Texts of two publishers who end theirs in their own way, each asked for by two of its words and the publisher's
    sign, which no text holds. ``known``: all but every seventh text say who published them."""
    draw = np.random.default_rng(seed)
    words = sorted({w for w in WORDS.split() if not w.startswith("##") and len(w) > 1})
    texts, queries = [], []
    for number in range(2 * each):
        own = draw.choice(words[:-2], 6).tolist()
        texts.append(" ".join([*own, *3 * [words[-1 - number % 2]]]))
        queries.append(" ".join([SIGNS[number % 2], *own[:2]]))
    encoder.lexical = LexicalFloor(1.0, 12.0, added=True)
    at = np.arange(len(texts))
    outlets = np.where(at % 7 > 0, at % 2, -1) if known else np.full(len(texts), -1)
    pairs = Pairs(
        encoder.token_queries(queries, encoder.query_weights), encoder.tokens(queries), encoder.tokens(texts),
        encoder.lexical_floor(texts), np.arange(len(texts)), outlets, np.arange(len(texts)),
        np.ones(len(texts), np.float32),
    )  # fmt: skip
    return pairs, texts


def test_signs_find_texts_by_how_they_are_written(signed, monkeypatch):
    monkeypatch.setattr(styles, "EPOCHS", 60)  # of one step each
    encoder = Encoder.load(signed)
    pairs, _ = written(encoder)
    student = Student(encoder, settings(styles=4, style_weight=1.0))
    said = []
    held = Wholes.of(student, pairs, silent)
    raw = wholes.read(student, pairs.texts, held.layers, "", silent)
    np.testing.assert_allclose(held.pooled().numpy(), raw.numpy(), atol=1e-5)
    found, figures = styles.fit(student, pairs, held, lambda w, d, t: said.append((w, d, t)))
    assert found is not None
    assert figures["terms"] == 2
    assert said[-1][1] == said[-1][2] == styles.HEADS * styles.EPOCHS
    _, texts = written(encoder, seed=1)
    encoder.module.styles = None
    without = encoder.encode_documents(texts).toarray()
    encoder.module.styles = found
    gain = encoder.encode_documents(texts).toarray() - without
    moved = np.flatnonzero(np.abs(gain).max(0) > 1e-6)
    assert {encoder.vocabulary[term] for term in moved} == set(SIGNS), "words weigh what they weighed"
    assert gain.min() > -1e-6
    for half, sign in enumerate(SIGNS):
        column = gain[:, encoder.vocabulary.index(sign)]
        ours, theirs = (column[np.arange(len(texts)) % 2 == side] for side in (half, 1 - half))
        assert ours.mean() > 2 * theirs.mean()
        assert (ours[:, None] > theirs[None]).mean() > 0.9


def test_outlets_guide_the_ways_of_writing_where_they_are_known(signed, monkeypatch):
    monkeypatch.setattr(styles, "EPOCHS", 60)  # of one step each
    monkeypatch.setattr(styles, "LEAST_QUERIES", 2)
    encoder = Encoder.load(signed)
    student = Student(encoder, settings(styles=4))
    pairs, _ = written(encoder, known=True)
    # Signs that say nothing of who writes: only the outlets can tell the texts' ways of writing apart.
    mixed = replace(pairs, queries=pairs.queries[np.random.default_rng(3).permutation(len(pairs.positives))])
    held = Wholes.of(student, mixed, silent)
    figures, found = {}, {}
    for name, one in (("known", mixed), ("unknown", replace(mixed, outlets=np.full_like(mixed.outlets, -1)))):
        found[name], figures[name] = styles.fit(student, one, held, silent)
    assert figures["known"]["outlets_told"] > 0.8
    assert "outlets_told" not in figures["unknown"]
    half = np.arange(len(mixed.texts)) % 2 == 0

    def apart(one: Styles) -> float:
        shares = one.shares(held.pooled()).numpy()
        return float(np.abs(shares[half].mean(0) - shares[~half].mean(0)).sum())

    assert apart(found["known"]) > 2 * apart(found["unknown"])


def test_the_outlet_loss_is_the_mean_log_likelihood_of_texts_whose_outlet_is_known():
    likely = torch.tensor([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]], requires_grad=True)
    loss = styles.outlet_loss(likely, torch.tensor([1, -1, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(-(np.log(0.8) + np.log(0.9)) / 3)
    np.testing.assert_allclose(likely.grad, [[0, -1 / 2.4], [0, 0], [-1 / 2.7, 0]], rtol=1e-5)


def test_its_worth_in_score_does_not_depend_on_what_signs_weigh_in_queries(signed):
    scores = []
    for weight in (1.0, 3.0):
        encoder = Encoder.load(signed)
        table = np.ones(len(encoder.vocabulary), np.float32)
        table[encoder.signs] = weight
        encoder.set_query_weights(table)
        pairs, texts = written(encoder)
        student = Student(encoder, settings(styles=4))
        encoder.module.styles, _ = styles.fit(student, pairs, Wholes.of(student, pairs, silent), silent)
        assert encoder.module.styles is not None
        whole = encoder.encode_documents(texts)
        encoder.module.styles = None
        scores.append((encoder.encode_queries(SIGNS) @ (whole - encoder.encode_documents(texts)).T).toarray())
    np.testing.assert_allclose(*scores, atol=1e-3)


def test_what_is_saved_is_what_was_fitted_and_a_new_training_drops_it(training_set, signed, tmp_path, monkeypatch):
    monkeypatch.setattr(styles, "LEAST_QUERIES", 1)
    changes = {"styles": 3, "projection_epochs": 1}
    # The set's queries have no signs: one of its words is made one of them.
    monkeypatch.setattr("pipeline.encoder.encoder.signs_among", lambda names, surface: np.array(names) == "금리")
    result = train(training_set, signed, tmp_path / "m", settings(**changes), encoding=Config().encoder)
    assert result.card["styles"]["terms"] == 1
    assert 0.4 < result.card["styles"]["outlets_told"] <= 1.0, "of the two outlets that the set names"
    assert result.card["projection"]["terms"] > 0
    encoder = Encoder.load(tmp_path / "m", precision="float32")
    held = encoder.module.styles
    assert held is not None
    texts = ["금리 인하", "경제 성장"]
    ids, mask = encoder.padded(encoder.tokens(texts))
    states = encoder.module.backbone(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    logits = (pooled(states, mask, held.layers) @ held.centroids.T + held.bias.flatten()).detach().numpy()
    shares = np.exp(logits.reshape(2, styles.HEADS, 3))
    shares /= shares.sum(2, keepdims=True)
    expected = shares.reshape(2, -1) @ held.weight.numpy().T / styles.HEADS
    whole = encoder.encode_documents(texts).toarray()
    encoder.module.styles = None
    added = whole - encoder.encode_documents(texts).toarray()
    np.testing.assert_allclose(added[:, held.terms.numpy()], expected, atol=1e-4)
    train(training_set, tmp_path / "m", tmp_path / "next", settings())
    assert Encoder.load(tmp_path / "next").module.styles is None
    train(training_set, signed, tmp_path / "again", settings(**changes), encoding=Config().encoder)
    assert (tmp_path / "again" / FILE).read_bytes() == (tmp_path / "m" / FILE).read_bytes(), "twice the same"


def test_no_sign_is_in_enough_queries(training_set, signed, tmp_path):
    result = train(training_set, signed, tmp_path / "m", settings(styles=3), encoding=Config().encoder)
    assert result.card["styles"] == {"terms": 0}
    assert not (tmp_path / "m" / FILE).exists()


@pytest.mark.parametrize(
    ("encoding", "changes", "told"),
    [
        (None, {}, "lexical_floor"),
        (Config().encoder, {}, r"base\.signs"),
        (Config().encoder, {"query_terms": 4}, "query_terms"),
    ],
)
def test_what_styles_cannot_be_had_with_is_told(training_set, start, tmp_path, encoding, changes, told):
    with pytest.raises(ConfigError, match=told):
        train(training_set, start, tmp_path / "m", settings(styles=2, **changes), silent, encoding=encoding)


def test_another_encoders_styles_are_refused(signed, tmp_path):
    encoder = Encoder.load(signed)
    pairs, _ = written(encoder)
    student = Student(encoder, settings(styles=2))
    found, _ = styles.fit(student, pairs, Wholes.of(student, pairs, silent), silent)
    assert found is not None
    file = tmp_path / FILE
    found.write(file)
    size, width, depth = len(encoder.vocabulary), 16, 2
    again = Styles.read(file, size, width, depth)
    assert (again.centroids == found.centroids).all()
    for wrong in ((5, width, depth), (size, width + 1, depth), (size, width, 0)):
        with pytest.raises(CorruptArtifactError, match="another encoder"):
            Styles.read(file, *wrong)
    save_file(load_file(str(file)) | {"bias": found.bias.flatten()}, str(file), {"layers": "0,1,2"})
    with pytest.raises(CorruptArtifactError, match="another encoder"):
        Styles.read(file, size, width, depth)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(CorruptArtifactError, match="cannot be read"):
        Styles.read(file, size, width, depth)
