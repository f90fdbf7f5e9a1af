"""Vectors and query sets: written and read back, and wrong files refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from pipeline.errors import BadInputError, CorruptArtifactError
from pipeline.querysets import Corpus, Query, QuerySet
from pipeline.vectors import Vectors


def test_vectors_are_found_by_text(tmp_path: Path) -> None:
    texts = ["한국은행이 금리를 올렸다", "강에 물이 흐른다"]
    matrix = sp.csr_matrix(np.array([[0, 1.5, 0], [2.25, 0, 0.125]], dtype=np.float32))
    vectors = Vectors.empty("model-x", 3).with_rows(texts, matrix)
    vectors.write(tmp_path)
    read = Vectors.read(tmp_path)
    assert (read.rows([texts[1], texts[0], texts[1]]).toarray() == matrix.toarray()[[1, 0, 1]]).all()
    assert read.missing([texts[0], "새 글", "새 글"]) == ["새 글"]
    with pytest.raises(KeyError):
        read.rows(["새 글"])


def test_cut_vectors_are_refused(tmp_path: Path) -> None:
    Vectors.empty("model-x", 3).with_rows(["글"], sp.csr_matrix((1, 3), dtype=np.float32)).write(tmp_path)
    held = (tmp_path / "vectors.npz").read_bytes()
    (tmp_path / "vectors.npz").write_bytes(held[: len(held) // 2])
    with pytest.raises(CorruptArtifactError):
        Vectors.read(tmp_path)


def test_a_query_set_reads_back(tmp_path: Path) -> None:
    queries = [Query("q1", "코로나19 마스크", {"7": 1.0}, ("trending",)), Query("q2", "금리", {"9": 2.0, "8": 1.0})]
    QuerySet("fresh", queries, corpus="corpus-0").write(tmp_path)
    assert QuerySet.read(tmp_path) == QuerySet("fresh", queries, corpus="corpus-0")


def test_a_foreign_beir_folder_reads(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "질문"}\n{"_id": "2", "text": "판정 없음"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\td1\t1\n1\td2\t0\n")
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "title": "제목", "text": "본문"}\n')
    read = QuerySet.read(tmp_path)
    assert [q.id for q in read.queries] == ["1"]
    assert read.queries[0].relevant == {"d1": 1.0}
    assert Corpus.read(tmp_path).texts == ["본문"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("corpus.jsonl", '{"text": "no id"}\n', "has no _id"),
        ("corpus.jsonl", '{"_id": "1"}\n{"_id": "1"}\n', "the same _id twice"),
        ("corpus.jsonl", "not json\n", "not JSON lines"),
    ],
)
def test_a_wrong_corpus_is_one_sentence(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInputError, match=message):
        Corpus.read(tmp_path)


def test_wrong_qrels_name_the_line(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "질문"}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n1\td1\tbest\n")
    with pytest.raises(BadInputError, match=r"qrels.tsv:2"):
        QuerySet.read(tmp_path)
