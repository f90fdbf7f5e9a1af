"""A language model server with given answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def server(answers: list[tuple[Any, ...]]) -> Iterator[tuple[str, list[dict[str, Any]], list[str | None]]]:
    """A server that gives these (status, content of the message or whole body[, headers]) in turn, the last for ever.

    A body of bytes is sent as it is; a header ``X-Slow`` sends it a byte in each so many seconds.
    """
    bodies: list[dict[str, Any]] = []
    keys: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            keys.append(self.headers.get("Authorization"))
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, content, headers = (*answers[min(len(bodies), len(answers)) - 1], {})[:3]
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", content)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            message = {"choices": [{"message": {"content": content}}]}
            sent = content if isinstance(content, bytes) else json.dumps(message).encode()
            pause = float(headers.get("X-Slow", 0))
            try:
                for part in (sent[i : i + 1] for i in range(len(sent))) if pause else [sent]:
                    self.wfile.write(part)
                    self.wfile.flush()
                    time.sleep(pause)
            except ConnectionError:
                pass

        def log_message(self, *args: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_port}/v1", bodies, keys
    finally:
        running.shutdown()
        running.server_close()
