"""Full text from pages on loopback: what a page gives, and that nothing that goes wrong with one costs the article."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline import news
from pipeline.config import load
from pipeline.context import Context

SENTENCES = "정부가 오늘 새로운 경제 대책을 발표했다. 물가와 환율을 함께 잡겠다는 뜻이라고 장관은 말했다. "
ARTICLE = "".join(f"<p>{i}번째 문단이다. {SENTENCES}</p>" for i in range(8))
PAGE = (
    "<html><head><title>제목</title></head><body><nav>홈 뉴스</nav>"
    f"<article><h1>제목</h1>{ARTICLE}<p>무단전재 및 재배포 금지</p></article></body></html>"
)
FEED_TEXT = "요약 한 줄이다."
HTML = "text/html; charset=utf-8"
PAGES: dict[str, tuple[int, dict[str, str], bytes]] = {
    "/good": (200, {"Content-Type": HTML}, PAGE.encode()),
    "/cp949": (200, {"Content-Type": "text/html; charset=utf-8"}, PAGE.encode("cp949")),
    "/gone": (404, {"Content-Type": HTML}, PAGE.encode()),
    "/broken": (500, {"Content-Type": HTML}, PAGE.encode()),
    "/empty": (200, {"Content-Type": HTML}, b""),
    "/pdf": (200, {"Content-Type": "application/pdf"}, b"%PDF-1.7" + PAGE.encode()),
    "/image": (200, {"Content-Type": HTML}, b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 50),
    "/short": (200, {"Content-Type": HTML}, b"<html><body><p>x</p></body></html>"),
    "/large": (200, {"Content-Type": HTML}, PAGE.encode() + b" " * 3_100_000),
    "/slow": (200, {"Content-Type": HTML}, PAGE.encode()),
    "/private/1": (200, {"Content-Type": HTML}, PAGE.encode()),
    "/into-the-network": (302, {"Location": "http://192.168.0.1/admin"}, b""),
    "/into-the-cloud": (302, {"Location": "http://169.254.169.254/latest/meta-data"}, b""),
    "/to-private": (302, {"Location": "/private/1"}, b""),
    "/circle": (302, {"Location": "/circle"}, b""),
    "/file": (302, {"Location": "file:///etc/passwd"}, b""),
    "/long-enough": (200, {"Content-Type": HTML}, PAGE.encode()),
    "/robots.txt": (200, {"Content-Type": "text/plain"}, b"User-agent: *\nDisallow: /private/\n"),
}
FULL = {"/good", "/cp949"}


class Site(http.server.ThreadingHTTPServer):
    """Pages and one feed of all of them; ``asked`` are the paths that were."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def feed(self) -> bytes:
        links = [f"{self.url}{path}" for path in PAGES if path != "/robots.txt"] + ["http://192.168.0.1/admin"]
        items = "".join(
            f"<item><title>{i}번째 기사</title><link>{link}</link>"
            f"<description>{FEED_TEXT * (50 if link.endswith('long-enough') else 1)}</description></item>"
            for i, link in enumerate(links)
        )
        return f"<rss version='2.0'><channel><title>가람</title>{items}</channel></rss>".encode()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        status, headers, body = PAGES.get(self.path, (200, {"Content-Type": "text/xml"}, self.server.feed()))
        if self.path == "/slow":
            time.sleep(5)
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            pass

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def context(**values: str) -> Context:
    made = Context(load(None, {"GARAM_NEWS__ALLOW_LOOPBACK": "true", "GARAM_NEWS__FEEDS_FILE": "", **values}))
    made.store.migrate()
    return made


def crawl(ctx: Context, site: Site, folder: Path) -> dict[str, str]:
    (folder / "feeds.csv").write_text(f"url,outlet,category\n{site.url}/rss.xml,가람,경제\n", encoding="utf-8")
    report = news.crawl(ctx, feeds_file=folder / "feeds.csv")
    assert (report.feeds, report.errors) == (1, 0)
    with ctx.store.begin() as conn:
        query = "SELECT a.url, v.text FROM articles a JOIN article_versions v ON v.article_id = a.id"
        rows = [(url.removeprefix(site.url), text) for url, text in conn.execute(sa.text(query))]
    assert len(rows) == len(dict(rows))  # one version of each
    return dict(rows)


def test_full_text_from_pages(database: str, monkeypatch: pytest.MonkeyPatch, site: Site, tmp_path: Path) -> None:
    monkeypatch.setenv("GARAM_DATABASE_URL", database)
    ctx = context(GARAM_NEWS__FULL_TEXT="true", GARAM_NEWS__TOTAL_TIMEOUT_S="2")
    texts = crawl(ctx, site, tmp_path)
    assert len(texts) == len(PAGES)  # every page's article (robots.txt has none) and the one in the local network
    for path, text in texts.items():
        if path in FULL:
            assert "7번째 문단이다" in text, path
            assert "무단전재" not in text, path
        else:
            assert set(text.split(".")) <= set((FEED_TEXT * 2).split(".")), (path, text)
    asked = list(site.asked)
    assert "/private/1" not in asked  # neither as a link nor behind a redirect
    assert "/long-enough" not in asked
    assert asked.count("/good") == 1
    assert crawl(ctx, site, tmp_path) == texts
    assert site.asked[len(asked) :] in (["/robots.txt", "/rss.xml"], ["/rss.xml"])  # known articles need no page
    ctx.store.close()


def test_full_text_is_off_by_default(
    database: str, monkeypatch: pytest.MonkeyPatch, site: Site, tmp_path: Path
) -> None:
    monkeypatch.setenv("GARAM_DATABASE_URL", database)
    ctx = context()
    assert set(crawl(ctx, site, tmp_path).values()) == {FEED_TEXT, (FEED_TEXT * 50)}
    assert set(site.asked) == {"/robots.txt", "/rss.xml"}
    ctx.store.close()
