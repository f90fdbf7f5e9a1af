# ruff: noqa: E501 - rows are read best on one line
"""What the crawler refuses to be led to, and how much it takes: real sockets on loopback."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.config.news import NewsConfig
from pipeline.errors import BadInputError, GaramError, UnavailableError
from pipeline.news import robots, schedule
from pipeline.news.fetch import Fetcher, ForbiddenAddressError, Response

OPEN = NewsConfig(allow_loopback=True, max_bytes=100_000, total_timeout_s=3, connect_timeout_s=2)
CLOSED = NewsConfig(max_bytes=100_000)
PAGES: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}


def page(path: str, body: bytes = b"", status: int = 200, *, length: bool = True, **headers: str) -> None:
    """A page of the test's server."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for key, value in headers.items():
            handler.send_header(key.replace("_", "-"), value)
        if length:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    PAGES[path] = send


def slow(handler: BaseHTTPRequestHandler) -> None:
    """A server that never ends."""
    handler.close_connection = True
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            threading.Event().wait(0.1)
    except OSError:
        return


def slow_head(handler: BaseHTTPRequestHandler) -> None:
    """A server that sends a header now and then, without end: each read is answered in time, the whole never is."""
    handler.close_connection = True
    handler.send_response(200)
    try:
        for number in range(100):
            handler.send_header(f"X-{number}", "x")
            handler.flush_headers()
            threading.Event().wait(0.1)
    except OSError:
        return


page("/ok", b"fine")
page("/gzip", gzip.compress(b"packed"), Content_Encoding="gzip")
page("/deflate", zlib.compress(b"packed"), Content_Encoding="deflate")
page("/raw-deflate", zlib.compress(b"packed")[2:-4], Content_Encoding="deflate")
page("/bomb", gzip.compress(b"\0" * 50_000_000), Content_Encoding="gzip")
page("/large", b"x" * 200_000)
page("/brotli", b"x", Content_Encoding="br")
page("/damaged", b"not packed at all", Content_Encoding="gzip")
page("/cut", gzip.compress(b"packed" * 1000)[:-12], Content_Encoding="gzip")
page("/circle", status=302, Location="/circle2")
page("/circle2", status=302, Location="/circle")
page("/moved", status=301, Location="/ok")
page("/to-metadata", status=302, Location="http://169.254.169.254/latest/meta-data/")
page("/to-file", status=302, Location="file:///etc/passwd")
page("/to-nothing", status=302, Location="http://[::1/")
for hop in range(10):
    page(f"/hop{hop}", status=302, Location=f"/hop{hop + 1}")
PAGES["/slow"], PAGES["/slow-head"] = slow, slow_head
page("/bombs", gzip.compress(gzip.compress(b"\0" * 50_000_000)), Content_Encoding="gzip, gzip")
for name, host in {
    "octal": "0300.0250.0.1", "decimal": "3232235521", "hex": "0xc0a80001", "short": "10.1", "mapped": "[::ffff:10.0.0.1]",
    "unique-local": "[fd00::1]", "link-local": "[fe80::1]", "user": "a.kr@10.0.0.1", "zero": "0",
}.items():  # fmt: skip
    page(f"/to-{name}", status=301, Location=f"http://{host}:8080/")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            PAGES.get(self.path, lambda h: h.send_error(404))(self)

        def log_message(self, format: str, *args: object) -> None:
            return

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()


def get(url: str, config: NewsConfig = OPEN) -> Response:
    async def ask() -> Response:
        async with Fetcher(config) as fetcher:
            return await fetcher.get(url)

    return asyncio.run(ask())


@pytest.mark.parametrize(("path", "body"), [("/ok", b"fine"), ("/gzip", b"packed"), ("/deflate", b"packed"), ("/raw-deflate", b"packed"), ("/moved", b"fine")])  # fmt: skip
def test_answers_are_got(server: str, path: str, body: bytes) -> None:
    answer = get(server + path)
    assert (answer.status, answer.body) == (200, body)
    assert answer.moved_to == (f"{server}/ok" if path == "/moved" else "")


@pytest.mark.parametrize(
    ("path", "error", "sentence"),
    [
        ("/bomb", BadInputError, "larger than"), ("/large", BadInputError, "larger than"), ("/brotli", BadInputError, "br"),
        ("/damaged", BadInputError, "damaged"), ("/cut", UnavailableError, "cut off"), ("/circle", BadInputError, "circle"),
        ("/hop0", BadInputError, "more than 5"), ("/slow", UnavailableError, "within 3 s"),
        ("/slow-head", UnavailableError, "within 3 s"), ("/bombs", BadInputError, "was not asked for"),
        ("/to-metadata", ForbiddenAddressError, "169.254.169.254"), ("/to-file", ForbiddenAddressError, "only http"),
        ("/to-nothing", UnavailableError, "location"),
    ],
)  # fmt: skip
def test_answers_are_refused(server: str, path: str, error: type[GaramError], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        get(server + path)


@pytest.mark.parametrize(
    "to", ["octal", "decimal", "hex", "short", "mapped", "unique-local", "link-local", "user", "zero"]
)
def test_no_redirect_leads_into_the_local_network_however_it_is_written(server: str, to: str) -> None:
    # Octal parts are refused by httpx already; the rest are understood as addresses, and checked.
    with pytest.raises(GaramError, match=r"in a network that is not fetched from|Invalid URL in location"):
        get(f"{server}/to-{to}", OPEN)


def test_waiting_for_a_hosts_turn_is_not_held_against_its_server(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight polls of a host that wants a pause between requests take longer together than one answer may."""

    async def here(self: asyncio.AbstractEventLoop, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", here)
    monkeypatch.setattr(ipaddress.IPv4Address, "is_loopback", property(lambda self: False))
    monkeypatch.setattr(ipaddress.IPv4Address, "is_global", property(lambda self: True))
    began = time.monotonic()

    async def all_at_once() -> list[Response]:
        async with Fetcher(NewsConfig(host_delay_s=0.3, total_timeout_s=1)) as fetcher:
            return await asyncio.gather(*(fetcher.get(f"http://a.example{server[16:]}/ok") for _ in range(8)))

    assert [answer.body for answer in asyncio.run(all_at_once())] == [b"fine"] * 8
    assert time.monotonic() - began > 7 * 0.3


def test_a_crawl_delay_holds_for_a_host_however_its_name_is_written(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def here(self: asyncio.AbstractEventLoop, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        assert host == "xn--3e0b707e.example"
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", here)
    monkeypatch.setattr(ipaddress.IPv4Address, "is_loopback", property(lambda self: False))
    monkeypatch.setattr(ipaddress.IPv4Address, "is_global", property(lambda self: True))
    began = time.monotonic()

    async def three() -> None:
        async with Fetcher(NewsConfig(host_delay_s=0.1)) as fetcher:
            fetcher.slow_down("http://한국.example", 0.5)
            for name in ("한국.example", "XN--3E0B707E.example", "한국.example"):
                await fetcher.get(f"http://{name}{server[16:]}/ok")

    asyncio.run(three())
    assert time.monotonic() - began > 2 * 0.5


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "0", "[::ffff:127.0.0.1]"],
)
def test_loopback_in_any_writing_is_refused_by_default(server: str, host: str) -> None:
    with pytest.raises((ForbiddenAddressError, UnavailableError)):
        get(f"http://{host}:{server.rpartition(':')[2]}/ok", CLOSED)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1",
        "192.0.2.1", "198.18.0.1", "240.0.0.1", "::", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1", "::ffff:10.0.0.1",
        "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::", "fec0::1", "::127.0.0.1",
        "::ffff:0:10.0.0.1", "192.0.0.8", "192.88.99.1", "64:ff9b:1::a00:1", "3fff::1", "5f00::1",
    ],
)  # fmt: skip
def test_local_networks_are_never_fetched_from(address: str) -> None:
    assert not Fetcher(OPEN).permitted(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8"])
def test_the_open_internet_is(address: str) -> None:
    assert Fetcher(CLOSED).permitted(ipaddress.ip_address(address))


def test_a_name_is_connected_to_by_the_address_that_was_checked(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the second answer would lead inside; nobody asks a second time."""
    asked: list[str] = []

    async def rebinding(self: asyncio.AbstractEventLoop, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(2, 1, 6, "", ("127.0.0.1" if len(asked) == 1 else "10.0.0.1", port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", rebinding)
    assert get(f"http://rebind.example:{server.rpartition(':')[2]}/ok").body == b"fine"
    assert asked == ["rebind.example"]
    asked.append("again")
    with pytest.raises(ForbiddenAddressError):
        get(f"http://rebind.example:{server.rpartition(':')[2]}/ok")


ROBOTS = """
User-agent: other
Disallow: /

User-agent: *
Disallow: /private
Allow: /private/open
Disallow: /*.pdf$
Disallow: /a*b*c
Crawl-delay: 3

User-agent: Garam
User-agent: friend
Disallow: /only
"""


@pytest.mark.parametrize(
    ("agent", "path", "allowed"),
    [
        ("Anyone/1.0", "/", True), ("Anyone/1.0", "/private/x", False), ("Anyone/1.0", "/private/open/x", True),
        ("Anyone/1.0", "/x.pdf", False), ("Anyone/1.0", "/x.pdf?y", True), ("Anyone/1.0", "/a1b2c3", False),
        ("Anyone/1.0", "/a1c", True), ("Garam/1.0 (+x)", "/private", True), ("Garam/1.0", "/only/1", False),
        ("other", "/x", False), ("other", "/robots.txt", True),
    ],
)  # fmt: skip
def test_robots(agent: str, path: str, allowed: bool) -> None:
    assert robots.read(ROBOTS, agent).allows(f"https://a.kr{path}") is allowed


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("User-agent: a\nSitemap: https://a.kr/s.xml\nUser-agent: garam\nDisallow: /x", "/x", False),
        ("User-agent: garam\nSitemap: https://a.kr/s.xml\nDisallow: /x", "/x", False),
        ("User-agent: garam\nHost: a.kr\nUnknown: y\nUser-agent: b\nDisallow: /x", "/x", False),
        ("User-agent: garam\nCrawl-delay: 5\nUser-agent: b\nDisallow: /x", "/x", False),
        ("User-agent: garam\n\n\nDisallow: /x", "/x", False),
        ("User-agent: gar\nDisallow: /", "/x", True),
        ("User-agent: garam-news\nDisallow: /", "/x", True),
        ("User-agent: garambot\nDisallow: /", "/x", True),
        ("User-agent: news\nDisallow: /", "/x", True),
        ("User-agent: GARAM\nDisallow: /", "/x", False),
        ("User-agent: Garam/2.0\nDisallow: /", "/x", False),
        ("user-agent:garam#us\ndisallow:/x#no", "/x", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: garam\nAllow: /", "/x", True),
        ("User-agent: *\nDisallow: /\n\nUser-agent: garam\n", "/x", True),
        ("User-agent: *\nDisallow: /\n\nUser-agent: garam\nDisallow:", "/x", True),
        (
            "User-agent: garam\nDisallow: /a\n\nUser-agent: *\nDisallow: /b\n\nUser-agent: garam\nDisallow: /c",
            "/c",
            False,
        ),
        (
            "User-agent: garam\nDisallow: /a\n\nUser-agent: *\nDisallow: /b\n\nUser-agent: garam\nDisallow: /c",
            "/b",
            True,
        ),
        ("User-agent: b\nDisallow:\nUser-agent: garam\nDisallow: /x", "/x", False),
        ("User-agent: garam\nDisallow: /x\nUser-agent: b\nDisallow: /y", "/y", True),
        ("Disallow: /x\nUser-agent: garam\nAllow: /", "/x", True),
        ("User-agent: *\rDisallow: /x\rAllow: /x/y", "/x", False),
        ("User-agent: *\r\nDisallow: /x\r\n", "/x", False),
        ("User-agent: *\nDisallow: /a\u2028Disallow: /x", "/x", True),
        ("User-agent: *\nDisallow: /x\nAllow: /x", "/x", True),
        ("User-agent: *\nAllow: /x/\nDisallow: /x/*.html", "/x/1.html", False),
        ("User-agent: *\nDisallow: /x$", "/x", False),
        ("User-agent: *\nDisallow: /x$", "/xy", True),
        ("User-agent: *\nDisallow: /*x*y$", "/axby", False),
        ("User-agent: *\nDisallow: /*x*y$", "/axbyc", True),
        ("User-agent: *\nDisallow: /%ea%b0%80", "/가", False),
        ("User-agent: *\nDisallow: /가", "/%EA%B0%80", False),
        ("User-agent: *\nDisallow: /a%2Fb", "/a/b", True),
        ("User-agent: *\nDisallow: /X", "/x", True),
        ("User-agent: *\nDisallow: /?s=", "/?s=1", False),
        ("User agent: *\nDissallow /x", "/x", False),
        ("<html><body>User-agent: *</body></html>", "/x", True),
        ("", "/x", True),
    ],
)
def test_groups_and_patterns_are_those_of_rfc_9309(text: str, path: str, allowed: bool) -> None:
    assert robots.read(text, "Garam/1.0 (+news search; reads feeds)").allows(f"https://a.kr{path}") is allowed


def test_robots_bytes() -> None:
    rule = "User-agent: *\nDisallow: /x\n"
    for body in (rule.encode(), b"\xef\xbb\xbf" + rule.encode(), rule.encode("utf-16")):
        assert not robots.read(robots.decode(body), "Garam").allows("https://a.kr/x")
    long = ("User-agent: *\n" + "#" * (robots.LONGEST - 14 - 1 - 11) + "\nDisallow: /private\n").encode()
    assert long[: robots.LONGEST].endswith(b"Disallow: /"), "cut here, the line would forbid everything"
    assert robots.read(robots.decode(long), "Garam").allows("https://a.kr/x")


def test_cookies_and_connections_are_not_shared_between_sites(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two names at one address (a CDN): what the first site sets, the second must not get, nor its connection."""
    seen: list[tuple[str, str | None, int]] = []

    def note(handler: BaseHTTPRequestHandler) -> None:
        seen.append((handler.headers["Host"], handler.headers.get("Cookie"), handler.client_address[1]))
        handler.send_response(200)
        handler.send_header("Set-Cookie", "who=first; Path=/")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    PAGES["/note"] = note

    async def here(self: asyncio.AbstractEventLoop, host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", here)
    port = server.rpartition(":")[2]

    async def both() -> None:
        async with Fetcher(OPEN) as fetcher:
            await fetcher.get(f"http://first.example:{port}/note")
            await fetcher.get(f"http://second.example:{port}/note")

    asyncio.run(both())
    assert [(host, cookie) for host, cookie, _ in seen] == [
        (f"first.example:{port}", None),
        (f"second.example:{port}", None),
    ]
    assert seen[0][2] != seen[1][2]


def test_robots_delays_and_patterns_made_to_take_long() -> None:
    assert robots.read(ROBOTS, "x").delay_s == 3
    assert not robots.Robots(unavailable="HTTP status 500").allows("https://a.kr/")
    for delay in ("nan", "-1", "1e309", "soon"):
        assert robots.read(f"User-agent: *\nCrawl-delay: {delay}", "x").delay_s == 0
    assert robots.read("User-agent: *\nCrawl-delay: 99999", "x").delay_s == robots.LONGEST_DELAY_S
    assert robots.read(f"User-agent: *\nDisallow: /{'*a' * 500}b$", "x").allows("https://a.kr/" + "a" * 5000)


def test_intervals_adapt_and_dead_feeds_are_quarantined() -> None:
    import datetime as dt

    config, now = NewsConfig(), dt.datetime(2026, 2, 3, tzinfo=dt.UTC)
    assert schedule.after_success(config, now, 1800, items=50, new=40).interval_s == 900
    assert schedule.after_success(config, now, 1800, items=50, new=0).interval_s > 1800
    assert schedule.after_success(config, now, 1800, items=50, new=50, ttl_s=7200).at >= now + dt.timedelta(
        seconds=6800
    )
    failures, waits = 0, []
    for _ in range(config.quarantine_after):
        state = schedule.after_failure(config, now, 1800, failures)
        failures = state.failures
        waits.append(state.at - now)
    assert waits == sorted(waits)
    assert state.quarantined_until == now + dt.timedelta(seconds=config.quarantine_s)
    asked = schedule.retry_after("7200", now)
    assert schedule.after_failure(config, now, 1800, 0, not_before=asked).at == now + dt.timedelta(hours=2)
    assert schedule.retry_after("Tue, 03 Feb 2026 01:00:00 GMT", now) == now + dt.timedelta(hours=1)
    assert schedule.retry_after("soon", now) is None
