"""A web server on loopback whose files break off, stall, change and refuse as a test wants."""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class File:
    """One file and how it is served; the lists are used up, an item a request."""

    content: bytes
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    length: int | None = None  # declared in place of the true one
    chunked: bool = False  # no length is declared
    statuses: list[int] = field(default_factory=list)
    retry_after: str | None = None
    break_after: list[int] = field(default_factory=list)
    stall_s: float = 0.0  # before the answer
    pause_s: float = 0.0  # after each 64 kB
    part_shift: int = 0  # a wrong start in the answer to a range


@dataclass
class Server:
    """`asked` holds (path, Range header) of each request."""

    url: str
    files: dict[str, File] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@contextmanager
def serve() -> Iterator[Server]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            server.asked.append((self.path, wanted))
            file = server.files.get(self.path)
            time.sleep(file.stall_s if file else 0)
            if file is None or file.statuses:
                self.send_response(file.statuses.pop(0) if file else 404)
                if file and file.retry_after:
                    self.send_header("Retry-After", file.retry_after)
                self.end_headers()
                return
            start = 0
            if wanted and file.ranges:
                condition = self.headers.get("If-Range")
                if condition in (None, file.etag, file.modified):
                    start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start and start >= len(file.content):
                self.send_response(416)
                self.end_headers()
                return
            body = file.content[start:]
            self.send_response(206 if start else 200)
            if start:
                first, last = start + file.part_shift, len(file.content) - 1
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(file.content)}")
            if not file.chunked:
                self.send_header("Content-Length", str(file.length or len(body)))
            if file.etag:
                self.send_header("ETag", file.etag)
            if file.modified:
                self.send_header("Last-Modified", file.modified)
            self.end_headers()
            body = body[: file.break_after.pop(0)] if file.break_after else body
            try:
                for at in range(0, len(body), 1 << 16):
                    self.wfile.write(body[at : at + (1 << 16)])
                    time.sleep(file.pause_s)
            except OSError:
                pass  # the client was killed

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        server = Server(f"http://127.0.0.1:{httpd.server_address[1]}")
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
        thread.start()
        yield server
        httpd.shutdown()
        thread.join()
