"""Synonyms against a real database: discover, validate, groups for a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.artifacts import Artifacts
from pipeline.asof import SEOUL, AsOf
from pipeline.config import Config
from pipeline.context import Context
from pipeline.encoder.folder import TRANSFORMER_MODULE
from pipeline.errors import BadInputError, RefusedError
from pipeline.store import Store, models
from pipeline.store import synonyms as store
from pipeline.store.schema import article_versions, articles, synonym_groups, synonym_pairs, synonym_runs
from pipeline.synonyms import discover, validate
from tests.synonym_data import news, tiny_encoder

SETTINGS = {
    "window_days": [20, 60],
    "articles": 120,
    "words": 60,
    "min_articles": 2,
    "contexts": 3,
    "sentences": 120,
    "n_clusters": 8,
}
LAST = dt.date(2020, 2, 29)


def context(database: str, root: Path, **settings: object) -> Context:
    ctx = Context(Config.model_validate({"synonyms": SETTINGS | settings}))
    ctx.__dict__["store"] = Store(database)
    ctx.__dict__["artifacts"] = Artifacts(root / "artifacts")
    return ctx


def add_articles(ctx: Context, texts: list[str], days: list[dt.date], seen: dt.datetime | None = None) -> None:
    with ctx.store.begin() as conn:
        for number, (text, day) in enumerate(zip(texts, days, strict=True)):
            at = dt.datetime.combine(day, dt.time(9), SEOUL)
            new = conn.execute(
                sa.insert(articles)
                .values(url=f"https://news.test/{day}/{number}", published_at=at, day=day, first_seen_at=seen or at)
                .returning(articles.c.id)
            ).scalar_one()
            version = {"article_id": new, "version": 1, "title": f"{number}호", "text": text}
            conn.execute(sa.insert(article_versions).values(version | {"content_sha256": "", "seen_at": seen or at}))


def add_base(ctx: Context, root: Path, texts: list[str]) -> None:
    tiny_encoder(root / "base" / TRANSFORMER_MODULE, texts)
    name = ctx.artifacts.put(root / "base", "base")
    with ctx.store.begin() as conn:
        models.register(conn, artifact=name, kind="base", vocabulary_hash="v", card={})


@pytest.fixture
def ctx(database: str, tmp_path: Path) -> Iterator[Context]:
    held = context(database, tmp_path)
    held.store.migrate()
    texts, days = news(120)
    add_articles(held, texts, days)
    add_base(held, tmp_path, texts)
    yield held
    held.store.close()


def as_of(day: dt.date = LAST) -> AsOf:
    return AsOf(day, dt.datetime.combine(day, dt.time(23), SEOUL))


def test_aliases_become_groups_valid_for_the_day(ctx: Context) -> None:
    run_id = discover(ctx, as_of())
    with ctx.store.begin() as conn:
        assert store.groups(conn, LAST) == [], "nothing is valid before it is validated"
    report = validate(ctx, run_id)
    assert report.accepted > 0
    assert report.groups > 0
    with ctx.store.begin() as conn:
        groups = store.groups(conn, LAST)
        run = store.run(conn, run_id)
        pairs = store.pairs(conn, run_id)
    words = {g.words for g in groups}
    assert {("AI", "인공지능"), ("한국은행", "한은"), ("식약처", "식품의약품안전처")} <= words
    assert not any("홍길동" in w or w.isdigit() for g in groups for w in g.words), "an age is no alias"
    accepted = {(p.a, p.b) for p in pairs if p.verdict == "accepted"}
    assert all((a, b) in accepted for g in groups for a in g.words for b in g.words if a < b)
    assert run.status == "validated"
    assert run.validator is not None
    assert run.validator["proofs"][0]["validator"] == "rules"
    assert ctx.artifacts.has(run.embeddings or "")
    assert ctx.artifacts.has(run.clusters or "")
    assert len(run.calibration) == 2
    assert run.calibration[0]["threshold"] is not None


def test_discovering_and_validating_again_changes_nothing(ctx: Context) -> None:
    first = discover(ctx, as_of())
    validate(ctx, first)
    with ctx.store.begin() as conn:
        before = store.groups(conn, LAST), store.pairs(conn, first)
    assert discover(ctx, as_of()) == first
    validate(ctx, first)
    with ctx.store.begin() as conn:
        assert (store.groups(conn, LAST), store.pairs(conn, first)) == before
        assert conn.execute(sa.select(sa.func.count()).select_from(synonym_runs)).scalar_one() == 1


def test_two_at_once_make_one_run(ctx: Context) -> None:
    with ThreadPoolExecutor(2) as pool:
        ids = set(pool.map(lambda _: discover(ctx, as_of()), range(2)))
    with ctx.store.begin() as conn:
        runs = conn.execute(sa.select(synonym_runs.c.id)).scalars().all()
        pairs = conn.execute(sa.select(sa.func.count()).select_from(synonym_pairs)).scalar_one()
        assert ids == set(runs)
        assert len(runs) == 1
        assert pairs == len(store.pairs(conn, runs[0]))


def test_what_was_seen_later_is_not_in_an_earlier_as_of(ctx: Context) -> None:
    run_id = discover(ctx, as_of())
    with ctx.store.begin() as conn:
        before = store.pairs(conn, run_id)
        conn.execute(sa.delete(synonym_runs))
    late = dt.datetime(2020, 3, 5, 12, tzinfo=SEOUL)
    late_texts = [f"{n}일 질병관리본부(질본)는 검사를 늘린다고 밝혔다." for n in range(5)]
    add_articles(ctx, late_texts, [dt.date(2020, 2, 20 + n) for n in range(5)], late)
    again = discover(ctx, as_of())
    newer = discover(ctx, AsOf(LAST, late))
    with ctx.store.begin() as conn:
        assert store.pairs(conn, again) == before
        assert ("질병관리본부", "질본") in {(p.a, p.b) for p in store.pairs(conn, newer)}


def test_groups_are_valid_until_the_next_run_also_when_backfilled(ctx: Context) -> None:
    newest = discover(ctx, as_of(LAST))
    validate(ctx, newest)
    middle = dt.date(2020, 2, 15)
    older = discover(ctx, as_of(middle))
    validate(ctx, older)
    with ctx.store.begin() as conn:
        ends = dict(
            conn.execute(sa.select(synonym_groups.c.run_id, synonym_groups.c.valid_to).distinct()).tuples().all()
        )
        assert ends == {newest: None, older: LAST}
        assert {g.run_id for g in store.groups(conn, LAST)} == {newest}
        assert {g.run_id for g in store.groups(conn, LAST - dt.timedelta(days=1))} == {older}
        assert store.groups(conn, middle - dt.timedelta(days=1)) == []
        assert {g.run_id for g in store.groups(conn, LAST, as_of(middle).known_by)} == {older}


def test_a_validator_that_is_not_proven_leaves_cluster_pairs_pending(ctx: Context) -> None:
    run_id = discover(ctx, as_of())
    stricter = ctx.config.synonyms.model_copy(update={"validator_min_auc": 1.0})
    strict = Context(ctx.config.model_copy(update={"synonyms": stricter}))
    strict.__dict__.update(store=ctx.store, artifacts=ctx.artifacts)
    with ctx.store.begin() as conn:
        conn.execute(
            sa.insert(synonym_pairs).values(
                run_id=run_id, a="가", b="나", source="cluster", similarity=0.9, confidence=0.99, evidence={}
            )
        )
    report = validate(strict, run_id)
    assert not report.proofs[0].counts
    assert "not proven" in report.proofs[0].sentence
    with ctx.store.begin() as conn:
        verdicts = {(p.a, p.b): p.verdict for p in store.pairs(conn, run_id)}
        assert verdicts["가", "나"] == "pending"
        assert not any("가" in g.words for g in store.groups(conn, LAST))


def test_without_a_base_or_articles_it_says_what_to_do(database: str, tmp_path: Path) -> None:
    held = context(database, tmp_path)
    held.store.migrate()
    with pytest.raises(RefusedError, match="no base model"):
        discover(held, as_of())
    texts, _ = news(10)
    add_base(held, tmp_path, texts)
    with pytest.raises(BadInputError, match="no article"):
        discover(held, as_of())
    held.store.close()
