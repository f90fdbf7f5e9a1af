"""Fitting a projection: it says what was fitted, learns what no word of a text says, and fires as often as allowed."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from pipeline.config import Config
from pipeline.encoder import Encoder
from pipeline.encoder.lexical import LexicalFloor
from pipeline.encoder.projection import pooled
from pipeline.errors import ConfigError
from pipeline.progress import silent
from pipeline.training import projection, train, wholes
from pipeline.training.projection import fit
from pipeline.training.student import Student
from pipeline.training.wholes import Pairs, Wholes, pooled_layers
from tests.tiny import WORDS
from tests.unit.training.test_trainer import settings

TOPICS = 12


def topical(encoder: Encoder, each: int = 40, seed: int = 0) -> tuple[Pairs, list[str], list[str]]:
    """Texts of `TOPICS` words each that are asked for by a word which none of them holds: it tells which half of the
    words a text is from."""
    draw = np.random.default_rng(seed)
    words = sorted({w for w in WORDS.split() if not w.startswith("##") and len(w) > 1})
    halves = (words[2::2], words[3::2])
    texts, queries = [], []
    for number in range(2 * each):
        half = halves[number % 2]
        texts.append(" ".join(draw.choice(half, TOPICS)))
        queries.append(words[number % 2])
    floor = LexicalFloor(1.0, 12.0, added=True)
    encoder.lexical = floor
    pairs = Pairs(
        encoder.token_queries(queries, encoder.query_weights), encoder.tokens(queries), encoder.tokens(texts),
        encoder.lexical_floor(texts), np.arange(len(texts)), np.full(len(texts), -1), np.arange(len(texts)),
        np.ones(len(texts), np.float32),
    )  # fmt: skip
    return pairs, texts, words[:2]


def test_it_learns_what_no_word_of_a_text_says(start, tmp_path):
    encoder = Encoder.load(start)
    encoder.set_query_weights(np.ones(len(encoder.vocabulary), np.float32))
    pairs, _, asked = topical(encoder)
    said = []
    student = Student(encoder, settings(projection_epochs=30, projection_terms=1.0))
    found, figures = fit(student, pairs, Wholes.of(student, pairs, silent), lambda w, d, t: said.append((w, d, t)))
    assert figures["layers"] == list(found.layers) == pooled_layers(encoder.module.backbone.config.num_hidden_layers)
    assert said[-1][1] == said[-1][2] == 30
    encoder.module.projection = found
    _, texts, _ = topical(encoder, seed=1)
    with_it = encoder.encode_queries(asked) @ encoder.encode_documents(texts).T
    encoder.module.projection = None
    without = encoder.encode_queries(asked) @ encoder.encode_documents(texts).T
    gain = (with_it - without).toarray()
    right = [gain[half][np.arange(len(texts)) % 2 == half].mean() for half in (0, 1)]
    wrong = [gain[half][np.arange(len(texts)) % 2 != half].mean() for half in (0, 1)]
    assert min(right) > 2 * max(wrong) > -1e-6
    assert (gain > -1e-5).all(), "a projection only adds"


def test_what_is_saved_is_what_was_fitted(training_set, start, tmp_path):
    changes = {"projection_epochs": 2, "projection_terms": 5.0}
    result = train(training_set, start, tmp_path / "m", settings(**changes), encoding=Config().encoder)
    assert result.card["projection"]["terms"] > 0
    encoder = Encoder.load(tmp_path / "m", precision="float32")
    held = encoder.module.projection
    assert held is not None
    assert held.weight.abs().sum() > 0
    texts = ["금리 인하", "경제 성장"]
    ids, mask = encoder.padded(encoder.tokens(texts))
    states = encoder.module.backbone(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    expected = np.maximum(0, (pooled(states, mask, held.layers) @ held.weight.T + held.bias).detach().numpy())
    whole = encoder.encode_documents(texts).toarray()
    encoder.module.projection = None
    added = whole - encoder.encode_documents(texts).toarray()
    np.testing.assert_allclose(added[:, held.terms.numpy()], expected, atol=1e-4)
    # The next training starts from it: the old projection goes, a new one is fitted where one is wanted.
    train(training_set, tmp_path / "m", tmp_path / "next", settings())
    assert Encoder.load(tmp_path / "next").module.projection is None


def test_twice_the_same(training_set, start, tmp_path):
    for name in "ab":
        train(training_set, start, tmp_path / name, settings(projection_epochs=2), encoding=Config().encoder)
    files = [(tmp_path / name / "projection.safetensors").read_bytes() for name in "ab"]
    assert files[0] == files[1]


def test_thresholds_keep_to_the_budget_and_go_where_they_are_asked_for():
    draw = torch.Generator().manual_seed(1)
    texts, rows = torch.randn(2000, 8, generator=draw), torch.randn(50, 8, generator=draw)
    share = np.linspace(0.001, 0.5, 50)
    found = projection._thresholds(texts, rows, share, 10.0)
    firing = ((texts @ rows.T) > found).float().mean(0).numpy()
    assert firing.sum() == pytest.approx(10.0, abs=0.3)
    assert np.corrcoef(firing, share**projection.FREQUENCY_POWER)[0, 1] > 0.99
    everything = projection._thresholds(texts, rows, share, 1000.0)
    assert ((texts @ rows.T) > everything).float().mean() > 0.99


def test_a_batch_has_one_text_of_a_story_and_neighbours_of_its_own():
    nearest = wholes.neighbours(torch.nn.functional.normalize(torch.randn(40, 6), dim=1))
    assert nearest.shape == (40, wholes.NEIGHBOURS)
    assert all(row not in nearest[row] for row in range(40))
    stories = np.arange(40) // 2
    pairs = Pairs(
        sp.csr_matrix((40, 3)), [], [], sp.csr_matrix((40, 3)), stories, np.full(40, -1), np.arange(40), np.ones(40)
    )
    asked = {position: [position] for position in range(40)}
    examples = wholes.batch(pairs, np.arange(6), nearest, asked, 3, np.random.default_rng(0))
    assert len(set(stories[examples])) == len(examples)
    assert {int(stories[text]) for text in range(6)} <= set(stories[examples].tolist())


@pytest.mark.parametrize("changes", [{"query_terms": 4}, {}])
def test_what_it_cannot_be_used_with_is_told(training_set, start, tmp_path, changes):
    with pytest.raises(ConfigError, match="projection_epochs"):
        train(
            training_set, start, tmp_path / "m", settings(projection_epochs=1, **changes), silent,
            encoding=Config().encoder if changes else None,
        )  # fmt: skip
