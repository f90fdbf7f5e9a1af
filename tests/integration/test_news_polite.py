# ruff: noqa: E501 - rows are read best on one line
"""How the crawler treats servers: a real one on loopback that answers as told and notes who asked for what."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from pipeline import news, overview
from pipeline.cli import app
from pipeline.config import load
from pipeline.context import Context
from pipeline.store.feeds import FeedState

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins"))

from retraining import rendering

FEED = "<rss version='2.0'><channel>{more}<item><title>{n}번째 기사다</title><link>https://www.garam.example/{n}</link><description>본문 {n}</description></item></channel></rss>"


class Site:
    """Answers by path, (status, headers, body), and the requests that came."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.date = ""  # what its clock says, if not the truth
        self.asked: list[tuple[str, dict[str, str]]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, dict(self.headers)))
                status, headers, body = site.answers.get(self.path, (404, {}, b""))
                etag = headers.get("ETag")
                if etag and self.headers.get("If-None-Match") == etag:
                    status, body = 304, b""
                self.send_response(status)
                for key, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            def date_time_string(self, timestamp: float | None = None) -> str:
                return site.date or super().date_time_string(timestamp)

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def feed(self, path: str, n: int = 1, more: str = "", **headers: str) -> None:
        self.answers[path] = (200, headers, FEED.format(n=n, more=more).encode())

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked if path != "/robots.txt"]


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def ctx(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("GARAM_DATABASE_URL", database)
    context = Context(load(None, {"GARAM_NEWS__ALLOW_LOOPBACK": "true", "GARAM_NEWS__FEEDS_FILE": ""}))
    context.store.migrate()
    yield context
    context.store.close()


def crawl(ctx: Context, site: Site, tmp_path: Path, *paths: str) -> dict[str, FeedState]:
    """Poll these feeds; the states of all by their path."""
    lines = "".join(f"{site.url}{path},가람일보,\n" for path in paths)
    (tmp_path / "feeds.csv").write_text("url,outlet,category\n" + lines, encoding="utf-8")
    news.crawl(ctx, feeds_file=tmp_path / "feeds.csv")
    return {state.url.removeprefix(site.url): state for state in news.feeds(ctx)}


def test_a_server_whose_clock_is_years_slow_dates_no_article(
    ctx: Context, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On loopback, where only a replay is, the server's clock counts; elsewhere ours does."""
    said = "<item><title>날짜가 맞다</title><link>https://www.garam.example/9</link><pubDate>Tue, 03 Feb 2026 15:04:05 +0900</pubDate></item>"
    site.feed("/a.xml", more=said)
    site.date = "Sat, 01 Jan 2000 00:00:00 GMT"
    day = "SELECT extract(year FROM day) FROM articles WHERE url LIKE '%/9'"
    crawl(ctx, site, tmp_path, "/a.xml")
    assert count(ctx, day) == 2000
    with ctx.store.begin() as conn:
        conn.execute(sa.text("TRUNCATE articles CASCADE"))

    async def here(self: asyncio.AbstractEventLoop, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", here)
    monkeypatch.setattr(ipaddress.IPv4Address, "is_loopback", property(lambda self: False))
    monkeypatch.setattr(ipaddress.IPv4Address, "is_global", property(lambda self: True))
    crawl(ctx, site, tmp_path, "/a.xml")
    assert count(ctx, day) == 2026


def count(ctx: Context, query: str) -> int:
    with ctx.store.begin() as conn:
        return int(conn.scalar(sa.text(query)) or 0)


def in_s(state: FeedState) -> float:
    assert state.next_poll_at is not None
    return (state.next_poll_at - dt.datetime.now(dt.UTC)).total_seconds()


@pytest.mark.parametrize("status", [301, 308])
def test_a_permanent_redirect_becomes_the_feeds_address(ctx: Context, site: Site, tmp_path: Path, status: int) -> None:
    site.feed("/old")
    (before,) = crawl(ctx, site, tmp_path, "/old").values()
    site.feed("/new", 2, ETag='"2"')
    site.answers["/old"] = (status, {"Location": "/new"}, b"")
    after = crawl(ctx, site, tmp_path, "/old")["/new"]
    assert (after.id, after.articles, after.error is not None and "moved for good" in after.error) == (
        before.id,
        2,
        True,
    )
    site.asked.clear()
    again = crawl(ctx, site, tmp_path, "/old")  # a list that still has the old address adds nothing
    assert (list(again), site.paths(), again["/new"].status) == (["/new"], ["/new"], "not_modified")
    assert count(ctx, "SELECT count(*) FROM polls") == 3
    assert count(ctx, "SELECT count(*) FROM feed_moves") == 1


def test_a_feed_moved_back_has_its_first_address_again(ctx: Context, site: Site, tmp_path: Path) -> None:
    site.feed("/b")
    site.answers["/a"] = (301, {"Location": "/b"}, b"")
    assert list(crawl(ctx, site, tmp_path, "/a")) == ["/b"]
    site.feed("/a")
    site.answers["/b"] = (301, {"Location": "/a"}, b"")
    assert list(crawl(ctx, site, tmp_path, "/b")) == ["/a"]
    assert list(crawl(ctx, site, tmp_path, "/b", "/a")) == ["/a"]


def test_an_address_is_kept_when_the_redirect_is_no_move(ctx: Context, site: Site, tmp_path: Path) -> None:
    site.feed("/taken")
    site.feed("/elsewhere")
    site.answers["/front"] = (200, {"Content-Type": "text/html"}, b"<html><body>welcome</body></html>")
    site.answers["/to-other"] = (301, {"Location": "/taken"}, b"")
    site.answers["/for-now"] = (302, {"Location": "/elsewhere"}, b"")
    site.answers["/mixed"] = (301, {"Location": "/for-now"}, b"")
    site.answers["/to-front"] = (301, {"Location": "/front"}, b"")
    states = crawl(ctx, site, tmp_path, "/taken", "/to-other", "/for-now", "/mixed", "/to-front")
    assert set(states) == {"/taken", "/to-other", "/for-now", "/mixed", "/to-front"}
    assert "another feed" in str(states["/to-other"].error)
    assert (states["/for-now"].error, states["/mixed"].error, states["/to-front"].status) == (None, None, "error")


def test_a_feed_that_is_gone_is_disabled_and_says_why(ctx: Context, site: Site, tmp_path: Path) -> None:
    site.answers["/gone"] = (410, {}, b"")
    state = crawl(ctx, site, tmp_path, "/gone")["/gone"]
    assert (state.enabled, state.http_status, state.status) == (False, 410, "error")
    assert "410" in str(state.disabled_why)
    crawl(ctx, site, tmp_path, "/gone")
    assert site.paths() == ["/gone"]
    news.set_feed(ctx, site.url + "/gone", enabled=True)
    site.feed("/gone")
    state = crawl(ctx, site, tmp_path, "/gone")["/gone"]
    assert (state.enabled, state.disabled_why, state.articles) == (True, None, 1)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_robots_txt_that_fails_forbids_all_for_now(ctx: Context, site: Site, tmp_path: Path, status: int) -> None:
    site.feed("/feed")
    site.answers["/robots.txt"] = (status, {}, b"")
    state = crawl(ctx, site, tmp_path, "/feed")["/feed"]
    assert (site.paths(), state.status, state.failures) == ([], "error", 1)
    assert f"could not be fetched (HTTP status {status})" in str(state.error)
    site.answers["/robots.txt"] = (403, {}, b"")  # RFC 9309, 2.3.1.3: unavailable is as if there were none
    assert crawl(ctx, site, tmp_path, "/feed")["/feed"].status == "ok"


def test_robots_txt_is_asked_for_once_and_obeyed_after_redirects_too(ctx: Context, site: Site, tmp_path: Path) -> None:
    site.answers["/robots.txt"] = (200, {}, b"User-agent: Garam\nDisallow: /private\n")
    for path in ("/1", "/2", "/private"):
        site.feed(path)
    site.answers["/3"] = (302, {"Location": "/private"}, b"")
    states = crawl(ctx, site, tmp_path, "/1", "/2", "/3", "/private")
    assert sorted(site.paths()) == ["/1", "/2", "/3"]
    assert [path for path, _ in site.asked].count("/robots.txt") == 1
    assert all("does not let crawlers" in str(states[path].error) for path in ("/3", "/private"))
    assert {headers["User-Agent"] for _, headers in site.asked} == {ctx.config.news.user_agent}


def test_a_host_that_wants_to_be_left_alone_is(ctx: Context, site: Site, tmp_path: Path) -> None:
    """Retry-After speaks for the host: its other feeds wait too, each with a poll that says so."""
    gentle = Context(
        load(None, {"GARAM_NEWS__ALLOW_LOOPBACK": "true", "GARAM_NEWS__FEEDS_FILE": "", "GARAM_NEWS__CONCURRENCY": "1"})
    )
    for path in ("/1", "/2", "/3"):
        site.answers[path] = (429, {"Retry-After": "7200"}, b"")
    states = crawl(gentle, site, tmp_path, "/1", "/2", "/3")
    gentle.store.close()
    assert len(site.paths()) == 1
    assert sorted((state.status, state.failures) for state in states.values()) == [
        ("error", 1),
        ("skipped", 0),
        ("skipped", 0),
    ]
    assert all(7100 < in_s(state) < 7300 for state in states.values())
    assert count(ctx, "SELECT count(*) FROM polls") == 3


def test_what_a_feed_says_of_its_pace_holds_when_nothing_is_new(ctx: Context, site: Site, tmp_path: Path) -> None:
    site.feed("/ttl", more="<ttl>300</ttl>", ETag='"1"')
    site.feed(
        "/sy", more="<sy:updatePeriod xmlns:sy='http://purl.org/rss/1.0/modules/syndication/'>hourly</sy:updatePeriod>"
    )
    for expected in ("ok", "not_modified"):
        states = crawl(ctx, site, tmp_path, "/ttl", "/sy")
        assert states["/ttl"].status == expected
        assert 0.94 * 300 * 60 < in_s(states["/ttl"]) <= 300 * 60
    assert in_s(states["/sy"]) > 0.94 * 3600


def test_names_that_nobody_answers_for_hold_up_no_other_feed(
    ctx: Context, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as are polled at once less one: the last feed is asked while all their look-ups still hang."""
    real, late = socket.getaddrinfo, []

    def lookup(host: str, *rest: object, **more: object) -> object:
        if not host.startswith("dead"):
            return real(host, *rest, **more)  # type: ignore[arg-type]
        end = time.monotonic() + 20
        while "/alive.xml" not in site.paths():
            if time.monotonic() > end:
                late.append(host)
                break
            time.sleep(0.02)
        raise socket.gaierror("nobody knows")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    site.feed("/alive.xml")
    dead = [f"http://dead{number}.example/rss.xml" for number in range(ctx.config.news.concurrency - 1)]
    lines = [f"{url},가람일보,\n" for url in (*dead, f"{site.url}/alive.xml")]
    (tmp_path / "feeds.csv").write_text("url,outlet,category\n" + "".join(lines), encoding="utf-8")
    report = news.crawl(ctx, feeds_file=tmp_path / "feeds.csv")
    assert (report.feeds, report.new, report.errors) == (len(dead) + 1, 1, len(dead))
    assert late == []


def test_what_is_wrong_is_seen_by_command_and_in_the_page(ctx: Context, site: Site, tmp_path: Path) -> None:
    """From the answer to both: a feed that is none, one with a bad item and one in English, beside one that is well."""
    bad = "<item><title>주소가 없는 기사</title></item>"
    english = "<item><title>Nothing but English here</title><link>https://www.garam.example/en</link></item>"
    site.answers["/page.xml"] = (200, {}, b"<html><body>502</body></html>")
    site.feed("/bad.xml", 2, more=bad)
    site.feed("/english.xml", 3, more=english)
    site.feed("/well.xml", 4)
    crawl(ctx, site, tmp_path, "/page.xml", "/bad.xml", "/english.xml", "/well.xml")
    assert count(ctx, "SELECT count(*) FROM articles") == 3
    told = CliRunner().invoke(app, ["feeds", "--json"], catch_exceptions=False)
    states = {state["url"].removeprefix(site.url): state for state in json.loads(told.output)}
    assert {path: state["condition"] for path, state in states.items()} == {
        "/page.xml": "failing", "/bad.xml": "doubtful", "/english.xml": "doubtful", "/well.xml": "ok",
    }  # fmt: skip
    page = rendering.feeds(overview.feeds(ctx))
    for path, item, sentence in [
        ("/bad.xml", "주소가 없는 기사", "it has no address of its own"),
        ("/english.xml", "https://www.garam.example/en", "its language is en, which news.languages does not name"),
    ]:
        assert states[path]["item_errors"] == [{"item": item, "error": sentence}]
        assert f"{item}: {sentence}" in page
    assert "HTML page, not a feed" in states["/page.xml"]["error"]
    assert "HTML page, not a feed" in page


def test_last_modified_is_sent_back_and_failures_back_off(ctx: Context, site: Site, tmp_path: Path) -> None:
    site.feed("/feed", **{"Last-Modified": "Tue, 03 Feb 2026 01:00:00 GMT"})
    crawl(ctx, site, tmp_path, "/feed")
    waits = []
    site.answers["/feed"] = (500, {}, b"")
    for _ in range(11):
        waits.append(in_s(crawl(ctx, site, tmp_path, "/feed")["/feed"]))
    (state,) = news.feeds(ctx)
    assert site.asked[-1][1]["If-Modified-Since"] == "Tue, 03 Feb 2026 01:00:00 GMT"
    assert [round(wait / 1800) for wait in waits[:4]] == [1, 2, 4, 8]
    assert (state.failures, state.quarantined_until is not None, waits[-1] > 86000) == (11, True, True)
    assert count(ctx, "SELECT count(*) FROM polls") == 12


def test_a_poll_that_was_overtaken_is_made_anew(
    ctx: Context, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks end with the database's sessions: what then keeps two crawls apart is that nobody writes on old knowledge."""
    from pipeline.news.polling import Poller
    from pipeline.store.feeds import Feed

    site.feed("/feed")
    real, times = Poller.poll, []

    async def overtaken(self: Poller, feed: Feed) -> object:
        made = await real(self, feed)
        if not times:
            with ctx.store.begin() as conn:
                conn.execute(sa.text("UPDATE feeds SET last_polled_at = clock_timestamp()"))
        times.append(feed.last_polled_at)
        return made

    monkeypatch.setattr(Poller, "poll", overtaken)
    state = crawl(ctx, site, tmp_path, "/feed")["/feed"]
    assert (len(times), times[0], state.status, state.articles) == (2, None, "ok", 1)
    assert count(ctx, "SELECT count(*) FROM polls") == 1
