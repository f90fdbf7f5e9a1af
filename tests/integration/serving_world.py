"""A small installation for the tests of serving: tiny models, articles, decisions; real Postgres and OpenSearch."""

from __future__ import annotations

import datetime as dt
import json
import secrets
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from pipeline.artifacts.query_weights import QueryWeights
from pipeline.asof import SEOUL
from pipeline.config import Config
from pipeline.config.serving import ServingConfig
from pipeline.config.storage import StorageConfig
from pipeline.context import Context
from pipeline.kept import keep
from pipeline.store import evaluations, generations, models, schema
from tests.tiny import tiny_encoder

WORDS = ["코로나19 확진자", "한국은행 기준금리", "축구 대표팀", "태풍 폭우", "삼성 반도체", "국회 선거", "학교 개학"]


class World:
    """Rows are written as the other stages write them; everything has an alias of its own."""

    def __init__(self, folder: Path, database: str, opensearch: str, **serving: Any) -> None:
        self.alias = f"t{secrets.token_hex(4)}"
        settings: dict[str, Any] = {"alias": self.alias, "grace_seconds": 0, "keep_generations": 1, **serving}
        self.config = Config(
            storage=StorageConfig(artifacts=str(folder / "artifacts")),
            serving=ServingConfig(**settings),
        )
        self.folder, self.database, self.opensearch = folder, database, opensearch
        self.ctx = self.context()
        self.ctx.store.migrate()
        self.known = dt.datetime(2020, 3, 1, 9, tzinfo=SEOUL)

    def context(self) -> Context:
        """A context of its own, as another process has."""
        from pipeline.search import Cluster
        from pipeline.store import Store

        ctx = Context(self.config)
        ctx.__dict__["store"] = Store(self.database)
        ctx.__dict__["cluster"] = Cluster(self.opensearch)
        return ctx

    def article(self, number: int, *, text: str | None = None, version: int = 1, title: str | None = None) -> int:
        """Add an article, or a version of one; its id."""
        url = f"https://news.example/{number}"
        title = title or f"{WORDS[number % len(WORDS)]} 속보"
        text = text or f"{WORDS[number % len(WORDS)]} 발표 {WORDS[(number + 3) % len(WORDS)]} 대책 {number}"
        now = self.known + dt.timedelta(minutes=number)
        with self.ctx.store.begin() as conn:
            held = conn.execute(sa.select(schema.articles.c.id).where(schema.articles.c.url == url)).scalar()
            if held is None:
                values = {"url": url, "outlet": "가람", "category": "사회", "published_at": now, "day": now.date()}
                insert = sa.insert(schema.articles).values(**values, first_seen_at=now).returning(schema.articles.c.id)
                held = conn.execute(insert).scalar_one()
            conn.execute(sa.update(schema.articles).where(schema.articles.c.id == held).values(version=version))
            row = {"article_id": held, "version": version, "title": title, "text": text}
            conn.execute(
                sa.insert(schema.article_versions).values(**row, content_sha256=f"{number}-{version}", seen_at=now)
            )
        return int(held)

    def remove(self, number: int) -> str:
        """What `news.forget` does to the rows."""
        url = f"https://news.example/{number}"
        with self.ctx.store.begin() as conn:
            conn.execute(
                sa.update(schema.articles)
                .where(schema.articles.c.url == url)
                .values(removed_at=sa.func.clock_timestamp())
            )
        return url

    def model(self, seed: int, *, day: int = 1, vectors_of: list[str] | None = None) -> int:
        """A model of a day in March 2020; the dense vectors of some texts are kept."""
        folder = self.folder / f"model-{seed}"
        encoder = tiny_encoder(folder, seed=seed)
        artifact = self.ctx.artifacts.put(folder, "model")
        if vectors_of:
            keep(self.ctx, encoder.encode_dense(vectors_of))
        with self.ctx.store.begin() as conn:
            return models.register(
                conn,
                artifact=artifact,
                kind="trained",
                vocabulary_hash=encoder.vocabulary_hash,
                card={},
                day=dt.date(2020, 3, day),
                known_by=self.known + dt.timedelta(days=day),
            )

    def judge(self, model_id: int, verdict: str = "promote") -> int:
        """A decision on the model; its id."""
        with self.ctx.store.begin() as conn:
            evaluation = evaluations.register(
                conn, model_id=model_id, champion_id=None, config_hash=secrets.token_hex(4), report={}, artifact=""
            )
            return evaluations.register_decision(
                conn, model_id=model_id, evaluation_id=evaluation, verdict=verdict, reason="it is better", rules=[]
            )

    def promoted(self, seed: int, *, day: int = 1, vectors_of: list[str] | None = None) -> int:
        """A model that the gate promoted."""
        model_id = self.model(seed, day=day, vectors_of=vectors_of)
        self.judge(model_id)
        return model_id

    def weights(self, factor: float, *, day: int = 1, status: str = "accepted", vocabulary: str | None = None) -> int:
        """Query weights: every token weighs ``factor``."""
        name = self.folder / f"weights-{secrets.token_hex(4)}"
        base = tiny_encoder(self.folder / "vocabulary")
        QueryWeights(np.full(len(base.vocabulary), factor, np.float32)).write(name)
        artifact = self.ctx.artifacts.put(name, "weights")
        with self.ctx.store.begin() as conn:
            key = {"level": "token", "key": vocabulary or base.vocabulary_hash}
            versions = schema.counting_versions
            held = conn.execute(sa.select(versions.c.id).where(versions.c.key == key["key"])).scalar()
            held = held or conn.execute(sa.insert(versions).values(key).returning(versions.c.id)).scalar_one()
            statistics = conn.execute(
                sa.insert(schema.statistics)
                .values(
                    day=dt.date(2020, 3, day),
                    known_by=self.known,
                    token_version_id=held,
                    word_version_id=held,
                    config_hash=secrets.token_hex(4),
                    content_hash="",
                    arrays=b"",
                )
                .returning(schema.statistics.c.id)
            ).scalar_one()
            made = sa.insert(schema.query_weights).values(
                statistics_id=statistics,
                day=dt.date(2020, 3, day),
                vocabulary_hash=key["key"],
                content_hash=secrets.token_hex(4),
                artifact=artifact,
                status=status,
            )
            return int(conn.execute(made.returning(schema.query_weights.c.id)).scalar_one())

    # ------------------------------------------------------------------ as a client sees it
    def http(self, method: str, path: str, body: Any = None) -> Any:
        """A raw HTTP request, as curl sends it; the JSON answer, also to an error."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.opensearch}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def plain(self, text: str, size: int = 50) -> list[dict[str, Any]]:
        """Hits of a plain-text query to the alias: no model id, no pipeline named."""
        query = {"size": size, "query": {"neural_sparse": {"emb": {"query_text": text}}}}
        answer = self.http("POST", f"/{self.alias}/_search", query)
        assert "hits" in answer, answer
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits

    def indices(self) -> list[str]:
        """The indices of this installation."""
        return self.ctx.cluster.indices(f"{self.alias}-g*")

    def agree(self) -> None:
        """Exactly one live generation, the aliases behind it, nothing unfinished, nothing orphaned."""
        from pipeline.search import query_models

        with self.ctx.store.begin() as conn:
            rows = conn.execute(sa.select(schema.generations)).mappings().all()
            undone = conn.execute(sa.select(sa.func.count()).where(schema.deployments.c.done_at.is_(None))).scalar_one()
        live = [row for row in rows if row["status"] == "live"]
        warm = [row for row in rows if row["status"] in generations.WARM]
        assert len(live) == 1
        assert not undone
        assert not [row for row in rows if row["status"] in ("building", "ready")]
        for alias in (self.alias, f"{self.alias}-write"):
            assert self.ctx.cluster.behind(alias) == [live[0]["index_name"]]
        assert self.indices() == sorted(row["index_name"] for row in warm)
        assert sorted(self.ctx.cluster.pipelines(f"{self.alias}-g*")) == self.indices()
        held = {model.id for model in query_models.models(self.ctx.cluster, f"{self.alias}-query")}
        assert held == {row["query_model"] for row in warm}

    def close(self) -> None:
        """Leave nothing in the shared cluster."""
        from pipeline.search import query_models

        for index in self.indices():
            self.ctx.cluster.delete_index(index)
        for name in self.ctx.cluster.pipelines(f"{self.alias}-g*"):
            self.ctx.cluster.delete_pipeline(name)
        for kind in ("query", "trends"):
            for model in query_models.models(self.ctx.cluster, f"{self.alias}-{kind}"):
                query_models.remove(self.ctx.cluster, model.id)
        for name in (self.alias, f"{self.alias}-hybrid"):
            self.ctx.cluster.delete_template(name)
        self.ctx.store.close()
        self.ctx.cluster.close()
