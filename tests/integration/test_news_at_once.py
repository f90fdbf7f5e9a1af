# ruff: noqa: E501 - SQL is read best on one line
"""A crawl beside an import of the same articles, and beside removal requests for what it is taking in."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from demo.replay import Articles, ReplayServer, parse_clock
from pipeline import news
from pipeline.config import load
from pipeline.context import Context
from pipeline.news.parse import Item
from pipeline.store import feeds as store_feeds

START = dt.datetime.fromisoformat("2026-02-01T09:00:00+09:00")
CONFIG = {"GARAM_NEWS__ALLOW_LOOPBACK": "true", "GARAM_NEWS__FEEDS_FILE": "", "GARAM_NEWS__CONCURRENCY": "3"}


@pytest.fixture
def ctx(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("GARAM_DATABASE_URL", database)
    context = Context(load(None, CONFIG))
    context.store.migrate()
    yield context
    context.store.close()


def items(count: int, outlets: int) -> list[Item]:
    return [
        Item(
            f"https://www.garam.example/a/{10_000 + i}", f"{i}번째 기사 제목", f"본문 {i} 번째 문장이다. 숫자 {i * 7919} 그리고 {i * 104729} 이다.",
            (START + dt.timedelta(minutes=i)).isoformat(), "", "경제", f"{i % outlets} 일보",
        )
        for i in range(count)
    ]  # fmt: skip


def together(*works: Callable[[], object]) -> None:
    failures: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def one(ctx: Context, query: str) -> tuple[object, ...]:
    with ctx.store.begin() as conn:
        return tuple(conn.execute(sa.text(query)).one())


def test_a_crawl_and_an_import_of_the_same_take_each_article_once(ctx: Context, tmp_path: Path) -> None:
    given = items(1200, 6)
    rows = [{"url": i.url, "title": i.title, "text": i.text, "published_at": i.published_raw, "category": i.category, "outlet": i.outlet} for i in given]  # fmt: skip
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in reversed(rows)) + "\n", encoding="utf-8")
    reports: dict[str, news.CrawlReport | news.ImportReport] = {}
    with ReplayServer(Articles(given), parse_clock("2026-02-28")) as server:
        (tmp_path / "feeds.csv").write_text(server.feeds_csv(), encoding="utf-8")
        together(
            lambda: reports.update(crawl=news.crawl(ctx, feeds_file=tmp_path / "feeds.csv")),
            lambda: reports.update(archive=news.import_archive(ctx, tmp_path / "a.jsonl")),
        )
    assert sum(report.new for report in reports.values()) == 1200
    assert sum(report.duplicates for report in reports.values()) == 1200
    assert all((report.updated, report.errors) == (0, 0) for report in reports.values())
    assert one(ctx, "SELECT count(*), count(DISTINCT url), sum(version) FROM articles") == (1200, 1200, 1200)
    assert one(ctx, "SELECT count(*) FROM article_versions") == (1200,)
    assert one(ctx, "SELECT count(*) FROM article_feeds") == (1200,)


def test_two_lists_of_the_same_feeds_in_opposite_order(ctx: Context) -> None:
    """Each adds its rows one by one: they must not come to wait for each other."""
    rows = [(f"https://www.garam.example/{n}.xml", "가람일보", "") for n in range(300)]

    def add(mine: list[tuple[str, str, str]]) -> None:
        for _ in range(3):
            with ctx.store.begin() as conn:
                store_feeds.add(conn, mine)

    together(lambda: add(rows), lambda: add(rows[::-1]))
    assert one(ctx, "SELECT count(*) FROM feeds") == (300,)


def test_what_is_removed_during_a_crawl_is_nowhere_after_it(ctx: Context, tmp_path: Path) -> None:
    given = items(600, 12)
    wanted_gone = given[::50]

    def remove() -> None:
        for item in wanted_gone:
            news.forget(ctx, item.url, reason="asked")

    with ReplayServer(Articles(given), parse_clock("2026-02-28")) as server:
        (tmp_path / "feeds.csv").write_text(server.feeds_csv(), encoding="utf-8")
        crawl = lambda: news.crawl(ctx, feeds_file=tmp_path / "feeds.csv")  # noqa: E731
        together(crawl, remove)
        with ctx.store.begin() as conn:
            conn.execute(sa.text("UPDATE feeds SET etag = NULL, last_modified = NULL"))
        together(crawl, remove)
    assert one(ctx, "SELECT count(*) FROM removals") == (12,)
    assert one(ctx, "SELECT count(*) FROM articles WHERE removed_at IS NULL") == (588,)
    assert one(ctx, "SELECT count(*) FROM article_versions WHERE text <> ''") == (588,)
    with ctx.store.begin() as conn:
        kept = [store_feeds.payload(conn, id_).decode() for id_ in conn.scalars(sa.text("SELECT id FROM payloads"))]
    assert not any(f">{item.url}<" in body for item in wanted_gone for body in kept)
    assert one(ctx, "SELECT count(*) FROM polls WHERE status = 'ok'") == (24,)
