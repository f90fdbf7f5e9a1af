# ruff: noqa: E501 - SQL is read best on one line
"""A crawl's whole world in processes of its own, each of which can be killed with -9 at any moment.

The database keeps its real settings here (what is committed is on disk), unlike that of the other tests.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from demo.replay import Snapshots
from localstack import postgres, processes, stack
from localstack.context import Options
from localstack.state import StateFolder
from pipeline.store import Store
from tests.services import PREFIX, create_database, remove_stack

TOKEN = "of-this-test"
GARAM = [sys.executable, "-c", "from pipeline.cli import main; main()"]
VICTIMS = ("crawler", "database", "feeds")
# What must be equal, whatever died meanwhile. Which version is the newest, and the feeds that an article stood in, too.
STATE = """
SELECT a.url, a.outlet, a.published_at, a.day, a.version,
       (SELECT array_agg(v.content_sha256 ORDER BY v.version) FROM article_versions v WHERE v.article_id = a.id),
       (SELECT array_agg(f.url ORDER BY f.url) FROM article_feeds x JOIN feeds f ON f.id = x.feed_id WHERE x.article_id = a.id)
FROM articles a ORDER BY a.url
"""


class World:
    """Postgres, a replay server of snapshots, and crawls (`garam crawl`) between them. A context manager."""

    def __init__(self, snapshots: Path, seed: int) -> None:
        self.snapshots, self.random = snapshots, random.Random(seed)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-kills-"))
        self.kills: Counter[str] = Counter()
        self.crawls: Counter[str] = Counter()
        self.clock, self.port = 0, 0
        self.next_victims: list[str] = []
        self.crawl_s = 3.0  # what a crawl takes here when nobody disturbs it
        self.feeds: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> World:
        stack.up(["postgres"], folder=self.folder, options=Options())
        self.times = Snapshots.open(self.snapshots).times
        self.clock = self.times[0]
        self.start_feeds()
        self.feed_list = self.folder / "feeds.csv"
        self.feed_list.write_bytes(urllib.request.urlopen(f"http://127.0.0.1:{self.port}/feeds.csv").read())
        return self

    def __exit__(self, *_: object) -> None:
        if self.feeds is not None:
            self.feeds.kill()
            self.feeds.wait()
        remove_stack(self.folder)

    def new_database(self) -> str:
        """A database with the schema."""
        here = StateFolder(self.folder)
        state = here.load()
        assert state is not None
        server = postgres.url(state.ports[postgres.NAME], "postgres", here.secret("postgres"), "postgres")
        url = create_database(server)
        store = Store(url)
        store.migrate()
        store.close()
        return url

    def start_feeds(self) -> None:
        command = [
            sys.executable,
            "-m",
            "demo.replay",
            "--source",
            str(self.snapshots),
            "--port",
            str(self.port),
        ]
        at = dt.datetime.fromtimestamp(self.clock, dt.UTC).isoformat()
        environment = {**os.environ, "GARAM_REPLAY_TOKEN": TOKEN}
        self.feeds = subprocess.Popen([*command, "--clock", at], stdout=subprocess.PIPE, env=environment)
        assert self.feeds.stdout is not None
        self.port = int(json.loads(self.feeds.stdout.readline())["url"].rpartition(":")[2])

    def set_clock(self, clock: int) -> None:
        self.clock = clock
        body = json.dumps({"clock": dt.datetime.fromtimestamp(clock, dt.UTC).isoformat()}).encode()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{self.port}/clock", body, headers)).read()

    def start_crawl(
        self, database: str, errors: int | IO[bytes] = subprocess.DEVNULL, **config: object
    ) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "GARAM_DATABASE_URL": database, "GARAM_NEWS__ALLOW_LOOPBACK": "true"}
        environment |= {f"GARAM_NEWS__{key.upper()}": str(value) for key, value in config.items()}
        command = [*GARAM, "crawl", "--feeds", str(self.feed_list), "--json"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment)

    def crawl(self, database: str) -> dict[str, int]:
        """A crawl that nothing disturbs; its report."""
        began = time.monotonic()
        crawl = self.start_crawl(database)
        out, _ = crawl.communicate(timeout=300)
        self.crawl_s = time.monotonic() - began
        assert crawl.returncode == 0
        self.crawls["undisturbed"] += 1
        return dict(json.loads(out))

    def kill_database(self) -> None:
        """-9 for the postmaster and all its children at once."""
        state = StateFolder(self.folder).load()
        assert state is not None
        processes.end_now(processes.family(state.processes[postgres.NAME]))

    def start_database(self) -> None:
        """Start it again: it recovers from its log."""
        stack.up(["postgres"], folder=self.folder)

    def crawl_with_a_kill(self, database: str) -> None:
        """A crawl during which one of the three dies at a random moment; the dead one comes back a little later."""
        self.next_victims = self.next_victims or self.random.sample(VICTIMS, k=3)  # each in turn, in any order
        victim = self.next_victims.pop()
        said, polled = (self.folder / "crawl.log").open("w+b"), polls(database)
        crawl = self.start_crawl(database, said)
        end = time.monotonic() + self.crawl_s * self.random.uniform(0.3, 1.0)
        while crawl.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        self.kills[victim + ("" if crawl.poll() is None else " (the crawl was over)")] += 1
        if victim == "crawler":
            crawl.kill()
        elif victim == "database":
            self.kill_database()
            time.sleep(self.random.uniform(0, 1))
            self.start_database()
        else:
            assert self.feeds is not None
            self.feeds.kill()
            self.feeds.wait()
            time.sleep(self.random.uniform(0, 0.5))
            self.start_feeds()
        crawl.communicate(timeout=300)
        self.crawls["disturbed"] += 1
        with said:
            said.seek(0)
            heard = said.read().decode()
        if victim == "database" and crawl.returncode == 1:  # it was gone before the crawl had begun
            assert "does not answer" in heard, heard
            assert polls(database) == polled
            self.crawls["not begun"] += 1
        # Else it waits for the database, and records what the feeds' server's end did to its polls.
        elif victim != "crawler":
            assert crawl.returncode == 0, heard

    def walk(self, database: str, times: list[int], kills: int = 0) -> list[dict[str, int]]:
        """Each snapshot crawled until every feed's poll of it succeeded, after ``kills`` crawls in which something died.

        That is what is promised: an article is in the store once a poll saw it. A snapshot that was replaced before
        any poll of it succeeded would be lost, by anybody.
        """
        reports = []
        for clock in times:
            self.set_clock(clock)
            for _ in range(kills):
                self.crawl_with_a_kill(database)
            reports.append(self.crawl(database))
            assert reports[-1]["errors"] == 0, reports[-1]
        return reports


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run left behind."""

    articles: list[tuple[object, ...]]
    polls_of_articles: int  # sum of `new` over the polls: each article was new to exactly one


def outcome(database: str) -> Outcome:
    """What a run left in its database."""
    store = Store(database)
    with store.begin() as conn:
        articles = [tuple(tuple(v) if isinstance(v, list) else v for v in row) for row in conn.execute(sa.text(STATE))]
        new = int(conn.scalar(sa.text("SELECT coalesce(sum(new), 0) FROM polls")) or 0)
    store.close()
    return Outcome(articles, new)


def polls(database: str) -> int:
    """How many polls a database has recorded."""
    store = Store(database)
    with store.begin() as conn:
        count = int(conn.scalar(sa.text("SELECT count(*) FROM polls")) or 0)
    store.close()
    return count
