"""The encoder on a tiny BERT: floor and learned terms, kept vectors, its folder, and the libraries that load it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts.vectors import DenseVectors
from pipeline.encoder import (
    DenseEncoder,
    Encoder,
    Encoding,
    MaskedLMEncoder,
    QueryTable,
    blocked_tokens,
    feature_name,
    load_any,
    vocabulary_hash,
)
from pipeline.encoder.dense import DenseSettings
from pipeline.encoder.encoding import QUERY_TOKENS, cut
from pipeline.encoder.folder import TRANSFORMER_MODULE
from pipeline.encoder.lexical import CorpusStatistics
from pipeline.encoder.vocabulary import Vocabulary
from pipeline.encoder.windows import windows
from pipeline.errors import BadInputError, CorruptArtifactError
from tests.tiny import tiny_dense, tiny_encoder, tiny_tokenizer

torch = pytest.importorskip("torch")

LONG = (
    "한국은행 기준금리 인하 발표 대통령 국회 선거 정부 회의 대책 코로나19 확진자 마스크 병원 "
    "학교 개학 연기 온라인 수업 축구 대표팀 경기 "
    "날씨 태풍 폭우 지진 서울 부산 대구 광주 인천 삼성 반도체 수출 기업 주가 코스피 인공지능 뉴스 속보"
)
TEXTS = ["한국은행 기준금리 인하", "", "ai 3 . % 大 , 회의", LONG, "축구 대표팀 감독", "한국은행 기준금리 인하"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("encoder") / "model"
    tiny_encoder(made)
    return made


@pytest.fixture
def encoder(folder: Path) -> Encoder:
    return Encoder.load(folder, device="cpu")


# ---------------------------------------------------------------- documents
def test_a_document_is_its_floor_and_its_learned_terms(encoder: Encoder) -> None:
    assert encoder.table is not None
    rows = encoder.encode_documents(TEXTS)
    assert (rows.shape, rows.dtype) == ((len(TEXTS), len(encoder.vocabulary)), np.float32)
    kept = encoder.encode_dense(TEXTS)
    vectors, starts = kept.rows(TEXTS)
    learned = encoder.table.terms(vectors, starts, encoder.encoding.max_terms)
    assert learned.nnz
    np.testing.assert_allclose(rows.toarray(), (encoder.lexical_floor(TEXTS) + learned).toarray(), atol=1e-6)
    np.testing.assert_allclose(rows[0].toarray(), rows[5].toarray(), atol=1e-6)
    assert encoder.encode_documents([]).shape == (0, len(encoder.vocabulary))
    encoder.table = encoder.table.with_gain(0.0)
    np.testing.assert_array_equal(encoder.encode_documents(TEXTS).toarray(), encoder.lexical_floor(TEXTS).toarray())


def test_a_long_text_has_the_best_of_its_windows_and_the_heaviest_of_its_terms(encoder: Encoder) -> None:
    table, size = encoder.table, len(encoder.vocabulary)
    assert table is not None
    parts = windows(LONG, encoder.encoding.window_chars)
    assert len(parts) > 1
    vectors = encoder.dense.encode(parts, "passage").astype(np.float16).astype(np.float32)
    z = (vectors @ table.rows.T).max(0)
    expected = table.gain * np.maximum(z - table.thresholds, 0)
    learned = (encoder.encode_documents([LONG]) - encoder.lexical_floor([LONG])).toarray()[0]
    most = encoder.encoding.max_terms
    heaviest = np.sort(expected)[-most:]
    assert (expected > 0).sum() > most, "there is something to cut"
    assert (learned > 1e-6).sum() == most
    np.testing.assert_allclose(np.sort(learned)[-most:], heaviest, atol=1e-5)
    encoder.encoding = dataclasses.replace(encoder.encoding, max_terms=size)
    whole = (encoder.encode_documents([LONG]) - encoder.lexical_floor([LONG])).toarray()[0]
    np.testing.assert_allclose(whole, expected, atol=1e-5)


def test_many_texts_are_multiplied_in_parts_that_join(monkeypatch: pytest.MonkeyPatch, encoder: Encoder) -> None:
    before = encoder.encode_documents(TEXTS).toarray()
    monkeypatch.setattr("pipeline.encoder.query_table.WINDOW_BATCH", 2)
    np.testing.assert_allclose(encoder.encode_documents(TEXTS).toarray(), before, atol=1e-6)


def test_kept_vectors_give_the_same_rows_and_are_not_made_again(encoder: Encoder) -> None:
    seen: list[tuple[int, int]] = []
    rows = encoder.encode_documents(TEXTS, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (seen[-1][1],) * 2
    kept = encoder.encode_dense(TEXTS)
    assert len(kept.keys) == 5, "each text once"
    assert kept.starts[-1] == seen[-1][1]
    seen.clear()
    again = encoder.encode_documents(TEXTS[::-1], dense=kept, progress=lambda done, total: seen.append((done, total)))
    assert not seen
    np.testing.assert_allclose(again.toarray(), rows.toarray()[::-1], atol=1e-6)
    some = encoder.encode_documents(TEXTS, dense=kept.only(TEXTS[:2]))
    np.testing.assert_allclose(some.toarray(), rows.toarray(), atol=2e-3)


def test_vectors_of_another_encoder_are_refused(encoder: Encoder) -> None:
    kept = encoder.encode_dense(["금리"])
    foreign = DenseVectors("another-w60", kept.keys, kept.starts, kept.matrix)
    with pytest.raises(BadInputError, match="dense vectors are of encoder"):
        encoder.encode_documents(["금리"], dense=foreign)
    assert encoder.dense_identity.endswith("-w60"), "other windows, other vectors"
    with pytest.raises(BadInputError, match="was never saved"):
        _ = Encoder(tiny_dense(), tiny_tokenizer()).dense_identity


def test_terms_of_blocked_tokens_never_fire(encoder: Encoder) -> None:
    texts = [". , % 大", "금리 3% 大"]
    assert encoder.blocked.any()
    assert not encoder.encode_documents(texts).toarray()[:, encoder.blocked].any()
    assert not encoder.encode_queries(texts).toarray()[:, encoder.blocked].any()
    assert not encoder.lexical_floor(texts)[0].nnz


# ---------------------------------------------------------------- queries
def test_queries_weigh_each_token_once_and_blocked_ones_not_at_all(encoder: Encoder) -> None:
    text = "회의 회의 AI . 大 경제"
    ids = encoder.token_ids(text)
    assert {encoder.vocabulary[i] for i in ids} == {"경제", "ai", "회의"}
    weights = np.linspace(1, 3, len(encoder.vocabulary), dtype=np.float32)
    row = encoder.encode_queries([text, ""], weights)
    assert row[0].indices.tolist() == ids
    assert row[1].nnz == 0
    np.testing.assert_array_equal(row[0].data, weights[ids])
    np.testing.assert_array_equal(encoder.encode_queries([text]).data, encoder.query_weights[ids])
    assert encoder.encode_queries([]).shape == (0, len(encoder.vocabulary))
    assert encoder.encode_queries(["금리 " * QUERY_TOKENS + "축구"]).nnz == 1, "the rest of a long query is not read"
    with pytest.raises(BadInputError, match="one per token"):
        encoder.encode_queries([text], weights[:5])


def test_blocked_tokens_and_feature_names() -> None:
    special = ["[PAD]", "[UNK]"]
    words = ["대통령", "##률", "ai", "3", "##.", ".", "%", "大", "3.5", "##b", "㎞", "…", "\u200b", "\u0301", "a b"]
    blocked = blocked_tokens(special + words, special)
    names = {token for token, is_blocked in zip(special + words, blocked, strict=True) if is_blocked}
    assert names == {*special, "##.", ".", "%", "大", "3.5", "㎞", "…", "\u200b", "\u0301", "a b"}
    assert feature_name("경제") == "경제"
    assert feature_name("##률") == "##률"
    assert feature_name("a%") == "a%"
    assert feature_name("3.5") == "3%2E5"
    assert feature_name("3%2E5") == "3%252E5"


# ---------------------------------------------------------------- windows
@pytest.mark.parametrize("length", [0, 1, 59, 89, 91, 200, 1000, 2503])
@pytest.mark.parametrize("word", ["가나다", "가나다라마바사아자차카타파하" * 30])
def test_windows_cover_a_text_in_parts_of_about_equal_length(length: int, word: str) -> None:
    text = (f"{word}  \n " * length)[:length]
    plain = " ".join(text.split())
    parts = windows(text, 60)
    assert len(parts) == max(1, round(len(plain) / 60))
    assert "".join(parts).replace(" ", "") == plain.replace(" ", "")
    assert all(part == part.strip() for part in parts)
    if len(word) == 3:
        assert len(parts) == 1 or all(40 <= len(part) <= 90 for part in parts)
        assert all(piece in plain.split() for part in parts for piece in part.split()), "no word is cut"


def test_a_text_is_cut_at_a_space() -> None:
    assert cut("  가나 다라  ", 10) == "가나 다라"
    assert cut("가나다라 마바사", 6) == "가나다라"
    assert cut("가나다라마바사", 3) == "가나다"
    assert cut("가 나다라마바", 6) == "가 나다라마", "no space in the second half"
    assert Encoding(max_chars=6).document_text("가나다라 마바사") == "가나다라"


# ---------------------------------------------------------------- folder
def test_the_folder_gives_the_same_vectors_and_settings(encoder: Encoder, tmp_path: Path) -> None:
    encoder.set_statistics(CorpusStatistics(np.linspace(0.5, 2, len(encoder.vocabulary), dtype=np.float32), 12.3456))
    documents, queries = encoder.encode_documents(TEXTS), encoder.encode_queries(TEXTS)
    encoder.facts["note"] = "모델"
    for _ in range(2):  # the second over the first
        encoder.save(tmp_path / "model", {"card.json": '{"kind": "tiny"}'})
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert not list((tmp_path / "model").rglob("*.bin"))
    again = Encoder.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(again.encode_queries(TEXTS).toarray(), queries.toarray())
    np.testing.assert_allclose(again.encode_documents(TEXTS).toarray(), documents.toarray(), atol=1e-6)
    assert again.encoding == encoder.encoding
    assert again.encoding.average_length == 12.35
    assert again.vocabulary_hash == encoder.vocabulary_hash
    assert again.dense_identity == encoder.dense_identity, "half precision of half precision is the same"
    assert again.facts["note"] == "모델"
    assert (tmp_path / "model" / "card.json").exists()
    idf = json.loads((tmp_path / "model" / "idf.json").read_text("utf-8"))
    assert list(idf) == encoder.vocabulary
    assert idf["경제"] == pytest.approx(float(encoder.query_weights[encoder.vocabulary.index("경제")]))
    told = Vocabulary.read(tmp_path / "model")
    assert told.names == encoder.vocabulary
    assert (told.blocked == encoder.blocked).all()


def test_another_dense_encoder_or_other_windows_have_another_identity(encoder: Encoder, tmp_path: Path) -> None:
    other = tiny_encoder(tmp_path / "other", seed=1)
    assert other.dense_identity != encoder.dense_identity
    encoder.encoding = dataclasses.replace(encoder.encoding, window_chars=90)
    encoder.save(tmp_path / "wide")
    assert Encoder.load(tmp_path / "wide").dense_identity == encoder.dense_identity.replace("-w60", "-w90")
    encoder.dense.settings = dataclasses.replace(encoder.dense.settings, passage_prefix="글: ")
    encoder.save(tmp_path / "prefixed")
    assert Encoder.load(tmp_path / "prefixed").dense_identity.split("-")[0] != encoder.dense_identity.split("-")[0]


def test_sentence_transformers_loads_the_folder(encoder: Encoder, folder: Path) -> None:
    from sentence_transformers import SparseEncoder

    library = SparseEncoder(str(folder), device="cpu", local_files_only=True)
    texts = [text for text in TEXTS if text != LONG]
    assert encoder.table is not None
    vectors = encoder.dense.encode(texts, "passage")
    ours = encoder.table.terms(vectors, np.arange(len(texts) + 1), len(encoder.vocabulary))
    np.testing.assert_allclose(library.encode_document(texts).to_dense().numpy(), ours.toarray(), atol=1e-5)
    queries = encoder.encode_queries(TEXTS).toarray()
    np.testing.assert_allclose(library.encode_query(TEXTS).to_dense().numpy(), queries, atol=1e-5)


def test_names_of_features_survive_decoding(encoder: Encoder) -> None:
    """ml-commons calls a term ``decode([id])``: it has to be the vocabulary's string."""
    for index, token in enumerate(encoder.vocabulary):
        if not encoder.blocked[index]:
            assert encoder.tokenizer.decode([index]) == token == feature_name(token)


def test_the_hash_ignores_formatting_and_truncation(encoder: Encoder) -> None:
    text = encoder.tokenizer.backend_tokenizer.to_str()
    spec = json.loads(text)
    spec["truncation"] = {"max_length": 8}
    assert vocabulary_hash(json.dumps(spec, indent=1)) == vocabulary_hash(text) == encoder.vocabulary_hash
    spec["normalizer"] = None
    assert vocabulary_hash(json.dumps(spec)) != vocabulary_hash(text)


def test_bad_folders_are_refused_in_one_sentence(encoder: Encoder, folder: Path, tmp_path: Path) -> None:
    def broken(name: str) -> Path:
        return Path(shutil.copytree(folder, tmp_path / name))

    with pytest.raises(BadInputError, match="is no folder"):
        Encoder.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="holds no model"):
        Encoder.load(tmp_path / "empty")
    for name in ("table.safetensors", f"{TRANSFORMER_MODULE}/model.safetensors"):
        changed = broken(name.replace("/", "-"))
        data = bytearray((changed / name).read_bytes())
        data[-1] ^= 1
        (changed / name).write_bytes(bytes(data))
        with pytest.raises(CorruptArtifactError, match=r"safetensors differs from garam\.json"):
            Encoder.load(changed)
    half = broken("half")
    (half / "garam.json").unlink()
    with pytest.raises(CorruptArtifactError, match="half-written"):
        Encoder.load(half)
    missing = broken("missing")
    (missing / "tokenizer.json").unlink()
    with pytest.raises(CorruptArtifactError, match=r"tokenizer\.json is missing"):
        Encoder.load(missing)
    old = broken("old")
    (old / "garam.json").write_text(json.dumps({"format": 1, "files": {}}), "utf-8")
    with pytest.raises(BadInputError, match="another version of Garam"):
        Encoder.load(old)
    with pytest.raises(BadInputError, match="finite numbers"):
        encoder.set_query_weights(np.full(len(encoder.vocabulary), -1, np.float32))


def test_a_table_of_another_encoder_is_refused(encoder: Encoder, tmp_path: Path) -> None:
    assert encoder.table is not None
    encoder.table.write(tmp_path)
    size, width = encoder.table.rows.shape
    again = QueryTable.read(tmp_path, size, width)
    assert again is not None
    np.testing.assert_array_equal(again.thresholds, encoder.table.thresholds)
    for other in ((size + 1, width), (size, width * 2)):
        with pytest.raises(CorruptArtifactError, match="belongs to another encoder"):
            QueryTable.read(tmp_path, *other)
    (tmp_path / "table.safetensors").write_bytes(b"no table")
    with pytest.raises(CorruptArtifactError, match="cannot be read"):
        QueryTable.read(tmp_path, size, width)
    assert QueryTable.read(tmp_path / "without", size, width) is None


def test_a_failed_save_leaves_the_old_folder(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder.save(tmp_path / "model")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.encoder.folder.write_manifest", full)
        with pytest.raises(BadInputError, match="No space left"):
            encoder.save(tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    Encoder.load(tmp_path / "model", device="cpu")


# ---------------------------------------------------------------- dense encoders
def test_dense_vectors_follow_the_formula_in_the_order_given() -> None:
    dense = tiny_dense()
    dense.settings = DenseSettings("mean", "속보 ", "뉴스 ")
    vectors = dense.encode(TEXTS, "query")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):
        batch = dense.tokenizer("속보 " + text, return_tensors="pt", truncation=True, max_length=64)
        with torch.no_grad():
            states = dense.model(input_ids=batch["input_ids"]).last_hidden_state[0]
        mean = states.mean(0)
        np.testing.assert_allclose(vector, (mean / mean.norm()).numpy(), atol=1e-5)
    assert not np.allclose(dense.encode(["금리"], "query"), dense.encode(["금리"], "passage"))
    assert dense.encode([], "query").shape == (0, 16)


def test_a_batch_that_memory_does_not_suffice_for_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = tiny_dense()
    expected = dense.encode(TEXTS, "passage")
    states = dense.states

    def scarce(ids: Any, mask: Any) -> Any:
        if len(ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return states(ids, mask)

    monkeypatch.setattr(dense, "states", scarce)
    np.testing.assert_allclose(dense.encode(TEXTS, "passage"), expected, atol=1e-5)


def test_settings_of_a_hub_folder_are_read(tmp_path: Path) -> None:
    dense = tiny_dense()
    dense.model.save_pretrained(tmp_path)
    dense.tokenizer.save_pretrained(tmp_path)
    assert DenseEncoder.load(tmp_path, device="cpu").settings.pooling == "mean"
    (tmp_path / "1_Pooling").mkdir()
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    prompts = {"prompts": {"query": "질문: ", "document": "글: "}}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    settings = DenseEncoder.load(tmp_path, device="cpu").settings
    assert (settings.pooling, settings.query_prefix, settings.passage_prefix) == ("cls", "질문: ", "글: ")
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    with pytest.raises(BadInputError, match="only mean and cls"):
        DenseEncoder.load(tmp_path, device="cpu")
    with pytest.raises(BadInputError, match="cannot be loaded"):
        DenseEncoder.load(tmp_path / "nothing", device="cpu")


# ---------------------------------------------------------------- masked language models from elsewhere
def masked_lm(folder: Path) -> Any:
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, pad_token_id=0, initializer_range=0.5,
    )  # fmt: skip
    model = BertForMaskedLM(config).eval()
    model.save_pretrained(folder)
    return model


def test_a_masked_language_model_is_an_encoder_to_compare_with(tmp_path: Path) -> None:
    model = masked_lm(tmp_path)
    encoder = load_any(tmp_path, device="cpu")
    assert isinstance(encoder, MaskedLMEncoder)
    rows = encoder.encode_documents(TEXTS)
    assert rows.shape == (len(TEXTS), len(encoder.vocabulary))
    for row, text in enumerate(TEXTS):
        batch = encoder.tokenizer(text, return_tensors="pt", truncation=True, max_length=64)
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"]).logits[0]
        expected = np.where(encoder.blocked, 0, torch.log1p(torch.relu(logits.amax(0))).numpy())
        np.testing.assert_allclose(rows[row].toarray()[0], expected, atol=1e-5)
    assert set(encoder.encode_queries(["금리 축구"]).data) == {1.0}
    assert encoder.encode_documents([]).shape == (0, len(encoder.vocabulary))


def test_a_model_without_a_head_is_no_sparse_encoder(folder: Path, tmp_path: Path) -> None:
    dense = tiny_dense()
    dense.model.save_pretrained(tmp_path)
    dense.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(BadInputError, match="no trained masked-LM head"):
        load_any(tmp_path, device="cpu")
    with pytest.raises(BadInputError, match="was not saved by Garam"):
        Encoder.load(tmp_path)
    assert isinstance(load_any(folder, device="cpu"), Encoder)
