"""Archives by URL and from the package index, without a network."""

from __future__ import annotations

import http.server
import io
import logging
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from stembench.data.fetch import fetch
from stembench.data.progress import Progress
from stembench.errors import StembenchError
from tests.data.conftest import MEMBERS, clean, pack_tar, pack_zip, sha256, source


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on loopback that serves tmp_path/www."""
    (tmp_path / "www").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/short.tar.gz":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"x" * 100)
            else:
                super().do_GET()

    handler = partial(Quiet, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


def test_download_by_url(server: str, root: Path, tmp_path: Path) -> None:
    path = tmp_path / "www" / "x.tar.gz"
    pack_tar(path, MEMBERS)
    entry = source(path, mirrors=[{"url": f"{server}/none.tar.gz"}, {"url": f"{server}/x.tar.gz"}])
    fetch("mini", entry, root, [])
    assert [p.name for p in root.parent.iterdir()] == ["mini"]


def test_a_corrupted_download_does_not_survive(server: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "www" / "x.tar.gz").write_bytes(b"garbage")
    urls = [{"url": f"{server}/{name}"} for name in ("x.tar.gz", "none.tar.gz", "short.tar.gz")]
    with pytest.raises(StembenchError) as caught:
        fetch("mini", source(Path("x.tar.gz"), mirrors=urls), root, [])
    message = str(caught.value)
    assert f"wrong sha256, expected {'0' * 64}, seen {sha256(b'garbage')}" in message
    assert "404" in message
    assert "broke off after 100 of 1,000 bytes" in message
    assert clean(root)


def test_download_from_the_package_index(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "index" / "stembench_mini-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    info = "stembench_mini-1.0.dist-info"
    contents = {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: stembench-mini\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    pack_zip(wheel, {**MEMBERS, **contents})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    entry = source(wheel, mirrors=[{"package": "stembench-mini==1.0"}])
    fetch("mini", entry, root, [])
    assert (root / "a.csv").read_bytes() == MEMBERS["pack/a.csv"]

    absent = source(wheel, mirrors=[{"package": "stembench-mini==2.0"}])
    with pytest.raises(StembenchError, match="pip download failed: ERROR"):
        fetch("mini", absent, root.with_name("other"), [])


def test_progress_lines() -> None:
    progress = Progress("x.tar.gz", 4_000_000)
    progress.advance(1_000_000)
    assert progress.line(2.0) == "x.tar.gz: 1 of 4 MB, 0.5 MB/s, 6 s left"
    unknown = Progress("x", 0)
    unknown.advance(3_000_000)
    assert unknown.line(1.0) == "x: 3 MB, 3.0 MB/s"
    rows = Progress("x: reading", 4_000_000, "rows")
    rows.advance(1_000_000)
    assert rows.line(2.0) == "x: reading: 1,000,000 of 4,000,000 rows, 500,000 rows/s, 6 s left"
    rows.total = 0
    assert rows.line(2.0) == "x: reading: 1,000,000 rows, 500,000 rows/s"


def test_progress_on_a_terminal_and_in_a_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("stembench.data.progress._SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO), Progress("x", 10) as progress:
        progress.advance(5)
    assert "x: 0 of 0 MB" in caplog.text
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress("bar", 10) as progress:
        progress.advance(10)
    assert "bar" in terminal.getvalue()
    with Progress("split", 10, "rows") as progress:
        progress.advance(10)
    assert "10 rows, " in terminal.getvalue()
