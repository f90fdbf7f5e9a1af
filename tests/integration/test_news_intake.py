# ruff: noqa: E501 - SQL and rows are read best on one line
"""News intake on a real Postgres, over real HTTP on loopback."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from demo.replay import Articles, ReplayServer, Snapshots, parse_clock
from pipeline import news
from pipeline.config import load
from pipeline.context import Context
from pipeline.errors import BusyError, UsageError
from pipeline.news.parse import Item

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"GARAM_NEWS__ALLOW_LOOPBACK": "true", "GARAM_NEWS__FEEDS_FILE": ""}
ROWS = "SELECT a.url, v.title, v.text, a.day, a.outlet, a.category FROM articles a JOIN article_versions v ON v.article_id = a.id ORDER BY a.url, v.version"


@pytest.fixture
def ctx(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("GARAM_DATABASE_URL", database)
    context = Context(load(None, ENVIRONMENT))
    context.store.migrate()
    yield context
    context.store.close()


def rows(ctx: Context, query: str = ROWS) -> list[tuple[object, ...]]:
    with ctx.store.begin() as conn:
        return [tuple(row) for row in conn.execute(sa.text(query))]


def made(count: int) -> list[Item]:
    start = dt.datetime.fromisoformat("2026-02-01T09:00:00+09:00")
    return [
        Item(
            f"https://www.garam.example/a/{i}", f"{i}번째 기사 제목 <단독> A&B", f"본문 {i} 번째 문장이다. 숫자 {i * 7919} 그리고 {i * 104729} 이다.\n둘째 줄 & 끝.",
            (start + dt.timedelta(minutes=i)).isoformat(), str(i), ["경제", "사회"][i % 2], "가람일보",
        )
        for i in range(count)
    ]  # fmt: skip


def archive(path: Path, items: list[Item]) -> Path:
    lines = [
        json.dumps({"url": i.url, "title": i.title, "text": i.text, "published_at": i.published_raw, "category": i.category, "outlet": i.outlet})
        for i in items
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def crawl_of(ctx: Context, server: ReplayServer, folder: Path) -> news.CrawlReport:
    (folder / "feeds.csv").write_text(server.feeds_csv(), encoding="utf-8")
    return news.crawl(ctx, feeds_file=folder / "feeds.csv")


def test_what_is_crawled_equals_what_is_imported(ctx: Context, tmp_path: Path) -> None:
    with ReplayServer(Articles(made(40)), parse_clock("2026-02-01T09:19:00+09:00")) as server:
        first = crawl_of(ctx, server, tmp_path)
        assert (first.feeds, first.new, first.errors) == (2, 20, 0)
        again = crawl_of(ctx, server, tmp_path)
        assert (again.new, again.updated, again.duplicates) == (0, 0, 0)  # 304
        server.clock = parse_clock("2026-02-01")
        rest = crawl_of(ctx, server, tmp_path)
        assert (rest.new, rest.duplicates) == (20, 20)
    crawled = rows(ctx)
    with ctx.store.begin() as conn:
        conn.execute(sa.text("TRUNCATE articles, feeds, polls, payloads CASCADE"))
    report = news.import_archive(ctx, archive(tmp_path / "a.jsonl", made(40)))
    assert (report.rows, report.new, report.errors) == (40, 40, 0)
    assert rows(ctx) == crawled
    again_report = news.import_archive(ctx, tmp_path / "a.jsonl")
    assert (again_report.new, again_report.duplicates) == (0, 40)


def test_polls_honour_their_time_and_are_recorded(ctx: Context, tmp_path: Path) -> None:
    with ReplayServer(Articles(made(4)), parse_clock("2026-02-01")) as server:
        crawl_of(ctx, server, tmp_path)
        assert news.crawl(ctx).feeds == 0
        assert news.crawl(ctx, force=True).feeds == 2
        url = server.url
    failed = news.crawl(ctx, force=True)
    assert (failed.feeds, failed.errors) == (2, 2)
    states = news.feeds(ctx)
    assert all(state.status == "error" and state.failures == 1 and state.error for state in states)
    assert all(state.url.startswith(url) and state.articles == 2 for state in states)
    assert rows(ctx, "SELECT count(*) FROM polls") == [(6,)]
    assert news.silent_outlets(ctx) == []


def test_updates_corrections_and_cuts(ctx: Context, tmp_path: Path) -> None:
    base = made(1)[0]
    other = Item(
        base.url + "?utm_source=x",
        base.title,
        "본문이 고쳐졌다. 이제 다르다.",
        base.published_raw,
        "",
        base.category,
        base.outlet,
    )
    cut = Item(
        base.url, base.title, base.text[:12] + "...", "2026-02-09T00:00:00+09:00", "", base.category, base.outlet
    )
    for k, (one, expected) in enumerate(
        [(base, "new"), (cut, "duplicates"), (other, "updated"), (base, "duplicates"), (other, "duplicates")]
    ):
        report = news.import_archive(ctx, archive(tmp_path / f"{k}.jsonl", [one, made(2)[1]] if k else [one]))
        assert getattr(report, expected) >= 1, (k, report)
    assert rows(ctx, f"SELECT version, day::text FROM articles WHERE url = '{base.url}'") == [(2, "2026-02-01")]


def test_wire_copies_are_one_story(ctx: Context, tmp_path: Path) -> None:
    text = "한국은행이 기준금리를 연 2.5%로 동결했다. 시장은 이를 예상하고 있었으며 환율은 소폭 내렸다. 총재는 물가를 더 지켜보겠다고 말했다."
    copies = [
        Item(
            f"https://o{i}.garam.example/{i}",
            title,
            text + tail,
            f"2026-02-{day:02}T09:00:00+09:00",
            "",
            "경제",
            f"o{i}",
        )
        for i, (title, tail, day) in enumerate(
            [
                ("금리 동결", "", 1),
                ("한은, 금리 동결", " 무단전재 및 재배포 금지", 1),
                ("기준금리 2.5%", " 끝.", 2),
                ("옛 기사", "", 12),
            ]
        )
    ]
    news.import_archive(ctx, archive(tmp_path / "a.jsonl", [*copies, *made(5)]))
    stories = rows(
        ctx,
        "SELECT url, coalesce(story_id, id) = (SELECT min(id) FROM articles) FROM articles ORDER BY url",
    )
    assert [url for url, same in stories if same] == [c.url for c in copies[:3]]
    assert len(stories) == 9  # the one of ten days later is another story


def test_forgotten_is_forgotten(ctx: Context, tmp_path: Path) -> None:
    with ReplayServer(Articles(made(4)), parse_clock("2026-02-01")) as server:
        crawl_of(ctx, server, tmp_path)
        report = news.forget(ctx, "http://www.garam.example/a/2?utm_source=mail#x", reason="asked")
        assert (report.url, report.articles) == ("https://www.garam.example/a/2", 1)
        assert rows(
            ctx,
            "SELECT title, text FROM article_versions v JOIN articles a ON a.id = v.article_id WHERE removed_at IS NOT NULL",
        ) == [("", "")]
        with ctx.store.begin() as conn:
            conn.execute(sa.text("UPDATE feeds SET etag = NULL, last_modified = NULL"))
        crawl_of(ctx, server, tmp_path)
    news.import_archive(ctx, archive(tmp_path / "a.jsonl", made(4)))
    assert rows(ctx, "SELECT count(*) FROM articles WHERE removed_at IS NULL") == [(3,)]
    assert rows(ctx, "SELECT count(*) FROM article_versions WHERE title <> ''") == [(3,)]
    with pytest.raises(UsageError, match="whole address"):
        news.forget(ctx, "no address")


def test_loopback_needs_permission(ctx: Context, tmp_path: Path) -> None:
    closed = Context(load(None, {**ENVIRONMENT, "GARAM_NEWS__ALLOW_LOOPBACK": "false"}))
    with ReplayServer(Articles(made(2)), parse_clock("2026-02-01")) as server:
        assert crawl_of(closed, server, tmp_path).errors == 2
    assert all("allow_loopback" in str(state.error) for state in news.feeds(ctx))
    assert rows(ctx) == []


def test_a_feed_made_to_spin_stops_no_other(ctx: Context, tmp_path: Path) -> None:
    bounded = Context(load(None, {**ENVIRONMENT, "GARAM_NEWS__READ_CPU_S": "1"}))
    hostile = f"<author>{'a.' * 200_000}</author>"  # hours of work for feedparser
    (tmp_path / "1770000000").mkdir()
    for i, more in enumerate(["", hostile, "", ""]):
        item_ = f"<item><title>{i}번째 기사</title><link>https://www.garam.example/{i}</link>{more}</item>"
        feed = f"<rss version='2.0'><channel>{item_}</channel></rss>"
        (tmp_path / "1770000000" / f"{i}.xml").write_text(feed, encoding="utf-8")
    with ReplayServer(Snapshots.open(tmp_path), parse_clock("2026-02-28")) as server:
        report = crawl_of(bounded, server, tmp_path)
    assert (report.feeds, report.new, report.errors) == (4, 3, 1)
    (failed,) = [state for state in news.feeds(ctx) if state.status == "error"]
    assert "processor time" in str(failed.error)
    bounded.store.close()


def test_a_feed_whose_article_cannot_be_stored_stops_no_other(ctx: Context, tmp_path: Path) -> None:
    """Whatever the database will not have, it is an error of that feed, which gives all of it again later."""
    refuse = (
        "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$ LANGUAGE plpgsql",
        "CREATE TRIGGER refuse BEFORE INSERT ON articles FOR EACH ROW WHEN (NEW.category = '사회') EXECUTE FUNCTION refuse()",
    )
    with ctx.store.begin() as conn:
        for statement in refuse:
            conn.execute(sa.text(statement))
    with ReplayServer(Articles(made(40)), parse_clock("2026-02-01")) as server:
        first = crawl_of(ctx, server, tmp_path)
        assert (first.feeds, first.new, first.errors) == (2, 20, 1)
        wrong = next(state for state in news.feeds(ctx) if state.category == "사회")
        assert (wrong.status, wrong.articles, wrong.failures) == ("error", 0, 1)
        assert "not this one" in str(wrong.error)
        with ctx.store.begin() as conn:
            conn.execute(sa.text("DROP TRIGGER refuse ON articles"))
        assert crawl_of(ctx, server, tmp_path).new == 20


def test_a_row_that_says_nonsense_of_when_it_was_seen_stops_no_other(ctx: Context, tmp_path: Path) -> None:
    rows_ = [
        {"url": i.url, "title": i.title, "text": i.text, "published_at": i.published_raw, "first_seen": seen}
        for i, seen in zip(made(3), ["2026-02-02T00:00:00+00:00", "어제", "2026-02-03T00:00:00+00:00"], strict=True)
    ]
    path = tmp_path / "seen.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_), encoding="utf-8")
    report = news.import_archive(ctx, path, known_by="first_seen")
    assert (report.rows, report.new, report.errors) == (3, 2, 1)


def test_two_imports_at_once_are_one(ctx: Context, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.jsonl", made(3))
    real = news.import_archive

    def meanwhile(what: str, done: int, total: int) -> None:
        with pytest.raises(BusyError):
            real(ctx, path)

    assert news.import_archive(ctx, path, progress=meanwhile).new == 3


KILLED_IMPORT = """
import sys; from pipeline import news; from pipeline.config import load; from pipeline.context import Context
print("go", flush=True)
print(news.import_archive(Context(load()), sys.argv[1]), flush=True)
"""
KILLED_CRAWL = """
import sys; from pipeline import news; from pipeline.config import load; from pipeline.context import Context
print("go", flush=True)
print(news.crawl(Context(load()), feeds_file=sys.argv[1]), flush=True)
"""


def _start(code: str, argument: Path, database: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **ENVIRONMENT, "GARAM_DATABASE_URL": database, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(argument)], env=environment, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def _kill_until_done(code: str, argument: Path, database: str, waits: list[float]) -> int:
    kills = 0
    for wait in waits:
        process = _start(code, argument, database)
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        time.sleep(wait)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        process.stdout.close()
    last = _start(code, argument, database)
    out, _ = last.communicate(timeout=120)
    assert last.returncode == 0, out
    return kills


def test_an_import_killed_again_and_again_loses_and_doubles_nothing(
    ctx: Context, database: str, tmp_path: Path
) -> None:
    path = archive(tmp_path / "a.jsonl", made(3000))
    assert _kill_until_done(KILLED_IMPORT, path, database, [0.6, 1.2, 1.8]) >= 1
    assert rows(ctx, "SELECT count(*), count(DISTINCT url) FROM articles") == [(3000, 3000)]
    assert rows(ctx, "SELECT count(*) FROM article_versions") == [(3000,)]
    report = news.import_archive(ctx, path)
    assert (report.rows, report.duplicates) == (3000, 3000)


def test_a_crawl_killed_again_and_again_loses_and_doubles_nothing(ctx: Context, database: str, tmp_path: Path) -> None:
    with ReplayServer(Articles(made(1200)), parse_clock("2026-02-28")) as server:
        (tmp_path / "feeds.csv").write_text(server.feeds_csv(), encoding="utf-8")
        assert _kill_until_done(KILLED_CRAWL, tmp_path / "feeds.csv", database, [0.4, 0.8, 1.2]) >= 1
    assert rows(ctx, "SELECT count(*), count(DISTINCT url) FROM articles") == [(1200, 1200)]
    assert rows(ctx, "SELECT count(*) FROM article_versions") == [(1200,)]
    assert rows(ctx, "SELECT sum(new) FROM polls") == [(1200,)]


def test_the_replay_clock_needs_the_token(tmp_path: Path) -> None:
    import httpx

    with ReplayServer(Articles(made(4)), parse_clock("2026-02-01T09:00:00+09:00")) as server:
        body = {"clock": "2026-02-01T09:01:00+09:00"}
        assert httpx.post(f"{server.url}/clock", json=body).status_code == 403
        allowed = {"Authorization": f"Bearer {server.token}"}
        assert httpx.post(f"{server.url}/clock", json={"clock": "soon"}, headers=allowed).status_code == 400
        assert httpx.post(f"{server.url}/clock", json=body, headers=allowed).status_code == 200
        got = httpx.get(f"{server.url}/rss/2.xml")
        assert got.text.count("<item>") == 1
        assert httpx.get(f"{server.url}/rss/2.xml", headers={"If-None-Match": got.headers["etag"]}).status_code == 304
        assert (
            httpx.get(
                f"{server.url}/rss/2.xml", headers={"If-Modified-Since": got.headers["last-modified"]}
            ).status_code
            == 304
        )
        assert httpx.get(f"{server.url}/rss/9.xml").status_code == 404


def test_snapshots_of_a_folder_and_of_a_tar_are_the_same(tmp_path: Path) -> None:
    import tarfile

    for time_, name in [(100, "a.xml"), (100, "b.xml"), (200, "a.xml")]:
        (tmp_path / "s" / str(time_)).mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / str(time_) / name).write_text(f"{name} at {time_}")
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "s", "s")
    for past in (Snapshots.open(tmp_path / "s"), Snapshots.open(tmp_path / "s.tar.gz")):
        assert past.times == [100, 200]
        assert [name for name, _, _ in past.feeds()] == ["a.xml", "b.xml"]
        shown = past.at("a.xml", dt.datetime.fromtimestamp(150, dt.UTC))
        assert shown is not None
        assert shown.body == b"a.xml at 100"
        assert past.at("a.xml", dt.datetime.fromtimestamp(50, dt.UTC)) is None
