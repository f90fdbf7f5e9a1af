"""Judged folders as people write them: read right, or one sentence with file and line."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from pipeline.errors import BadInputError
from pipeline.judged import read_judged

CORPUS = '{"_id": "d1", "title": "제목", "text": "본문"}\n'
QUERIES = '{"_id": "q1", "text": "질문"}\n'
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\n"


def folder(place: Path, corpus: str = CORPUS, queries: str = QUERIES, qrels: str = QRELS) -> Path:
    for name, text in (("corpus.jsonl", corpus), ("queries.jsonl", queries), ("qrels.tsv", qrels)):
        (place / name).write_bytes(text.encode())
    return place


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ('"title": "제목", "text": "본문"', "제목\n본문"),
        ('"title": "제목", "text": ""', "제목"),
        ('"title": "제목"', "제목"),
        ('"title": "제목", "text": null', "제목"),
        ('"title": null, "text": "본문"', "본문"),
        ('"text": 2026', "2026"),
        ('"title": "제목", "text": NaN', "제목"),
        ('"text": "ＫＯＳＰＩ 환\\u200b율"', "KOSPI 환율"),
        (f'"text": "{unicodedata.normalize("NFD", "환율")}"', "환율"),
    ],
)
def test_a_document_is_its_title_and_its_text(tmp_path: Path, fields: str, expected: str) -> None:
    _, corpus = read_judged(folder(tmp_path, f'{{"_id": "d1", {fields}}}\n{{"_id": "d2", "text": "다른 글"}}\n'))
    assert corpus is not None
    assert corpus.texts == [expected, "다른 글"]


@pytest.mark.parametrize("change", [
    lambda text: "\ufeff" + text,
    lambda text: text.replace("\n", "\r\n"),
    lambda text: text.replace("\n", "\n\n \n"),
    lambda text: text.rstrip("\n"),
])  # fmt: skip
def test_files_of_other_systems_read_alike(tmp_path: Path, change) -> None:
    queries, corpus = read_judged(folder(tmp_path, change(CORPUS), change(QUERIES), change(QRELS)))
    assert corpus is not None
    assert (corpus.ids, corpus.texts) == (["d1"], ["제목\n본문"])
    assert [(q.id, q.text, q.relevant) for q in queries.queries] == [("q1", "질문", {"d1": 1.0})]
    trec = tmp_path / "trec"
    trec.mkdir()
    (trec / "topics.tsv").write_bytes(change("q1\t질문\n").encode())
    (trec / "qrels.txt").write_bytes(change("q1 0 d1 1\n").encode())
    assert [(q.id, q.relevant) for q in read_judged(trec)[0].queries] == [("q1", {"d1": 1.0})]


@pytest.mark.parametrize("qrels", ["q1 d1 1\n", "q1\t0\td1\t1\n", 'q1\t"d1"\t1.0\n', QRELS + "q1\tunknown\t1\n"])
def test_judgments_in_other_columns(tmp_path: Path, qrels: str) -> None:
    queries, _ = read_judged(folder(tmp_path, qrels=qrels))
    assert queries.queries[0].relevant["d1"] == 1.0


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"corpus": '{"_id": "d1"}\n'}, "no document with a title or a text"),
        ({"corpus": '{"_id": "other", "text": "글"}\n'}, "judges documents that its corpus.jsonl does not have"),
        ({"queries": QUERIES + QUERIES}, r"queries.jsonl:2 has the same _id twice"),
        ({"queries": '{"_id": "q1"}\n'}, r"queries.jsonl:1 is a judged query without text"),
        ({"queries": '{"_id": "q1", "text": {"ko": "질문"}}\n'}, r"queries.jsonl:1 has a text that is no text"),
        ({"queries": '{"_id": "q9", "text": "질문"}\n'}, "no query with a relevant document"),
        ({"qrels": "q1\td1\t-inf\n"}, r"qrels.tsv:1 has the score '-inf'"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        read_judged(folder(tmp_path, **files))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("topics", "qrels", "message"),
    [
        ("q1\t질문\n", "q1 0 d1 nan\n", r"qrels.txt:1 has the score 'nan'"),
        ("q1\t질문\n", "q1 d1 1\n", r"qrels.txt:1 is not query-id, 0"),
        ("q1\t질문\nq1\t다른 질문\n", "q1 0 d1 1\n", r"topics.tsv:2 has the query q1 twice"),
        ("q1\t \n", "q1 0 d1 1\n", r"topics.tsv:1 is a judged query without text"),
    ],
)
def test_wrong_trec_files_name_the_line(tmp_path: Path, topics: str, qrels: str, message: str) -> None:
    (tmp_path / "topics.tsv").write_text(topics)
    (tmp_path / "qrels.txt").write_text(qrels)
    with pytest.raises(BadInputError, match=message):
        read_judged(tmp_path)
