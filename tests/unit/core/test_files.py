"""Vectors and query sets: written and read back, and wrong files refused in one sentence."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts import Artifacts
from pipeline.artifacts.jobs import BaseJob, FineTuningJob, JobAsOf, NewArticles, TrainingJob, read_job
from pipeline.artifacts.query_sets import Corpus, Query, QuerySet
from pipeline.artifacts.query_weights import QueryWeights
from pipeline.artifacts.training_set import Example, Passage, TrainingSet
from pipeline.artifacts.vectors import DenseVectors, KeptVectors, text_key, to_merge
from pipeline.config.encoder import EncoderConfig
from pipeline.config.training import TrainingConfig
from pipeline.errors import BadInputError, CorruptArtifactError

TEXTS = ["한국은행이 금리를 올렸다", "강에 물이 흐른다", ""]


def vectors(encoder: str = "e-w300", factor: float = 1.0) -> DenseVectors:
    """Of three texts with two, one and one windows."""
    matrix = factor * np.arange(8, dtype=np.float32).reshape(4, 2)
    return DenseVectors.of(encoder, TEXTS, np.array([0, 2, 3, 4]), matrix)


def test_dense_vectors_are_read_back_by_text(tmp_path: Path) -> None:
    vectors().write(tmp_path / "d")
    read = DenseVectors.read(tmp_path / "d")
    assert (read.encoder, read.matrix.dtype) == ("e-w300", np.float16)
    windows, starts = read.rows([TEXTS[1], TEXTS[0], TEXTS[1]])
    assert windows.dtype == np.float32
    assert windows.tolist() == [[4, 5], [0, 1], [2, 3], [4, 5]]
    assert starts.tolist() == [0, 1, 3, 4]
    assert read.missing([TEXTS[0], "새 글", "새 글"]) == ["새 글"]
    with pytest.raises(KeyError):
        read.rows(["새 글"])


def test_some_of_the_dense_vectors_are_taken_and_left_out() -> None:
    some = vectors().only([TEXTS[2], "새 글", TEXTS[0], TEXTS[2]])
    assert some.missing(TEXTS) == [TEXTS[1]]
    assert some.rows([TEXTS[0]])[0].tolist() == [[0, 1], [2, 3]]
    rest = vectors().without({text_key(TEXTS[0]), text_key("새 글")})
    assert (rest.missing(TEXTS), len(rest.matrix)) == ([TEXTS[0]], 2)
    assert rest.rows(TEXTS[1:])[0].tolist() == [[4, 5], [6, 7]]
    nothing = vectors().without({text_key(text) for text in TEXTS})
    assert (nothing.keys, nothing.starts.tolist(), len(nothing.matrix)) == ([], [0], 0)
    both = DenseVectors.join([vectors().only(TEXTS[:1]), vectors().only(TEXTS[1:])])
    assert both.rows(TEXTS)[0].tolist() == vectors().rows(TEXTS)[0].tolist()


def test_kept_vectors_are_those_of_the_newest_part_and_of_one_encoder() -> None:
    kept = KeptVectors("e-w300", [vectors(), vectors("other-w300", 9.0)])
    assert len(kept) == 3
    assert kept.missing([*TEXTS, "새 글", "새 글"]) == ["새 글"]
    kept.add(vectors(factor=2.0).only([TEXTS[1]]))
    chosen = kept.only(["새 글", TEXTS[1], TEXTS[0]])
    assert chosen is not None
    assert chosen.rows([TEXTS[0], TEXTS[1]])[0].tolist() == [[0, 1], [2, 3], [8, 10]]
    assert kept.only(["새 글"]) is None
    assert KeptVectors("e-w300").missing(TEXTS[:1]) == TEXTS[:1]


@pytest.mark.parametrize("name", ["windows.npy", "starts.npy", "dense.json"])
def test_cut_dense_vectors_are_refused(tmp_path: Path, name: str) -> None:
    vectors().write(tmp_path)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) - 3])
    with pytest.raises(CorruptArtifactError):
        DenseVectors.read(tmp_path)


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
        ("corpus.jsonl", "not json\n", "corpus.jsonl:1 is not JSON lines"),
        ("corpus.jsonl", '{"_id": "1"}\n\n[]\n', "corpus.jsonl:3 has no _id"),
        ("corpus.jsonl", '{"_id": null, "text": "본문"}\n', "corpus.jsonl:1 has no _id"),
        ("corpus.jsonl", '{"_id": "1", "text": ["본문"]}\n', "corpus.jsonl:1 has a text that is no text"),
        ("corpus.jsonl", '{"_id": "1", "title": true}\n', "corpus.jsonl:1 has a title that is no text"),
        ("corpus.jsonl", '{"_id": "1"}\n{"_id": 1}\n', "corpus.jsonl:2 has the same _id twice"),
    ],
)
def test_a_wrong_corpus_is_one_sentence(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInputError, match=message):
        Corpus.read(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1\td1\tbest", r"qrels.tsv:2 has the score 'best'"),
        ("1\td1\tinf", r"qrels.tsv:2 has the score 'inf'"),
        ("1\td1\tNaN", r"qrels.tsv:2 has the score 'NaN'"),
        ("1\t1", r"qrels.tsv:2 is not query-id"),
    ],
)
def test_wrong_qrels_name_the_line(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "질문"}\n')
    (tmp_path / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{row}\n")
    with pytest.raises(BadInputError, match=message):
        QuerySet.read(tmp_path)


def test_small_artifacts_are_put_together_once_they_are_many() -> None:
    sizes = {f"dense-{number}": 200 for number in range(15)} | {"dense-large": 50_000}
    assert to_merge(sizes) == []
    assert to_merge(sizes | {"dense-15": 10}) == [f"dense-{number}" for number in range(16)]


def test_query_weights_are_read_as_written_and_garbled_ones_are_refused(tmp_path: Path) -> None:
    QueryWeights(np.array([0.5, 2.0], np.float32), {"boosted": []}).write(tmp_path / "weights")
    read = QueryWeights.read(tmp_path / "weights")
    assert (read.weights.tolist(), read.weights.dtype, read.explanation) == ([0.5, 2.0], np.float32, {"boosted": []})
    (tmp_path / "weights" / "explain.json").write_text("{cut")
    with pytest.raises(CorruptArtifactError, match="no readable query weights"):
        QueryWeights.read(tmp_path / "weights")


DAY = dt.date(2026, 2, 1)


def test_a_job_is_read_as_written_and_names_every_artifact_that_it_needs(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "store")
    known = JobAsOf(day=DAY, known_by=dt.datetime(2026, 2, 2, tzinfo=dt.UTC))
    job = TrainingJob(
        as_of=known, training_set="set", training_set_id=1, query_sets=["queries"], corpora=["corpus"],
        unseen=["unseen"], recent="recent", sums=[(DAY, "sums")], sums_recipe="recipe",
        new=NewArticles(corpus="new", days=[DAY], versions=[1]), dense=["dense"], parent="parent", base="base",
        champion="champion", champion_dense=["champion dense"], training=TrainingConfig(),
    )  # fmt: skip
    name = job.put(artifacts)
    assert (read_job(artifacts.get(name)), job.put(artifacts)) == (job, name)
    assert job.references() == {
        "set", "queries", "corpus", "unseen", "recent", "sums", "new", "dense", "parent", "base", "champion",
        "champion dense",
    }  # fmt: skip
    tuned = FineTuningJob(as_of=known, training_set="set", start="base", training=TrainingConfig())
    assert read_job(artifacts.get(tuned.put(artifacts))).references() == {"set", "base"}
    built = BaseJob(as_of=JobAsOf(day=DAY), texts="corpus", encoder=EncoderConfig())
    assert read_job(artifacts.get(built.put(artifacts))) == built


@pytest.mark.parametrize("text", ["{cut", "[]", '{"kind": "train", "format": 1}', '{"kind": "other"}'])
def test_a_job_of_another_version_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(BadInputError, match="another version of Garam: make it again"):
        read_job(tmp_path)
    with pytest.raises(BadInputError, match="is not a job"):
        read_job(tmp_path / "elsewhere")


def test_a_training_set_is_read_as_written_and_says_whose_words_it_holds(tmp_path: Path) -> None:
    passages = [Passage(id=f"{n}-0", article_id=n, story_id=7, outlet="가람", day=DAY, text="본문") for n in (7, 8)]
    examples = [Example(query="제목", kind="title", positive="7-0", day=DAY, weight=0.5, hard=["8-0"])]
    whole = TrainingSet(passages, examples, {"format": 3}, {"articles": 2})
    whole.write(tmp_path)
    assert TrainingSet.read(tmp_path) == whole
    assert list(TrainingSet.sources(tmp_path)) == ["7", "8"]
    with (tmp_path / "examples.jsonl").open("a") as handle:
        handle.write('{"query": "제목"}\n')
    with pytest.raises(BadInputError, match=r"examples\.jsonl:2 does not fit \(kind"):
        TrainingSet.read(tmp_path)
