"""`evaluate.py`: models on judged folders, without database and cluster."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import evaluate
from pipeline.artifacts.vectors import KeptVectors, text_key
from pipeline.encoder import Encoder
from pipeline.encoder.statistics import corpus_statistics
from pipeline.errors import BadInputError
from pipeline.evaluation.encodings import Ranker
from tests.tiny import tiny_encoder, tiny_tokenizer

TEXTS = ["금리 인상 물가", "금리 경제 환율", "금리 축구", "금리 날씨 태풍 폭우 지진"]


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    folder = tmp_path / "news"
    folder.mkdir()
    rows = [{"_id": f"d{n}", "title": "", "text": text} for n, text in enumerate(TEXTS)]
    queries = [{"_id": "q1", "text": "금리 축구"}, {"_id": "q2", "text": "태풍"}]
    for name, held in (("corpus", rows), ("queries", queries)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in held)
        (folder / f"{name}.jsonl").write_text(lines, "utf-8")
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td3\t1\n", "utf-8")
    return folder


def test_the_report_has_models_baselines_and_the_comparison(
    judged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_encoder(tmp_path / "model")
    arguments = ["--model", str(tmp_path / "model"), "--data", str(judged), "--baseline", "bm25"]
    assert evaluate.main([*arguments, "--output", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    systems = report["sets"]["news"]
    assert set(systems) == {"bm25", "floor", "model", "model+bm25"}
    assert systems["bm25"]["ndcg@10"] == 1
    assert 0 < systems["floor"]["active_terms"] < systems["model"]["active_terms"]
    assert systems["model"]["queries"] == 2
    assert {row["system"] for row in report["comparisons"]["news"]} == {"model", "model+bm25"}
    assert "news" in capsys.readouterr().out
    assert (tmp_path / "out" / "report.html").stat().st_size > 1000


@pytest.mark.parametrize("missing", ["model", "data", "corpus"])
def test_what_is_missing_is_said_in_a_sentence(
    judged: Path, tmp_path: Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_encoder(tmp_path / "model")
    if missing == "corpus":
        (judged / "corpus.jsonl").unlink()
    model = tmp_path / ("nowhere" if missing == "model" else "model")
    data = tmp_path / "nothing" if missing == "data" else judged
    code = evaluate.main(["--model", str(model), "--data", str(data), "--output", str(tmp_path / "out")])
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert code in (1, 2)
    assert {"model": "no folder of a model", "data": "no folder", "corpus": "no corpus.jsonl"}[missing] in said
    assert not (tmp_path / "out" / "report.json").exists()


def test_statistics_are_those_of_the_corpus_that_is_searched(tmp_path: Path) -> None:
    """As BM25's are: a word of every text weighs next to nothing, whatever it weighed where the model was trained."""
    encoder = tiny_encoder(tmp_path / "model")
    known = corpus_statistics(encoder, TEXTS)
    common, rare = (encoder.token_ids(word)[0] for word in ("금리", "축구"))
    expected = np.log1p((4 - 4 + 0.5) / (4 + 0.5)) / np.log1p((4 - 1 + 0.5) / (1 + 0.5))
    assert known.query_weights[common] / known.query_weights[rare] == pytest.approx(expected)
    assert known.average_length == pytest.approx((3 + 3 + 2 + 5) / 4)

    ours = Ranker("m", tmp_path / "model")
    there = ours.over(TEXTS)
    assert there.queries(["금리 축구"])[0, common] == pytest.approx(float(known.query_weights[common]))
    assert ours.queries(["금리 축구"])[0, common] == pytest.approx(float(encoder.query_weights[common]))
    floors = []
    for ranker in (ours, there):
        floor = ranker.floor(["금리 축구"])
        assert floor is not None
        floors.append(floor[0, rare])
    assert floors[0] > floors[1], "two words are short among eight, and nearly average among three"
    with pytest.raises(BadInputError, match="no texts"):
        corpus_statistics(encoder, [])


def test_what_a_base_knows_of_its_texts_is_saved_with_it(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "model")
    encoder.set_statistics(corpus_statistics(encoder, TEXTS))
    encoder.save(tmp_path / "saved")
    again = Encoder.load(tmp_path / "saved")
    assert again.encoding.average_length == 3.25
    text = "금리 경제 환율"
    own = again.token_ids(text)
    k1, b = 1.2, 0.75
    expected = again.encoding.lexical_floor * (k1 + 1) / (1 + k1 * (1 - b + b * 3 / 3.25))
    np.testing.assert_allclose(again.lexical_floor([text]).toarray()[0][own], expected, rtol=1e-5)


def test_a_text_is_encoded_once_whatever_statistics_it_is_ranked_with(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "model")
    kept = KeptVectors(encoder.dense_identity, [encoder.encode_dense(TEXTS[:1])])
    ours = Ranker("m", tmp_path / "model", dense=kept)
    assert ours.lacking(TEXTS + TEXTS) == TEXTS[1:]
    rows = ours.documents(TEXTS)
    np.testing.assert_allclose(rows.toarray(), encoder.encode_documents(TEXTS).toarray(), atol=2e-3)
    assert (ours.encoded, ours.lacking(TEXTS)) == (3, [])
    there = ours.over(TEXTS)
    assert not np.allclose(there.documents(TEXTS).toarray(), rows.toarray())
    assert there.documents([*TEXTS, "태풍"]).shape[0] == 5
    assert ours.encoded == there.encoded == 4, "both count together"
    assert [key for part in ours.made for key in part.keys] == [text_key(text) for text in [*TEXTS[1:], "태풍"]]
    other = Ranker("n", tmp_path / "model", dense=kept)
    other.documents(TEXTS)
    assert other.encoded == 0, "models of one dense encoder share its vectors"


def test_a_base_needs_no_dense_vectors(tmp_path: Path) -> None:
    tiny_encoder(tmp_path / "base", gain=0.0)
    base = Ranker("b", tmp_path / "base")
    floor = base.floor(TEXTS)
    assert floor is not None
    np.testing.assert_array_equal(base.documents(TEXTS).toarray(), floor.toarray())
    assert (base.encoded, base.made) == (0, [])


def test_a_masked_language_model_is_compared_with(judged: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path / "hub")
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, pad_token_id=0, initializer_range=0.5,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(tmp_path / "hub")
    tiny_encoder(tmp_path / "model")
    arguments = ["--model", str(tmp_path / "hub"), "--model", str(tmp_path / "model"), "--data", str(judged)]
    assert evaluate.main([*arguments, "--baseline", str(tmp_path / "hub"), "--output", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert set(report["sets"]["news"]) == {"hub", "hub-2", "model", "floor"}
    assert report["sets"]["news"]["hub"]["ndcg@10"] == report["sets"]["news"]["hub-2"]["ndcg@10"]
    there = Ranker("hub", tmp_path / "hub").over(TEXTS)
    assert there.floor(TEXTS) is None
    assert there.documents(TEXTS).shape == (4, len(tokenizer))
    assert there.encoded == 4
    common = there.encoder.token_ids("금리")[0]
    assert there.queries(["금리"])[0, common] < 1, "a word of every text weighs next to nothing"
