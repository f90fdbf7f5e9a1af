"""Counting in a real Postgres: each article once, one story once, whatever is killed or runs at the same time."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.config import Config
from pipeline.errors import RefusedError
from pipeline.store import counts as store
from pipeline.store.schema import count_batches, counted_articles, counting_versions
from pipeline.temporal import count_articles
from pipeline.text import words
from tests.temporal_data import Given, open_context, put_articles, put_base, remove_article

DAY = dt.date(2026, 2, 2)
VOCABULARY = ["코로나19", "확진자", "증가", "금리", "인하", "반도체", "수출"]


@pytest.fixture
def context(database: str, tmp_path: Path):
    ctx = open_context(database, tmp_path, Config.model_validate({"temporal": {"batch_articles": 3}}))
    put_base(ctx, VOCABULARY, tmp_path / "base")
    yield ctx
    ctx.store.close()


def tally_of(ctx, level: str, day: dt.date = DAY) -> dict[str, tuple[int, int, int]]:
    """word or token id -> (articles, stories, outlets) of a day, over all its batches."""
    with ctx.store.begin() as conn:
        version = store.versions(conn, level)[0]
        found = dict(store.read_days(conn, version.id, day, day, ctx_now(ctx)))
        if day not in found:
            return {}
        counts = found[day]
        ids = counts.ids.tolist()
        names = store.words_of(conn, ids) if level == "word" else {id_: str(id_) for id_ in ids}
    outlets = store.bits_set(counts.outlets)
    return {
        names[id_]: (int(a), int(s), int(o))
        for id_, a, s, o in zip(ids, counts.articles, counts.stories, outlets, strict=True)
    }


def ctx_now(ctx) -> dt.datetime:
    return ctx.store.settle()


def counted_rows(ctx) -> dict[str, int]:
    with ctx.store.begin() as conn:
        query = (
            sa.select(counting_versions.c.level, sa.func.count())
            .join(counted_articles, counted_articles.c.version_id == counting_versions.c.id)
            .group_by(counting_versions.c.level)
        )
        return dict(conn.execute(query).all())


def test_without_a_base_the_sentence_says_what_to_run(database: str, tmp_path: Path):
    ctx = open_context(database, tmp_path)
    with pytest.raises(RefusedError, match="garam base"):
        count_articles(ctx)
    ctx.store.close()


def test_articles_are_counted_once(context):
    put_articles(
        context, [Given(DAY, "코로나19 확진자 증가", "제목")] * 7 + [Given(DAY + dt.timedelta(days=1), "금리 인하")]
    )
    report = count_articles(context)
    assert (report.token_articles, report.word_articles) == (8, 8)
    assert report.batches == 2 * (3 + 1), "seven articles of a day make three batches of at most three"
    again = count_articles(context)
    assert (again.token_articles, again.word_articles, again.batches) == (0, 0, 0)
    assert tally_of(context, "word")["코로나19"][:2] == (7, 7)
    assert counted_rows(context) == {"token": 8, "word": 8}


def test_one_story_of_forty_outlets_counts_once_also_when_they_come_late(context):
    wire = [Given(DAY, "반도체 수출", "속보", f"매체{n}", story=0 if n else None) for n in range(5)]
    ids = put_articles(context, [*wire, Given(DAY, "반도체 금리", "다른 일", "매체9")])
    count_articles(context)
    assert tally_of(context, "word")["반도체"][:2] == (6, 2)
    more = put_articles(context, [Given(DAY, "반도체 수출 확진자", "속보", "매체77")])
    with context.store.begin() as conn:
        conn.execute(sa.text("UPDATE articles SET story_id = :s WHERE id = :i"), {"s": ids[0], "i": more[0]})
    count_articles(context)
    counted = tally_of(context, "word")
    assert counted["반도체"][:2] == (7, 2), "the late article is told of the same story"
    assert counted["확진자"][:2] == (1, 1), "what only the late article says is still new"
    outlets = {store.outlet_bit(f"매체{n}") for n in (0, 1, 2, 3, 4, 9, 77)}
    assert counted["반도체"][2] == len(outlets)
    with context.store.begin() as conn:
        stories = conn.execute(sa.select(sa.func.sum(count_batches.c.stories))).scalar_one()
    assert stories == 2 * 2, "two stories at each of two levels"


def test_removed_articles_and_advertisements_are_not_counted(context):
    ids = put_articles(context, [Given(DAY, "금리 인하")] * 4)
    remove_article(context, ids[1])
    with context.store.begin() as conn:
        conn.execute(sa.text("UPDATE articles SET is_ad = true WHERE id = :i"), {"i": ids[2]})
    assert count_articles(context).word_articles == 2
    remove_article(context, ids[0])
    assert count_articles(context).word_articles == 0
    assert tally_of(context, "word")["금리"][0] == 2, "what was counted stays counted"


def test_two_at_once_count_each_article_once(context, database: str, tmp_path: Path):
    put_articles(context, [Given(DAY + dt.timedelta(days=n % 4), "코로나19 확진자 증가") for n in range(60)])
    other = open_context(database, tmp_path, context.config)
    reports = []
    threads = [threading.Thread(target=lambda c=c: reports.append(count_articles(c))) for c in (context, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.store.close()
    assert len(reports) == 2
    assert sum(r.word_articles for r in reports) == sum(r.token_articles for r in reports) == 60
    assert counted_rows(context) == {"token": 60, "word": 60}


def test_kill_nine_loses_and_doubles_nothing(context, database: str, tmp_path: Path):
    put_articles(context, [Given(DAY + dt.timedelta(days=n % 20), "코로나19 확진자 증가") for n in range(300)])
    environment = os.environ | {
        "GARAM_DATABASE_URL": database,
        "GARAM_STORAGE__ARTIFACTS": str(tmp_path / "artifacts"),
        "GARAM_TEMPORAL__BATCH_ARTICLES": "2",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    code = (
        "from pipeline.context import Context; from pipeline.temporal import count_articles\n"
        "count_articles(Context.open())"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not counted_rows(context).get("token") and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = counted_rows(context)
    assert 0 < sum(before.values()) < 600, "killed in the middle"
    report = count_articles(context)
    assert report.token_articles + report.word_articles == 600 - sum(before.values())
    assert counted_rows(context) == {"token": 300, "word": 300}
    for n in range(20):
        day = DAY + dt.timedelta(days=n)
        assert tally_of(context, "word", day)["코로나19"][:2] == (15, 15)


def test_a_new_vocabulary_is_recounted_with_the_old_times(context, tmp_path: Path):
    put_articles(context, [Given(DAY, "금리 인하")] * 4)
    count_articles(context)
    between = context.store.settle()
    ids = put_articles(context, [Given(DAY, "금리 반도체")] * 2)
    count_articles(context)
    remove_article(context, ids[0])
    put_base(context, [*VOCABULARY, "새말"], tmp_path / "second")
    assert count_articles(context).token_articles == 5
    with context.store.begin() as conn:
        new, old = store.versions(conn, "token")
        assert new.ready_at
        assert old.ready_at
        for version, known_by, wanted in ((new, between, 4), (old, between, 4), (new, ctx_now(context), 5)):
            days = dict(store.read_days(conn, version.id, DAY, DAY, known_by))
            assert days[DAY].n_articles == wanted


def test_a_changed_analyser_is_another_version(context, monkeypatch: pytest.MonkeyPatch):
    put_articles(context, [Given(DAY, "금리 인하")] * 4)
    count_articles(context)
    monkeypatch.setattr(words, "RULES", 999)
    report = count_articles(context)
    assert (report.token_articles, report.word_articles) == (0, 4)
    assert tally_of(context, "word")["금리"][:2] == (4, 4)


def test_empty_texts_are_counted_as_articles_without_words(context):
    put_articles(context, [Given(DAY, ""), Given(DAY, "!!!")])
    assert count_articles(context).word_articles == 2
    assert tally_of(context, "word") == {}
    assert count_articles(context).word_articles == 0
