# ruff: noqa: E501 - the script is read best on one line
"""Intake of the large real sets beside the repository: every article once, on its day, in bounded memory.

`GARAM_LONG_TESTS=1` takes all 50,413 rows and all 35 snapshots (some minutes) instead of the first.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from demo.replay import ReplayServer, Snapshots
from pipeline import news
from pipeline.asof import day_of, parse_instant
from pipeline.config import load
from pipeline.context import Context
from pipeline.news.urls import canonical

pytestmark = [pytest.mark.shared, pytest.mark.timeout(1200)]
LONG = bool(os.environ.get("GARAM_LONG_TESTS"))

IMPORT = """
import json, sys; from pathlib import Path; from pipeline import news; from pipeline.config import load; from pipeline.context import Context
report = news.import_archive(Context(load()), sys.argv[1])
# Not ru_maxrss: that one starts with what the parent had when it forked.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps({"new": report.new, "errors": report.errors, "seconds": report.seconds,
                  "peak_mb": int(peak.split()[1]) / 1024}))
"""


@pytest.fixture
def ctx(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("GARAM_DATABASE_URL", database)
    context = Context(load(None, {"GARAM_NEWS__ALLOW_LOOPBACK": "true", "GARAM_NEWS__FEEDS_FILE": ""}))
    context.store.migrate()
    yield context
    context.store.close()


def days_of_the_file(path: Path) -> dict[str, dt.date]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return {canonical(row["url"]): day_of(parse_instant(row["date"])) for row in map(json.loads, file)}


def days_in_the_store(ctx: Context) -> dict[str, dt.date]:
    with ctx.store.begin() as conn:
        return {row[0]: row[1] for row in conn.execute(sa.text("SELECT url, day FROM articles"))}


def test_an_archive_keeps_its_days(ctx: Context, shared: Path, tmp_path: Path) -> None:
    path = shared / "data/news/economy-rss-2026-02.jsonl.gz"
    taken = path
    if not LONG:
        taken = tmp_path / "first.jsonl"
        with gzip.open(path, "rt", encoding="utf-8") as file:
            taken.write_text("".join(line for line, _ in zip(file, range(5000), strict=False)), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", IMPORT, str(taken)], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout.splitlines()[-1])
    print(report)
    assert report["new"] >= (50_400 if LONG else 4_990)
    assert report["errors"] == 0
    assert report["peak_mb"] < 400
    expected, held = days_of_the_file(path), days_in_the_store(ctx)
    assert {url: day for url, day in held.items() if expected[url] != day} == {}
    with ctx.store.begin() as conn:
        groups = "SELECT count(*), sum(n), max(n) FROM (SELECT count(*) n FROM articles GROUP BY coalesce(story_id, id) HAVING count(*) > 1) s"
        print(
            f"{len(held)} articles, {len(expected)} addresses; near-duplicate groups, in them, largest:",
            conn.execute(sa.text(groups)).one(),
        )


def test_snapshots_through_the_crawler_give_every_article_once(ctx: Context, shared: Path, tmp_path: Path) -> None:
    past = Snapshots.open(shared / "data/rss/replay-2026-02.tar.gz")
    expected = days_of_the_file(shared / "data/news/economy-rss-2026-02.jsonl.gz")
    with ReplayServer(past, dt.datetime(2026, 1, 1, tzinfo=dt.UTC)) as server:
        (tmp_path / "feeds.csv").write_text(server.feeds_csv(), encoding="utf-8")
        for time in past.times if LONG else past.times[:4]:
            server.clock = dt.datetime.fromtimestamp(time, dt.UTC)
            assert news.crawl(ctx, feeds_file=tmp_path / "feeds.csv").errors == 0
        first = days_in_the_store(ctx)
        assert news.crawl(ctx, feeds_file=tmp_path / "feeds.csv").new == 0
    assert len(first) > 2000
    wrong = [url for url, day in first.items() if url in expected and expected[url] != day]
    assert len(wrong) <= 2  # an outlet may date an article anew
    assert sum(url in expected for url in first) > 0.99 * len(first)
