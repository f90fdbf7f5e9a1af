"""Pseudo queries, and the ladder: nothing is taken that validation does not see better."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.artifacts.vectors import DenseVectors, KeptVectors
from pipeline.config.training import TrainingConfig
from pipeline.encoder import Encoder
from pipeline.text.words import words as analysed
from pipeline.training import learning
from pipeline.training.learning import Recent, bags, learn, sums_of
from pipeline.training.plots import ladder as draw_ladder
from pipeline.training.pseudo_queries import keyword_queries, leading_words
from pipeline.training.sums import Sums
from tests.tiny import tiny_encoder

TEXT = "한국은행이 기준금리를 올렸다. 기준금리 인상에 코스피는 내렸고 환율은 올랐다. 대통령은 회의를 열었다."
SETTINGS = TrainingConfig()


def drawn(texts, **changes):
    settings = {"per_text": 6, "max_words": 5, "top_words": 12, "seed": 13} | changes
    return keyword_queries(texts, lambda words: [1.0] * len(words), **settings)


def test_keyword_queries_are_a_texts_own_words_in_its_order():
    own = analysed(TEXT)
    queries = drawn([TEXT, "", "!!!"])
    assert queries[1:] == [[], []]
    assert 1 <= len(queries[0]) <= 6
    for query in queries[0]:
        words = query.split()
        assert set(words) <= set(own)
        assert 1 <= len(words) <= 5
        places = [own.index(word) for word in words]
        assert places == sorted(places)
    # They depend on the text alone, not on its neighbours.
    assert drawn(["다른 글이 앞에 있다. 선거와 국회", TEXT])[1] == queries[0]
    assert drawn([TEXT], seed=14) != [queries[0]]


def test_the_heaviest_words_are_asked():
    heavy = keyword_queries(
        [TEXT], lambda words: [9.0 if word == "환율" else 0.1 for word in words],
        per_text=3, max_words=1, top_words=1, seed=1,
    )  # fmt: skip
    assert heavy == [["환율"]]


def test_a_title_is_shortened_as_people_do():
    assert leading_words(["삼성", "반도체", "삼성", "수출"], 3) == "삼성 반도체 수출"
    assert leading_words(["삼성"], 2) is None


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Encoder:
    return tiny_encoder(tmp_path_factory.mktemp("base") / "b", gain=0.0)


def test_bags_have_length_one_and_the_weights_of_the_base(base):
    rows = bags(base, ["금리 인하", "", "금리 금리"])
    np.testing.assert_allclose(np.sqrt(rows.multiply(rows).sum(1)).A1, [1, 0, 1], rtol=1e-6)
    assert rows[2].nnz == 1


def test_sums_of_groups_are_the_sums_of_their_texts(base):
    groups = [[TEXT, "국회 선거 대책 회의"], [], ["축구 대표팀 감독"]]
    made = sums_of(base, groups, SETTINGS)
    alone = [sums_of(base, [[text]], SETTINGS)[0] for group in groups for text in group]
    assert made[1].queries == 0
    total = Sums.total([(1.0, one) for one in made], len(base.vocabulary), base.dense.width)
    other = Sums.total([(1.0, one) for one in alone], len(base.vocabulary), base.dense.width)
    np.testing.assert_allclose(total.cross, other.cross, atol=1e-5)
    np.testing.assert_allclose(total.gram.toarray(), other.gram.toarray(), atol=1e-9)


def world(base: Encoder, *, meaning: bool) -> tuple[Recent, KeptVectors, Sums]:
    """200 texts about one of 20 things each; titles name the thing by another word than the text does. With ``meaning``
    a text's vector is the row of the title's word, without it is noise."""
    draw = np.random.default_rng(5)
    names = [t for t, blocked in zip(base.vocabulary, base.blocked, strict=True) if not blocked and len(t) >= 2][:40]
    things = [number % 20 for number in range(200)]
    texts = [f"{names[thing]} 소식 {number}" for number, thing in enumerate(things)]
    titles = [f"{names[20 + thing]} 소식 {names[number % 20]}" for number, thing in enumerate(things)]
    rows = base.table.rows[[base.token_ids(names[20 + thing])[0] for thing in things]]
    vectors = rows + 0.05 * draw.normal(size=rows.shape) if meaning else draw.normal(size=rows.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kept = KeptVectors(base.dense_identity, [DenseVectors.of(base.dense_identity, texts, np.arange(201), vectors)])
    size = len(base.vocabulary)
    return Recent(texts, titles), kept, Sums.total([], size, base.dense.width)


def test_what_helps_is_learned_and_what_does_not_is_left(base):
    recent, kept, nothing = world(base, meaning=True)
    learned = learn(base, nothing, recent, kept, SETTINGS)
    ladder = {step["rung"]: step for step in learned.report["ladder"]}
    assert learned.report["rung"] == "token rows"
    assert ladder["token rows"]["titles"] > ladder["floor"]["titles"]
    assert learned.table.gain in learning.GAINS
    # With no pseudo query the solution is its prior's share, which ranks alike: no rung for it.
    assert not ladder["learned rows"]["taken"]
    assert draw_ladder(learned.report["ladder"]).count("not taken") == 1

    recent, kept, nothing = world(base, meaning=False)
    learned = learn(base, nothing, recent, kept, SETTINGS)
    assert (learned.report["rung"], learned.table.gain) == ("floor", 0.0)


def test_texts_without_titles_are_asked_for_by_their_own_words(base):
    recent, kept, nothing = world(base, meaning=True)
    untitled = replace(recent, titles=[""] * len(recent.texts))
    assert learn(base, nothing, untitled, kept, SETTINGS).report["ladder"][0].keys() >= {"short"}
