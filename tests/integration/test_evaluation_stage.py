"""`evaluate`, `decide` and `judge_query_weights` on a real Postgres and a real OpenSearch."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline import evaluation
from pipeline.artifacts.query_sets import Corpus, Query, QuerySet
from pipeline.artifacts.query_weights import QueryWeights
from pipeline.artifacts.vectors import DenseVectors
from pipeline.config import Config
from pipeline.config.evaluation import EvaluationConfig
from pipeline.encoder import QueryTable
from pipeline.errors import RefusedError, UsageError
from pipeline.kept import keep
from pipeline.store import datasets, evaluations, models, schema, vectors
from tests.integration.serving_world import World
from tests.tiny import tiny_encoder

NOUNS = [
    "코로나19", "마스크", "확진자", "백신", "한국은행", "금리", "경제", "물가",
    "환율", "대통령", "국회", "선거", "방역", "병원", "학교", "축구",
]  # fmt: skip
"""As many as the tiny dense encoder's vectors have numbers."""
DAY = dt.date(2020, 3, 1)


class Judging(World):
    """A world with a corpus, query sets, a training set, and models whose tables are good or bad.

    They share a dense encoder, of which vectors are kept: each text's points at the two words that its question has.
    """

    def __init__(self, folder: Path, database: str, opensearch: str) -> None:
        super().__init__(folder, database, opensearch)
        rng = np.random.default_rng(0)
        words = [rng.choice(NOUNS, 4, replace=False).tolist() for _ in range(120)]
        self.corpus = Corpus([str(i) for i in range(120)], [" ".join(w) for w in words])
        # The question names two words of its document, so that its document is rarely the only one with both.
        queries = [
            Query(f"q{i}", f"{w[0]} {w[1]}", {str(i): 1.0}, ("odd",) if i % 2 else ("even",))
            for i, w in enumerate(words)
        ]
        self.corpus.write(folder / "corpus")
        corpus = self.ctx.artifacts.put(folder / "corpus", "corpus")
        self.keep_vectors(words)
        ids = []
        with self.ctx.store.begin() as conn:
            for name, part in (("fresh", queries[:80]), ("anchor", queries[40:])):
                QuerySet(name, part, corpus).write(folder / name)
                artifact = self.ctx.artifacts.put(folder / name, "queryset")
                ids.append(datasets.register_query_set(conn, self.as_of, name=name, artifact=artifact, report={}))
            self.training_set = datasets.register(
                conn, self.as_of, recipe_hash="r", recipe={}, artifact="none", report={}, query_set_ids=ids
            )

    @property
    def as_of(self) -> Any:
        from pipeline.asof import AsOf

        return AsOf(DAY, self.known)

    def keep_vectors(self, words: list[list[str]]) -> None:
        """A vector a text, with a number for each noun."""
        vectors = np.zeros((len(words), len(NOUNS)), np.float32)
        for row, some in enumerate(words):
            vectors[row, [NOUNS.index(word) for word in some[:2]]] = 0.5**0.5
        encoder = tiny_encoder(self.folder / "dense")
        starts = np.arange(len(words) + 1)
        keep(self.ctx, DenseVectors.of(encoder.dense_identity, self.corpus.texts, starts, vectors))

    def trained(self, seed: int, day: int, *, good: bool) -> int:
        """A model of a day in March; a good one's table lifts the words of a text's question, a bad one's others."""
        folder = self.folder / f"m{seed}"
        encoder = tiny_encoder(folder)
        assert encoder.table is not None
        tokens = np.array([encoder.token_ids(word)[0] for word in NOUNS])
        rows, thresholds = np.zeros_like(encoder.table.rows), np.full_like(encoder.table.thresholds, np.inf)
        rows[tokens if good else np.roll(tokens, 1)] = np.eye(len(NOUNS))
        thresholds[tokens] = 0.3
        encoder.table = QueryTable(rows, thresholds, 8.0 if good else 16.0)
        encoder.facts["number"] = seed
        encoder.save(folder)
        artifact = self.ctx.artifacts.put(folder, "model")
        with self.ctx.store.begin() as conn:
            return models.register(
                conn,
                artifact=artifact,
                kind="trained",
                vocabulary_hash=encoder.vocabulary_hash,
                card={},
                training_set_id=self.training_set,
                day=dt.date(2020, 3, day),
                known_by=self.known + dt.timedelta(days=day),
            )

    def serve(self, model_id: int, weights: int | None = None) -> int:
        """What a deployment leaves in the rows."""
        with self.ctx.store.begin() as conn:
            table = schema.generations
            conn.execute(sa.update(table).where(table.c.status == "live").values(status="retired"))
            row = {
                "model_id": model_id,
                "query_weights_id": weights,
                "index_name": f"{self.alias}-{model_id}-{weights}",
            }
            insert = sa.insert(table).values(
                **row, content_hash="c", status="live", settings={}, promoted_at=self.known
            )
            return int(conn.execute(insert.returning(table.c.id)).scalar_one())

    def weights(self, day: int, numbers: Any, vocabulary_hash: str) -> int:
        """Query weights as the temporal stage writes them."""
        folder = self.folder / f"w{day}"
        QueryWeights(numbers, {"boosted": [{"token": "코로나19", "boost": 2.0}]}).write(folder)
        artifact = self.ctx.artifacts.put(folder, "weights")
        with self.ctx.store.begin() as conn:
            version = conn.execute(
                sa.insert(schema.counting_versions)
                .values(level=f"l{day}", key="k")
                .returning(schema.counting_versions.c.id)
            ).scalar_one()
            stats = conn.execute(
                sa.insert(schema.statistics)
                .values(
                    day=dt.date(2020, 3, day), known_by=self.known, token_version_id=version, word_version_id=version,
                    config_hash="c", content_hash="c", arrays=b"",
                )
                .returning(schema.statistics.c.id)
            ).scalar_one()  # fmt: skip
            return int(
                conn.execute(
                    sa.insert(schema.query_weights)
                    .values(
                        statistics_id=stats,
                        day=dt.date(2020, 3, day),
                        vocabulary_hash=vocabulary_hash,
                        content_hash=f"h{day}",
                        artifact=artifact,
                    )
                    .returning(schema.query_weights.c.id)
                ).scalar_one()
            )

    def decision(self, evaluation_id: int) -> evaluations.Decision:
        decision_id = evaluation.decide(self.ctx, evaluation_id)
        with self.ctx.store.begin() as conn:
            return evaluations.decision(conn, decision_id)


@pytest.fixture
def world(tmp_path: Path, database: str, opensearch_url: str) -> Judging:
    return Judging(tmp_path, database, opensearch_url)


def test_two_rounds(world: Judging) -> None:
    good = world.trained(1, 2, good=True)
    first = evaluation.evaluate(world.ctx, good)
    assert evaluation.evaluate(world.context(), good) == first
    with world.ctx.store.begin() as conn:
        report = evaluations.evaluation(conn, first).report
    assert set(report["sets"]) == {"fresh", "anchor"}
    assert set(report["sets"]["fresh"]) == {"bm25", "candidate", "candidate+bm25", "floor", "floor+bm25"}
    assert report["servable"]["passed"], report["servable"]
    assert report["encoded_here"] == {"candidate": 0}
    assert 0.2 < report["sets"]["fresh"]["bm25"]["ndcg@10"] < report["sets"]["fresh"]["candidate"]["ndcg@10"]
    decided = world.decision(first)
    assert decided.verdict == "promote", decided.reason
    assert world.decision(first) == decided
    assert [rule["name"] for rule in decided.rules][-2:] == ["first beats BM25", "own floor"]
    fresh = report["sets"]["fresh"]
    assert fresh["floor"]["ndcg@10"] < fresh["candidate"]["ndcg@10"]
    assert fresh["floor"]["active_terms"] == 4

    generation = world.serve(good)
    assert world.decision(first) == decided  # taken once, whatever serves now
    bad = world.trained(2, 3, good=False)
    second = evaluation.evaluate(world.ctx, bad)
    decided = world.decision(second)
    assert decided.verdict == "reject"
    failed = [rule["name"] for rule in decided.rules if not rule["passed"]]
    assert failed[:2] == ["better on fresh", "not worse on anchor"]
    assert failed[-1] == "own floor"
    assert f"generation {generation}" in decided.reason
    with world.ctx.store.begin() as conn:
        vocabulary = models.get(conn, bad).vocabulary_hash
        found, head = models.get(conn, bad), models.head(conn, vocabulary)
    assert found.unhealthy_at is not None
    assert "lower with 95% confidence" in str(found.unhealthy_why)
    assert head is not None
    assert head.id == good  # the training line goes on from the champion
    text = evaluation.render_decision(decided)
    assert "REJECT" in text
    assert "fresh/odd" in text

    # A worse model came to serve all the same (a person forced it); the best ever served is still what counts.
    world.serve(bad)
    again = world.trained(3, 4, good=False)
    third = world.decision(evaluation.evaluate(world.ctx, again))
    anchor = next(rule for rule in third.rules if rule["name"] == "not worse on anchor")
    assert not anchor["passed"]
    assert f"model {good}" in anchor["sentence"]


def test_a_decision_against_a_replaced_champion_is_refused(world: Judging) -> None:
    good = world.trained(1, 2, good=True)
    found = evaluation.evaluate(world.ctx, good)
    world.serve(world.trained(2, 1, good=False))
    with pytest.raises(RefusedError, match="evaluate model"):
        evaluation.decide(world.ctx, found)


def test_a_model_without_a_training_set_is_refused(world: Judging) -> None:
    with pytest.raises(UsageError, match="was not trained on a training set"):
        evaluation.evaluate(world.ctx, world.model(9))


def test_vectors_that_are_missing_are_made_and_kept_and_judged_queries_take_part(
    world: Judging, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "topics.tsv").write_text("1\t코로나19 백신\n2\t축구 감독\n", encoding="utf-8")
    (folder / "qrels.txt").write_text("1 0 5 1\n2 0 https://nowhere.example 1\n2 0 7 2\n", encoding="utf-8")
    config = world.config.model_copy(update={"evaluation": EvaluationConfig(judged=[str(folder)])})
    assert isinstance(config, Config)
    world.config = config
    ctx = world.context()
    model = world.trained(1, 2, good=True)
    with ctx.store.begin() as conn:
        conn.execute(sa.delete(schema.dense_vectors))
    with ctx.store.begin() as conn:
        report = evaluations.evaluation(conn, evaluation.evaluate(ctx, model)).report
    assert report["encoded_here"] == {"candidate": len(set(world.corpus.texts))}
    assert report["sets"]["judged:mine"]["bm25"]["queries"] == 2
    with ctx.store.begin() as conn:
        (kept,) = vectors.dense(conn)
    assert kept.texts == len(set(world.corpus.texts))
    world.serve(model)
    other = world.trained(2, 3, good=False)
    with ctx.store.begin() as conn:
        report = evaluations.evaluation(conn, evaluation.evaluate(ctx, other)).report
    assert report["encoded_here"] == {"candidate": 0, "champion": 0}, "they share a dense encoder"


def test_another_corpus_has_statistics_of_its_own(world: Judging, tmp_path: Path) -> None:
    """Its texts are encoded once, whatever they are ranked with."""
    folder = tmp_path / "foreign"
    world.corpus.write(folder)
    QuerySet("foreign", [Query("q", "코로나19 백신", {"5": 1.0})]).write(folder)
    world.config = world.config.model_copy(update={"evaluation": EvaluationConfig(judged=[str(folder)])})
    with world.ctx.store.begin() as conn:
        conn.execute(sa.delete(schema.dense_vectors))
    ctx = world.context()
    with ctx.store.begin() as conn:
        report = evaluations.evaluation(conn, evaluation.evaluate(ctx, world.trained(1, 2, good=True))).report
    assert report["encoded_here"] == {"candidate": len(set(world.corpus.texts))}
    assert {"bm25", "candidate", "floor"} <= set(report["sets"]["judged:foreign"])


def test_query_weights_pass_a_gate_of_their_own(world: Judging) -> None:
    good = world.trained(1, 2, good=True)
    with world.ctx.store.begin() as conn:
        model = models.get(conn, good)
    encoder = tiny_encoder(world.folder / "again")
    one = encoder.query_weights
    first = world.weights(5, one, model.vocabulary_hash)
    assert evaluation.judge_query_weights(world.ctx, first)
    with world.ctx.store.begin() as conn:
        verdict = evaluations.weights(conn, first).verdict
    assert verdict is not None
    assert "no champion yet" in verdict["reason"]
    world.serve(good, first)
    assert evaluation.judge_query_weights(world.ctx, world.weights(6, one * 1.01, model.vocabulary_hash))
    useless = np.where(
        encoder.blocked, 0, np.where(np.arange(len(one)) % 2 == 0, 1e-7, 60)
    )  # the small ones are lost in rounding
    spoiled = world.weights(7, useless, model.vocabulary_hash)
    assert not evaluation.judge_query_weights(world.ctx, spoiled)
    with world.ctx.store.begin() as conn:
        verdict = evaluations.weights(conn, spoiled).verdict
    assert verdict is not None
    assert "Possibly worse" in verdict["reason"]
    assert not evaluation.judge_query_weights(world.ctx, spoiled)
    assert not evaluation.judge_query_weights(world.ctx, world.weights(4, one, model.vocabulary_hash))
    broken = one.copy()
    broken[np.flatnonzero(~encoder.blocked)[0]] = np.nan
    assert not evaluation.judge_query_weights(world.ctx, world.weights(8, broken, model.vocabulary_hash))
