# ruff: noqa: E501 - SQL and rows are read best on one line
"""What is kept of the news on a real Postgres: raw answers, removals, what is derived again, who has gone silent."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from demo.replay import Articles, ReplayServer, parse_clock
from pipeline import news, retention
from pipeline.artifacts.query_sets import Corpus
from pipeline.artifacts.training_set import Passage, TrainingSet
from pipeline.artifacts.vectors import DenseVectors, text_key
from pipeline.cli import app
from pipeline.config import load
from pipeline.context import Context
from pipeline.encoder import Encoding
from pipeline.encoder.encoding import cut
from pipeline.errors import UsageError
from pipeline.kept import keep, read_kept
from pipeline.news.crawler import read_feeds
from pipeline.news.entries import entry
from pipeline.news.parse import Item
from pipeline.news.removal import _needles, _stands_in
from pipeline.news.stories import StoryRule
from pipeline.news.urls import canonical
from pipeline.store import counts, models
from pipeline.store import feeds as feed_rows
from pipeline.store import news as store_news
from pipeline.text import normalise

START = dt.datetime.fromisoformat("2026-02-01T09:00:00+09:00")
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def ctx(database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Context]:
    for name, value in {
        "GARAM_DATABASE_URL": database, "GARAM_STATE": str(tmp_path / "state"),
        "GARAM_NEWS__ALLOW_LOOPBACK": "true", "GARAM_NEWS__FEEDS_FILE": "",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    context = Context(load())
    context.store.migrate()
    yield context
    context.store.close()


def items(count: int = 4, tail: str = "") -> list[Item]:
    return [
        Item(
            f"https://www.garam.example/a/{1000 + i}", f"{i}번째 기사 제목", f"본문 {i} 번째 문장이다. 숫자 {i * 7919} 이다.{tail}",
            (START + dt.timedelta(minutes=i)).isoformat(), f"urn:garam:{i}", "경제", "가람일보",
        )
        for i in range(count)
    ]  # fmt: skip


def crawl(ctx: Context, server: ReplayServer, folder: Path) -> news.CrawlReport:
    (folder / "feeds.csv").write_text(server.feeds_csv(), encoding="utf-8")
    with ctx.store.begin() as conn:
        conn.execute(sa.text("UPDATE feeds SET etag = NULL, last_modified = NULL"))
    return news.crawl(ctx, feeds_file=folder / "feeds.csv")


def archive(path: Path, some: list[Item]) -> Path:
    rows = [{"url": i.url, "title": i.title, "text": i.text, "published_at": i.published_raw} for i in some]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def one(ctx: Context, query: str) -> object:
    with ctx.store.begin() as conn:
        return conn.execute(sa.text(query)).scalar_one()


def all_bytes(ctx: Context) -> str:
    """Every raw answer and every row that may quote an article, as text."""
    with ctx.store.begin() as conn:
        ids = conn.scalars(sa.text("SELECT id FROM payloads")).all()
        raw = "".join(feed_rows.payload(conn, i).decode() for i in ids)
        return raw + "".join(str(row) for row in conn.execute(sa.text("SELECT title, text FROM article_versions")))


def test_a_removed_article_is_nowhere_and_comes_back_by_no_door(ctx: Context, tmp_path: Path) -> None:
    told = items()
    gone = told[2]
    copy = dataclasses.replace(gone, url="https://other.garam.example/b/7", outlet="다른일보")
    news.import_archive(
        ctx, archive(tmp_path / "copy.jsonl", [dataclasses.replace(copy, text=copy.text + " 가 나 다 라")])
    )
    with ReplayServer(Articles(told), parse_clock("2026-02-01")) as server:
        crawl(ctx, server, tmp_path)
        assert gone.title in all_bytes(ctx)
        report = news.forget(ctx, "http://m.garam.example/a/1002?utm_source=mail&fbclid=x#top", reason="asked")
        assert (report.url, report.articles, report.payloads) == (gone.url, 1, 1)
        assert gone.text.split(".")[0] not in all_bytes(ctx).replace(copy.text, "")
        assert one(ctx, "SELECT count(*) FROM polls WHERE payload_id IS NOT NULL") == 1
        crawl(ctx, server, tmp_path)  # the feed still has it: neither the article nor the answer is kept
    doors = [gone, dataclasses.replace(gone, url="https://m.garam.example/a/1002?ref=rss"),
             dataclasses.replace(gone, url="https://www.garam.example/a/1002/amp", title="다시")]  # fmt: skip
    for number, door in enumerate(doors):
        news.import_archive(ctx, archive(tmp_path / f"{number}.jsonl", [door]))
    with ReplayServer(Articles([dataclasses.replace(gone, category="새 피드")]), parse_clock("2026-02-01")) as server:
        crawl(ctx, server, tmp_path)
    assert gone.title not in all_bytes(ctx).replace(copy.title, "", 1)
    assert one(ctx, "SELECT count(*) FROM articles WHERE removed_at IS NULL") == 4
    again = news.forget(ctx, gone.url)
    assert (again.articles, again.payloads) == (1, 0)


def test_answers_of_feeds_that_write_an_address_in_their_own_way_are_found(ctx: Context) -> None:
    url = canonical("https://www.garam.example/가람-강물/")
    for link in (
        "https://www.garam.example/가람-강물/",
        "https://m.garam.example/%ea%b0%80%eb%9e%8c-강물/?utm_id=1",
        url,
    ):
        assert _stands_in(f"<link>{link}</link>", _needles([url]))
    assert _stands_in(
        "<link>http://m.x.kr/view?no=20260201&amp;s=1</link>", _needles(["https://www.x.kr/view?no=20260201"])
    )
    assert not _stands_in(
        "<link>http://m.x.kr/view?no=20260202</link>", _needles(["https://www.x.kr/view?no=20260201"])
    )


def test_what_is_frozen_with_its_words_is_named_and_can_be_erased(ctx: Context, tmp_path: Path) -> None:
    news.import_archive(ctx, archive(tmp_path / "a.jsonl", items()))
    (id_,) = news.forget(ctx, items()[1].url).ids
    names = []
    for numbers in ([id_, 99], [98, 99]):
        with ctx.artifacts.scratch() as folder:
            Corpus([str(n) for n in numbers], ["본문"] * 2).write(folder / "corpus")
            names.append(ctx.artifacts.put(folder / "corpus", "corpus"))
    with ctx.artifacts.scratch() as folder:
        passage = Passage(id="1-0", article_id=id_, story_id=id_, day=dt.date(2026, 2, 1), text="본문")
        TrainingSet([passage], []).write(folder / "set")
        names.append(ctx.artifacts.put(folder / "set", "trainingset"))
    assert retention.holding(ctx, [id_]) == [names[0], names[2]]
    assert retention.erase(ctx, retention.holding(ctx, [id_])) == ([names[0], names[2]], [])
    assert retention.holding(ctx, [id_]) == []
    assert ctx.artifacts.has(names[1])


def test_the_command_says_what_is_left_of_a_removed_article(ctx: Context, tmp_path: Path) -> None:
    told = items()
    news.import_archive(ctx, archive(tmp_path / "a.jsonl", told))
    text = Encoding.of(ctx.config.encoder).document_text(normalise.clean_body(told[0].text))
    with ctx.artifacts.scratch() as folder:  # what a base model is built from names texts by their content
        Corpus([text_key(text)], [text]).write(folder / "texts")
        base = ctx.artifacts.put(folder / "texts", "corpus")
        (folder / "model").mkdir()  # whose documents are shorter than the configuration has them now
        (folder / "model" / "garam.json").write_text(json.dumps({"dense": "aa", "encoding": {"max_chars": 5}}))
        model = ctx.artifacts.put(folder / "model", "model")
    with ctx.store.begin() as conn:
        models.register(conn, artifact=model, kind="base", vocabulary_hash="v", card={})
    texts = [text, cut(text, 5), "남은 글"]
    dense = keep(ctx, DenseVectors.of("aa-w300", texts, np.arange(4), np.ones((3, 2))))

    def forget(*words: str) -> dict[str, object]:
        done = CliRunner().invoke(app, ["forget", *words, "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        found: dict[str, object] = json.loads(done.output)
        return found

    first = forget("http://m.garam.example/a/1000?utm_source=x")
    assert (first["url"], first["articles"], first["erased"], first["holding"]) == (told[0].url, 1, [], [base])
    assert first["vectors"] == [dense]
    assert read_kept(ctx, "aa-w300").missing(texts) == texts[:2]
    # The text is gone, and what holds it is found nevertheless.
    second = forget(told[0].url, "--erase")
    assert (second["articles"], second["erased"], second["holding"]) == (1, [base], [])
    # Whoever encoded it before the removal enters it no more.
    keep(ctx, DenseVectors.of("aa-w300", texts, np.arange(4), np.ones((3, 2))))
    assert read_kept(ctx, "aa-w300").missing(texts) == texts[:2]
    assert keep(ctx, DenseVectors.of("aa-w300", texts[:1], np.arange(2), np.ones((1, 2)))) is None
    assert forget(told[0].url)["articles"] == 1
    assert forget("https://www.garam.example/a/never")["articles"] == 0


def test_quotations_leave_the_evidence(ctx: Context, tmp_path: Path) -> None:
    news.import_archive(ctx, archive(tmp_path / "a.jsonl", items(2)))
    ids = [int(str(one(ctx, f"SELECT id FROM articles WHERE url = '{item.url}'"))) for item in items(2)]
    trend = {"stories": 2, "examples": [{"article_id": i, "title": f"제목 {i}"} for i in ids]}
    pair = {"alias": {"examples": [{"article": i, "text": f"본문 {i}"} for i in ids]}}
    with ctx.store.begin() as conn:
        for statement in (
            "INSERT INTO counting_versions (level, key) VALUES ('token', 'k'), ('word', 'k')",
            "INSERT INTO statistics (day, known_by, token_version_id, word_version_id, config_hash, content_hash, arrays) "
            "VALUES ('2026-02-01', now(), 1, 2, '', '', '')",
            "INSERT INTO synonym_runs (day, known_by, model, config_hash) VALUES ('2026-02-01', now(), '', '')",
        ):
            conn.execute(sa.text(statement))
        conn.execute(
            sa.text(
                "INSERT INTO trends (statistics_id, rank, word, z, q_value, evidence) VALUES (1, 1, 'w', 1, 0, :e)"
            ),
            {"e": json.dumps(trend)},
        )
        conn.execute(
            sa.text("INSERT INTO synonym_pairs (run_id, a, b, source, evidence) VALUES (1, 'a', 'b', 'alias', :e)"),
            {"e": json.dumps(pair)},
        )
    news.forget(ctx, items()[0].url)
    assert one(ctx, "SELECT evidence FROM trends") == trend | {"examples": trend["examples"][1:]}  # type: ignore[index]
    assert one(ctx, "SELECT evidence FROM synonym_pairs") == {"alias": {"examples": pair["alias"]["examples"][1:]}}


def test_what_changed_rules_make_of_kept_answers_is_a_new_version_and_only_that(
    ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = items(3, " 옛 규칙이 남긴 꼬리말")
    with ReplayServer(Articles(told), parse_clock("2026-02-01")) as server:
        crawl(ctx, server, tmp_path)
    nothing = news.rederive(ctx)
    assert (nothing.payloads, nothing.new, nothing.updated, nothing.errors) == (1, 0, 0, 0)
    # As if an older rule had left more in one text, and an older reader had missed an article.
    with ctx.store.begin() as conn:
        first, lost = [conn.scalars(sa.text(f"SELECT id FROM articles WHERE url = '{t.url}'")).one() for t in told[:2]]
        conn.execute(
            sa.text(
                "UPDATE article_versions SET text = text || ' gildong@x.kr', content_sha256 = 'old' WHERE article_id = :i"
            ),
            {"i": first},
        )
        conn.execute(sa.text("DELETE FROM articles WHERE id = :i"), {"i": lost})
    then = ctx.store.settle()
    report = news.rederive(ctx)
    assert (report.new, report.updated) == (1, 1)
    assert one(ctx, f"SELECT version FROM articles WHERE id = {first}") == 2
    assert one(
        ctx, f"SELECT text FROM article_versions WHERE article_id = {first} AND version = 2"
    ) == normalise.clean_body(told[0].text)
    assert one(ctx, f"SELECT count(*) FROM article_versions WHERE seen_at > '{then.isoformat()}'") == 2
    again = news.rederive(ctx)
    assert (again.new, again.updated) == (0, 0)
    news.forget(ctx, told[2].url)
    assert news.rederive(ctx).payloads == 0, "the answer that held a removed article is empty"


def test_old_answers_go_and_their_polls_stay(ctx: Context, tmp_path: Path) -> None:
    with ReplayServer(Articles(items()), parse_clock("2026-02-01")) as server:
        crawl(ctx, server, tmp_path)
    now = dt.datetime.now(dt.UTC)
    assert retention.prune_payloads(ctx, now=now) == 0
    later = now + dt.timedelta(days=ctx.config.news.payload_days + 1)
    assert [retention.prune_payloads(ctx, now=later) for _ in range(2)] == [1, 0]
    assert one(ctx, "SELECT count(*) FROM polls") == 1
    assert one(ctx, "SELECT count(*) FROM articles") == 4


def poll(ctx: Context, feed_id: int, at: dt.datetime, new: int) -> None:
    with ctx.store.begin() as conn:
        values = {"started_at": at, "finished_at": at, "status": "ok", "new": new}
        changes = {"last_polled_at": at} | ({"last_new_at": at} if new else {})
        feed = feed_rows.read(conn, feed_id)
        assert feed is not None
        feed_rows.record_poll(conn, values, feed, changes)


def test_an_outlet_is_silent_when_it_is_so_for_longer_than_it_usually_is(ctx: Context) -> None:
    now = dt.datetime.now(dt.UTC)
    with ctx.store.begin() as conn:
        rows = [(f"https://{name}.example/rss", name, "") for name in ("busy", "weekly", "dead", "fresh", "off")]
        busy, weekly, dead, fresh, off = feed_rows.add(conn, rows)
        conn.execute(sa.text("UPDATE feeds SET added_at = :t WHERE id <> :f"), {"t": now - 720 * HOUR, "f": fresh})
        feed_rows.enable(conn, "https://off.example/rss", False)
    for hours in range(200, 25, -5):
        poll(ctx, busy, now - hours * HOUR, 3)
        poll(ctx, off, now - hours * HOUR, 3)
    for hours in (564, 396, 228, 60):
        poll(ctx, weekly, now - hours * HOUR, 1)
    poll(ctx, busy, now, 0)
    silent = news.silent_outlets(ctx)
    assert [one.outlet for one in silent] == ["busy", "dead"], "a week is usual for the weekly, a day for nobody else"
    assert "usually takes at most 5.0 hours" in news.silence(silent[0])
    assert "never" in news.silence(silent[1])
    assert [one.outlet for one in news.newly_silent(ctx)] == ["busy", "dead"]
    assert news.newly_silent(ctx) == [], "told once"
    poll(ctx, busy, now - 29 * HOUR, 1)
    assert [one.outlet for one in news.newly_silent(ctx)] == ["busy"], "another silence"
    assert dead


def test_feeds_are_added_disabled_and_enabled_by_command(ctx: Context, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(app, ["feeds", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    url = "https://www.garam.example/rss.xml"
    assert json.loads(run("add", url, "--outlet", "가람일보", "--json")) == {"feeds": 1}
    assert json.loads(run("disable", url, "--json")) == {"url": url, "enabled": False}
    (state,) = json.loads(run("--json"))
    assert (state["outlet"], state["condition"]) == ("가람일보", "disabled")
    with ctx.store.begin() as conn:
        conn.execute(
            sa.text(
                "UPDATE feeds SET failures = 12, quarantined_until = now(), next_poll_at = now() + interval '1 day'"
            )
        )
    run("enable", url)
    with ctx.store.begin() as conn:
        (feed,) = feed_rows.due(conn, slack=dt.timedelta(0))
    assert (feed.url, feed.failures) == (url, 0)
    (tmp_path / "more.csv").write_text("url,outlet\nhttps://b.example/rss,나\n", encoding="utf-8")
    run("add", str(tmp_path / "more.csv"))
    assert "waiting" in run()
    for wrong in (["add", "ftp://x"], ["disable", "https://nowhere.example/"]):
        assert isinstance(CliRunner().invoke(app, ["feeds", *wrong]).exception, (UsageError, SystemExit))


def test_the_feeds_that_are_shipped_are_korean_news() -> None:
    rows = read_feeds("builtin")
    assert len(rows) > 70
    assert all(re.search("[가-힣]", outlet) for _, outlet, _ in rows), "a feed of another language brings nothing, ever"
    assert len({outlet for _, outlet, _ in rows}) >= 7


def test_one_guid_for_two_articles_and_two_guids_for_one(ctx: Context, tmp_path: Path) -> None:
    first, second = items(2)
    reused = dataclasses.replace(second, guid=first.guid)
    renamed = dataclasses.replace(first, guid="urn:garam:other", url=first.url + "?utm_medium=rss", title="고친 제목")
    with ReplayServer(Articles([first, reused]), parse_clock("2026-02-01")) as server:
        crawl(ctx, server, tmp_path)
    assert one(ctx, "SELECT count(*) FROM articles") == 2
    with ReplayServer(Articles([renamed]), parse_clock("2026-02-01")) as server:
        crawl(ctx, server, tmp_path)
    assert one(ctx, "SELECT count(*) FROM articles") == 2
    assert one(ctx, f"SELECT version FROM articles WHERE url = '{first.url}'") == 2


def test_an_article_without_a_known_date_is_counted_once_a_later_poll_gives_one(ctx: Context) -> None:
    def poll(date: str) -> None:
        now = dt.datetime(2026, 2, 14, 18, tzinfo=dt.UTC)
        item = Item(
            "https://www.garam.example/a/1", "첫째 기사 제목", "본문의 첫째 문장이다.", date, "", "경제", "가람일보"
        )
        with ctx.store.begin() as conn:
            store_news.write(conn, [entry(item, now=now)], source="feed", join=StoryRule.of(ctx.config.news).join)

    def uncounted() -> list[tuple[dt.date, int]]:
        with ctx.store.begin() as conn:
            return counts.open_days(conn, version)

    with ctx.store.begin() as conn:
        version = counts.ensure_version(conn, "word", "k", START).id
    poll("곧 나옵니다")
    assert one(ctx, "SELECT published_rule || ' ' || day FROM articles") == "unreadable 2026-02-15"
    assert uncounted() == []
    with ctx.store.begin() as conn:
        counts.mark_ready(conn, version, START, counts.newest_article(conn))
    for unknown in ("곧 나옵니다", "", "1970-01-01"):
        poll(unknown)
        assert uncounted() == [], unknown
    poll("2026-02-03 15:04")
    assert one(ctx, "SELECT published_rule || ' ' || day FROM articles") == "later 2026-02-03"
    assert uncounted() == [(dt.date(2026, 2, 3), 1)]
    poll("2026-02-04 15:04")
    assert one(ctx, "SELECT day FROM articles") == dt.date(2026, 2, 3), "a known date never changes"
