"""Crawling 100 and 1,000 feeds, time and peak memory: `python benchmarks/news_crawl.py [--feeds 100 1000]`.

A server on loopback, in a process of its own, offers the feeds on many ports (`--ports`), each with `--items`
articles of about 800 characters. The product's own crawl (`news.crawl`, default configuration but for
loopback, where no pause between requests applies) takes them into a fresh database of a PostgreSQL started for it.
`cpu_s` is processor time of the crawling process and its readers, from their start: on a machine that does other work
too, what counts. Peak memory is VmHWM of the crawling process, and of the largest of the processes that read for it. If
memory did not stay bounded, ten times as many feeds would show it. A second crawl of the same feeds, all 304, is
measured too.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipeline.store import Store
from tests.services import SessionStack, create_database

WORDS = [a + b for a in "가나다라마바사아자차카타파하" for b in "국정책장원회사업무역학교통신문화재산림야구"]
CRAWL = """
import json, resource, sys, threading, time
from pathlib import Path
from pipeline import news
from pipeline.config import load
from pipeline.context import Context
import psutil
readers, done = 0, threading.Event()
def peak(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024
    except (OSError, StopIteration):
        return 0
def watch():
    global readers
    while not done.wait(0.5):
        readers = max([readers, *(peak(child.pid) for child in psutil.Process().children())])
threading.Thread(target=watch, daemon=True).start()
began = time.monotonic()
report = news.crawl(Context(load(None, {"GARAM_NEWS__ALLOW_LOOPBACK": "true"})), feeds_file=sys.argv[1])
seconds = time.monotonic() - began
cpu = sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
done.set()
print(json.dumps({"feeds": report.feeds, "new": report.new, "errors": report.errors, "seconds": round(seconds, 1),
                  "cpu_s": round(cpu, 1), "crawler_mb": peak("self"), "reader_mb": readers}))
"""


def feed(number: int, items: int) -> bytes:
    """A feed whose articles are its own; the same at each call."""
    words = random.Random(number)
    rows = [
        f"<item><title>{' '.join(words.choices(WORDS, k=8))}</title><link>https://news{number}.garam.example/{i}</link>"
        f"<pubDate>Tue, 03 Feb 2026 {i % 24:02}:00:00 +0900</pubDate>"
        f"<description>{' '.join(words.choices(WORDS, k=270))}</description></item>"
        for i in range(items)
    ]
    return f"<rss version='2.0'><channel>{''.join(rows)}</channel></rss>".encode()


def serve(ports: int, items: int, told: Any) -> None:
    """Offer `/N.xml` on so many ports."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/").removesuffix(".xml")
            body = feed(int(name), items) if name.isdigit() else b""
            same = self.headers.get("If-None-Match") == f'"{name}"'
            self.send_response(304 if same else 200 if name.isdigit() else 404)
            self.send_header("ETag", f'"{name}"')
            self.send_header("Content-Length", str(0 if same else len(body)))
            self.end_headers()
            self.wfile.write(b"" if same else body)

        def log_message(self, format: str, *args: object) -> None:
            return

    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(ports)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    told.send([server.server_address[1] for server in servers])
    told.recv()


def main() -> None:
    """Print one line of JSON for each crawl, then what ten times the feeds cost in memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feeds", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--items", type=int, default=30)
    parser.add_argument("--ports", type=int, default=50)
    given = parser.parse_args()
    here, there = multiprocessing.Pipe()
    multiprocessing.Process(target=serve, args=(given.ports, given.items, there), daemon=True).start()
    ports = here.recv()
    services, peaks = SessionStack(), []
    try:
        services.start("postgres")
        with tempfile.TemporaryDirectory() as folder:
            for feeds in given.feeds:
                lines = [f"http://127.0.0.1:{ports[n % len(ports)]}/{n}.xml,outlet{n}," for n in range(feeds)]
                path = Path(folder) / "feeds.csv"
                path.write_text("\n".join(["url,outlet,category", *lines]) + "\n")
                url = create_database(services.postgres_url())
                store = Store(url)
                store.migrate()
                store.close()
                for which in ("first", "again"):
                    time.sleep(1)
                    done = subprocess.run(
                        [sys.executable, "-c", CRAWL, str(path)], env={**os.environ, "GARAM_DATABASE_URL": url},
                        stdout=subprocess.PIPE, text=True, check=True,
                    )  # fmt: skip
                    found = json.loads(done.stdout.splitlines()[-1])
                    rate = {"articles_per_s": round(found["new"] / found["seconds"], 1)} if found["new"] else {}
                    print(json.dumps({"crawl": which, **found, **rate}), flush=True)
                    if which == "first":
                        peaks.append(found["crawler_mb"])
    finally:
        services.stop()
    print(f"peak memory of the crawler, {given.feeds[-1]} feeds to {given.feeds[0]}: {peaks[-1] / peaks[0]:.2f}")


if __name__ == "__main__":
    main()
