"""Stories on a real Postgres: who retells whom is decided when an article comes, and never changes afterwards."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline import dataset, news
from pipeline.asof import AsOf
from pipeline.config import Config
from pipeline.context import Context
from pipeline.news.entries import entry
from pipeline.news.parse import Item
from pipeline.news.stories import StoryRule
from pipeline.store import articles, models, statistics
from pipeline.store.news import write
from pipeline.temporal import count_articles, learn_statistics
from tests.temporal_data import open_context
from tests.tiny import WORDS, tiny_encoder

FIRST = dt.datetime.fromisoformat("2026-01-01T09:00:00+09:00")
SMALL = Config.model_validate(
    {
        "dataset": {
            "holdout_queries_min": 8, "anchor_queries": 6, "anchor_corpus": 20, "corpus_size": 60,
            "min_passage_chars": 20, "passage_chars": 200,
        },
        "temporal": {"window_days": [3, 10], "ensemble_weights": [2, 1, 1]},
    }
)  # fmt: skip
KNOWN = [word for word in WORDS.split() if not word.startswith("##") and len(word) > 1]
RULE = StoryRule.of(SMALL.news)


@pytest.fixture
def ctx(database: str, tmp_path: Path) -> Iterator[Context]:
    context = open_context(database, tmp_path, SMALL)
    yield context
    context.store.close()


def item(name: str, text: str, *, day: float = 0, title: str = "제목", outlet: str = "") -> Item:
    published = (FIRST + dt.timedelta(days=day)).isoformat()
    return Item(f"https://{outlet or 'www'}.garam.example/{name}", title, text, published, "", "", outlet)


def take(ctx: Context, *items: Item) -> list[int]:
    """Write items as the crawler and the import do; the ids of their articles."""
    now = dt.datetime.now(dt.UTC)
    made = [entry(one, now=now, archive=True) for one in items]
    with ctx.store.begin() as conn:
        write(conn, made, source="archive", join=RULE.join)
        query = sa.text("SELECT id FROM articles WHERE url = :u")
        return [conn.execute(query, {"u": one.url}).scalar_one() for one in made]


def stories(ctx: Context) -> dict[int, int]:
    as_of = AsOf(dt.date(2030, 1, 1), ctx.store.settle())
    with ctx.store.begin() as conn:
        return {article.id: article.story_id for article in articles.read(conn, as_of)}


def words(first: int, last: int, seed: int = 5) -> str:
    """Some of a fixed row of words, all of them different."""
    row = [f"{a}{b}" for a in "가나다라마바사" for b in "강산천호길문집터밭논"]
    random.Random(seed).shuffle(row)
    return " ".join(row[first:last])


def test_a_late_article_that_two_stories_resemble_changes_nothing_that_was_known(ctx: Context, tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "base")
    with ctx.store.begin() as conn:
        name = ctx.artifacts.put(tmp_path / "base", "base")
        models.register(conn, artifact=name, kind="base", vocabulary_hash=encoder.vocabulary_hash, card={})
    draw = random.Random(3)

    def prose() -> str:
        return " ".join(" ".join(draw.choices(KNOWN, k=7)) + "." for _ in range(5))

    def told(start: int) -> str:
        return " ".join(sentences[start : start + 6])

    sentences = [" ".join(draw.choices(KNOWN, k=8)) + "." for _ in range(8)]
    take(
        ctx,
        *(
            item(f"{day}-{n}", prose(), day=day + n / 24, title=" ".join(draw.sample(KNOWN, 5)))
            for day in range(20) for n in range(5)
        ),
    )  # fmt: skip
    # The ends share four sentences of eight; what stands between them shares five of seven with each.
    ends = take(ctx, item("a", told(0), day=10, title="하나의 끝"), item("b", told(2), day=10.1, title="다른 끝"))
    assert [stories(ctx)[id_] for id_ in ends] == ends
    count_articles(ctx)
    then = AsOf((FIRST + dt.timedelta(days=19)).date(), ctx.store.settle())

    def everything() -> tuple[object, ...]:
        with ctx.store.begin() as conn:
            for table in ("trends", "statistics", "count_sums", "training_sets"):
                conn.execute(sa.text(f"DELETE FROM {table}"))
        learned, built = learn_statistics(ctx, then), dataset.build(ctx, then)
        with ctx.store.begin() as conn:
            made = conn.execute(sa.text("SELECT artifact, recipe_hash FROM training_sets WHERE id = :i"), {"i": built})
            sets = conn.execute(sa.text("SELECT artifact FROM query_sets ORDER BY id")).scalars().all()
            read = list(articles.read(conn, then))
            return statistics.get(conn, learned).content_hash, tuple(made.one()), sets, read

    before = everything()
    (late,) = take(ctx, item("c", told(1), day=10.2, title="가운데", outlet="late"))
    count_articles(ctx)
    now = stories(ctx)
    assert now.pop(late) in ends, "it joins one"
    assert now == {id_: id_ for id_ in now}, "and they stay two"
    assert everything() == before


def test_copies_join_and_what_a_template_writes_anew_does_not(ctx: Context) -> None:
    rate = "인민은행은 {}일 위안화의 달러당 기준 환율을 전 거래일 대비 0.{}위안 내린 6.{}위안으로 고시했다. {}% 올랐다"
    wire = "가람항공이 다음 달 {}일부터 노선을 주 28회 늘려 18개 노선을 주 161회 운항한다고 밝혔다. 수요가 늘어서다"
    ids = take(
        ctx,
        item("r1", rate.format(9, "0067", "9523", "0.10"), outlet="a"),
        item("r2", rate.format(10, "0065", "9458", "0.09"), day=1, outlet="a"),
        item("w1", wire.format(29), outlet="a", title="[단독] 가람항공"),
        item("w2", wire.format(29) + " 무단전재 및 재배포 금지", outlet="b"),
        item("w3", wire.format(29) + ".", day=40, outlet="c"),
        item("m1", "gildong@garam.example 홍길동 기자", outlet="a", title="[속보] 한국은행 기준금리 연 2.5%로 동결"),
        item("m2", "gildong@garam.example 홍길동 기자", outlet="a", title="[속보] 프로야구 개막전 홈팀 연장 끝 승리"),
    )
    own = {id_: id_ for id_ in ids}
    assert stories(ctx) == own | {ids[3]: ids[2]}


def test_likeness_does_not_creep_along_a_chain(ctx: Context) -> None:
    ids = take(ctx, *(item(str(k), words(5 * k, 5 * k + 30), outlet=f"o{k}") for k in range(8)))
    found = stories(ctx)
    texts = {id_: set(words(5 * k, 5 * k + 30).split()) for k, id_ in enumerate(ids)}
    assert all(len(texts[id_] & texts[first]) >= 20 for id_, first in found.items())
    assert len(set(found.values())) > 1


def test_a_correction_keeps_the_story_and_is_what_copies_are_compared_with(ctx: Context) -> None:
    first, copy = take(ctx, item("a", words(0, 30), outlet="a"), item("b", words(0, 30), outlet="b"))
    again = take(ctx, item("a", words(35, 65), outlet="a"), item("c", words(35, 65), outlet="c"))
    assert stories(ctx) == {first: first, copy: first, again[1]: first}
    assert take(ctx, item("b", words(35, 66, seed=8), outlet="b"), item("d", words(0, 30), outlet="d"))
    assert stories(ctx)[copy] == first


def test_after_the_first_telling_was_removed_its_copies_stay_one_story(ctx: Context) -> None:
    first, copy = take(ctx, item("a", words(0, 30), outlet="a"), item("b", words(0, 30), outlet="b"))
    news.forget(ctx, "https://a.garam.example/a")
    (later,) = take(ctx, item("c", words(0, 30), outlet="c"))
    assert stories(ctx) == {copy: first, later: later}


def test_an_article_that_becomes_an_advertisement_was_none_before(ctx: Context) -> None:
    (one,) = take(ctx, item("a", words(0, 30)))
    then = AsOf(dt.date(2030, 1, 1), ctx.store.settle())
    take(ctx, item("a", words(0, 30) + " 특가", title="[광고] 제목"))
    with ctx.store.begin() as conn:
        assert [article.id for article in articles.read(conn, then)] == [one]
    assert stories(ctx) == {}
