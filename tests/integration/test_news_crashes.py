# ruff: noqa: E501 - rows are read best on one line
"""kill -9 of the crawler, of the database and of the feeds' server at random moments: nothing lost, nothing doubled.

`GARAM_LONG_TESTS=1` takes all 35 snapshots of the real replay, a kill at each, in seven parts of some minutes, instead
of the first.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.crashing import World, outcome

LONG = bool(os.environ.get("GARAM_LONG_TESTS"))
pytestmark = pytest.mark.timeout(3000 if LONG else 600)  # a busy machine takes ten times as long
START = dt.datetime(2026, 2, 1, tzinfo=dt.UTC)
STEP, SHOWN = 60, 120  # articles by which a feed moves on from one snapshot to the next, and articles that it shows


def item(feed: int, number: int, snapshot: int) -> str:
    """Every seventh stands in all feeds; every fifth is corrected while it is shown; every ninth has no guid."""
    shared = number % 7 == 0
    url = f"https://www.garam.example/{'all' if shared else feed}/{number}"
    corrected = " 정정" if number % 5 == 0 and snapshot * STEP > number else ""
    text = f"{number}번째 기사의 본문이다{corrected}. 숫자 {number * 7919} 그리고 {number * 104729} 이다."
    at = format_datetime(START + dt.timedelta(minutes=number))
    guid = "" if number % 9 == 0 else f"<guid isPermaLink='false'>{feed}-{number}</guid>"
    return f"<item><title>{number}번째 기사{corrected}</title><link>{url}?utm_source=rss</link>{guid}<pubDate>{at}</pubDate><description>{text}</description></item>"


def generate(folder: Path, feeds: int, snapshots: int) -> Path:
    for snapshot in range(snapshots):
        numbers = range(snapshot * STEP, snapshot * STEP + SHOWN)
        at = int((START + dt.timedelta(minutes=snapshot * STEP + SHOWN)).timestamp())
        (folder / str(at)).mkdir(parents=True)
        for feed in range(feeds):
            items = "".join(item(feed, number, snapshot) for number in reversed(numbers))
            (folder / str(at) / f"{feed}.xml").write_text(
                f"<rss version='2.0'><channel>{items}</channel></rss>", encoding="utf-8"
            )
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(generate(tmp_path_factory.mktemp("snapshots"), 4, 2), seed=4) as made:
        # One outlet, so that which of two feeds came first is not seen in the articles that both have.
        lines = made.feed_list.read_text().splitlines()
        made.feed_list.write_text(
            "\n".join([lines[0], *(f"{line.split(',')[0]},가람일보," for line in lines[1:])]) + "\n"
        )
        yield made


def compare(world: World, times: list[int], kills: int) -> None:
    quiet, disturbed = world.new_database(), world.new_database()
    began = time.monotonic()
    world.walk(quiet, times)
    expected = outcome(quiet)
    took = time.monotonic() - began
    world.walk(disturbed, times, kills)
    found = outcome(disturbed)
    print(
        f"\n{len(found.articles)} articles, kills {dict(world.kills)}, undisturbed in {took:.0f} s, {dict(world.crawls)}"
    )
    assert found.articles == expected.articles
    assert found.polls_of_articles == len(found.articles) == expected.polls_of_articles
    again = world.walk(disturbed, times)
    assert sum(report["new"] + report["updated"] for report in again) == 0
    assert outcome(disturbed) == found


def test_generated_feeds(world: World) -> None:
    compare(world, world.times, 2)
    assert sum(world.kills.values()) == 4


@pytest.mark.shared
@pytest.mark.parametrize("part", range(7) if LONG else [0])
def test_the_real_replay(shared: Path, part: int) -> None:
    with World(shared / "data/rss/replay-2026-02.tar.gz", seed=35 + part) as world:
        compare(world, world.times[part * 5 : part * 5 + 5] if LONG else world.times[:1], 1 if LONG else 3)


def test_a_database_that_stays_away_ends_the_crawl_with_a_sentence(world: World) -> None:
    database = world.new_database()
    world.set_clock(world.times[0])
    crawl = world.start_crawl(database, subprocess.PIPE, database_patience_s=1, concurrency=1)
    assert crawl.stderr is not None
    crawl.stderr.readline()  # the first feed is done
    crawl.send_signal(signal.SIGSTOP)  # so that it cannot be done with all of them before the database is dead
    world.kill_database()
    crawl.send_signal(signal.SIGCONT)
    try:
        _, said = crawl.communicate(timeout=60)
    finally:
        world.start_database()
    last = said.decode().strip().splitlines()[-1]
    assert crawl.returncode == 1, said.decode()
    assert "does not answer" in last
    assert "Traceback" not in said.decode()
    done = len({row[0] for row in outcome(database).articles})
    report = world.crawl(database)
    assert (report["errors"], report["new"]) == (0, len(outcome(database).articles) - done)


def test_two_crawls_at_once_are_one(world: World) -> None:
    """Each feed is asked by one of them; articles that several feeds have are taken once."""
    alone, shared = world.new_database(), world.new_database()
    world.set_clock(world.times[1])
    world.crawl(alone)
    crawls = [world.start_crawl(shared) for _ in range(3)]
    for crawl in crawls:
        crawl.communicate(timeout=120)
    assert [crawl.returncode for crawl in crawls] == [0, 0, 0]
    found = outcome(shared)
    assert found == outcome(alone)
    assert len(found.articles) == found.polls_of_articles
