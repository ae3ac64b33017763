"""Archives by URL and from the package index, without a network."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from stembench.data.fetch import archives, download
from stembench.data.fetch.fetch import fetch
from stembench.errors import StembenchError
from stembench.params.data import Source
from stembench.progress import Bar
from tests.data.conftest import MEMBERS, clean, sha256, source
from tests.data.scenes import good_tar
from tests.data.server import File, Server, serve


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "BACKOFF_S", 0.0)
    with serve() as server:
        yield server


@pytest.fixture
def content() -> bytes:
    return good_tar()


def entry_of(content: bytes, *urls: str, **changes: Any) -> Source:
    mirrors = [{"url": url} for url in urls]
    return source(Path("x.tar.gz"), sha256=sha256(content), mirrors=mirrors, **changes)


def left(root: Path) -> list[str]:
    return sorted(path.name for path in root.parent.rglob("*") if path.is_file())


def interrupted(server: Server, content: bytes, root: Path, **how: Any) -> Source:
    """A first run that breaks off after 100,000 bytes, as by a lost network; the entry."""
    entry = entry_of(content, f"{server.url}/x.tar.gz")
    server.files["/x.tar.gz"] = File(content, break_after=[100_000], **how)
    once = mock.patch.object(download, "ATTEMPTS", 1)
    with once, pytest.raises(StembenchError, match="broke off"):
        fetch("mini", entry, root, [])
    assert not root.exists()
    server.asked.clear()
    return entry


def test_download_by_url(server: Server, content: bytes, root: Path) -> None:
    server.files["/x.tar.gz"] = File(content)
    fetch("mini", entry_of(content, f"{server.url}/none", f"{server.url}/x.tar.gz"), root, [])
    assert [p.name for p in root.parent.iterdir()] == ["mini"]
    assert (root / "a.csv").read_bytes() == MEMBERS["pack/a.csv"]


def test_a_plain_file_by_url_is_the_raw_data(server: Server, root: Path) -> None:
    server.files["/x.csv"] = File(b"a\n1\n")
    mirrors = [{"url": f"{server.url}/x.csv"}]
    archive = {"file": "x.csv", "sha256": sha256(b"a\n1\n"), "mirrors": mirrors}
    fetch("mini", Source.model_validate({"kind": "kuairand", "archives": [archive]}), root, [])
    assert (root / "x.csv").read_bytes() == b"a\n1\n"
    assert [p.name for p in root.parent.iterdir()] == ["mini"]


def test_a_corrupted_download_does_not_survive(server: Server, content: bytes, root: Path) -> None:
    server.files["/x.tar.gz"] = File(b"garbage")
    with pytest.raises(StembenchError, match=f"seen {sha256(b'garbage')}"):
        fetch("mini", entry_of(content, f"{server.url}/x.tar.gz"), root, [])
    assert clean(root)


@pytest.mark.parametrize(
    "how", [{}, {"etag": None, "modified": "Tue, 24 Nov 2026 10:00:00 GMT"}], ids=["etag", "time"]
)
def test_a_later_run_continues(server: Server, content: bytes, root: Path, how: Any) -> None:
    entry = interrupted(server, content, root, **how)
    fetch("mini", entry, root, [])
    assert server.asked == [("/x.tar.gz", "bytes=100000-")]
    assert left(root) == [".fetched.json", "a.csv", "b.csv"]


def test_the_same_run_continues_after_passing_faults(
    server: Server, content: bytes, root: Path
) -> None:
    server.files["/x.tar.gz"] = File(content, break_after=[70_000, 60_000])
    fetch("mini", entry_of(content, f"{server.url}/x.tar.gz"), root, [])
    assert [range_ for _, range_ in server.asked] == [None, "bytes=70000-", "bytes=130000-"]


def test_any_number_of_breaks_that_bring_enough(
    server: Server, content: bytes, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "ADVANCE", 10_000)
    server.files["/x.tar.gz"] = File(content, break_after=[20_000] * 12)
    fetch("mini", entry_of(content, f"{server.url}/x.tar.gz"), root, [])
    assert len(server.asked) == 13


@pytest.mark.parametrize(
    "how",
    [{"ranges": False}, {"etag": None}, {"etag": 'W/"weak"'}],
    ids=["ignores ranges", "no validator", "weak validator"],
)
def test_what_cannot_be_continued_starts_anew(
    server: Server, content: bytes, root: Path, how: Any
) -> None:
    entry = interrupted(server, content, root, **how)
    fetch("mini", entry, root, [])
    asked = "bytes=100000-" if "ranges" in how else None
    assert server.asked == [("/x.tar.gz", asked)]
    assert (root / "a.csv").exists()


def test_a_file_that_changed_in_between_starts_anew(
    server: Server, content: bytes, root: Path
) -> None:
    entry = interrupted(server, os.urandom(200_000), root)
    server.files["/x.tar.gz"] = File(content, etag='"two"')
    changed = entry_of(content, f"{server.url}/x.tar.gz")
    # The same download folder, as when the entry had always named the new file.
    old, new = (
        root.parent / f".download-x.tar.gz-{value.archives[0].sha256[:12]}"
        for value in (entry, changed)
    )
    old.rename(new)
    fetch("mini", changed, root, [])
    assert server.asked == [("/x.tar.gz", "bytes=100000-")]  # refused by If-Range: all of it came
    assert left(root) == [".fetched.json", "a.csv", "b.csv"]


def test_a_shorter_file_and_a_wrong_part_start_anew(
    server: Server, content: bytes, root: Path
) -> None:
    entry = interrupted(server, content, root)
    server.files["/x.tar.gz"].part_shift = 7
    once = mock.patch.object(download, "ATTEMPTS", 1)
    with once, pytest.raises(StembenchError, match="another part than the one asked for"):
        fetch("mini", entry, root, [])
    fetch("mini", entry, root, [])  # nothing was kept, so no range is asked for
    assert server.asked[1] == ("/x.tar.gz", None)


def test_bad_bytes_from_before_are_not_trusted(server: Server, content: bytes, root: Path) -> None:
    entry = interrupted(server, content, root)
    (part,) = root.parent.rglob("*.part")
    part.write_bytes(bytes(100_000))  # as after a power cut
    fetch("mini", entry, root, [])
    assert [range_ for _, range_ in server.asked] == ["bytes=100000-", None]


def test_a_download_that_was_whole_is_not_fetched_again(
    server: Server, content: bytes, root: Path
) -> None:
    entry = interrupted(server, content, root)
    (part,) = root.parent.rglob("*.part")
    part.write_bytes(content)  # killed before the checksum
    fetch("mini", entry, root, [])
    assert not server.asked
    assert left(root) == [".fetched.json", "a.csv", "b.csv"]


def test_a_whole_archive_waits_for_a_run_with_room_to_unpack(
    server: Server, content: bytes, root: Path
) -> None:
    server.files["/x.tar.gz"] = File(content)
    entry = entry_of(content, f"{server.url}/x.tar.gz")
    full = mock.patch.object(archives, "_write", side_effect=OSError(28, "No space left"))
    with full, pytest.raises(StembenchError, match="free space"):
        fetch("mini", entry, root, [])
    assert left(root) == ["x.tar.gz"]
    fetch("mini", entry, root, [])
    assert len(server.asked) == 1
    assert left(root) == [".fetched.json", "a.csv", "b.csv"]


def test_passing_faults_are_waited_for(
    server: Server, content: bytes, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    monkeypatch.setattr(download, "BACKOFF_S", 1.0)
    server.files["/x.tar.gz"] = File(content, statuses=[500, 503, 429], retry_after="7")
    fetch("mini", entry_of(content, f"{server.url}/x.tar.gz"), root, [])
    assert [pause for pause in pauses if pause] == [7.0, 7.0, 7.0]
    pauses.clear()
    server.files["/x.tar.gz"] = File(content, statuses=[500, 500, 500])
    fetch("other", entry_of(content, f"{server.url}/x.tar.gz"), root.parents[1] / "o" / "mini", [])
    assert [pause for pause in pauses if pause] == [1.0, 2.0, 4.0]


def test_a_killed_process_leaves_what_the_next_one_continues(server: Server, root: Path) -> None:
    content = good_tar(8_000_000)
    server.files["/x.tar.gz"] = File(content, pause_s=0.02)
    entry = entry_of(content, f"{server.url}/x.tar.gz")
    code = (
        "import sys; from pathlib import Path; from stembench.data.fetch.fetch import fetch;"
        "from stembench.params.data import Source;"
        "fetch('mini', Source.model_validate_json(sys.argv[1]), Path(sys.argv[2]), [])"
    )
    command = [sys.executable, "-c", code, entry.model_dump_json(), str(root)]
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 60
        while not any(p.stat().st_size > 1 << 20 for p in root.parent.rglob("*.part")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert not root.exists()
    server.files["/x.tar.gz"].pause_s = 0.0
    server.asked.clear()
    fetch("mini", entry, root, [])
    ((_, asked),) = server.asked
    assert int(asked.removeprefix("bytes=").removesuffix("-")) > 1 << 20
    assert left(root) == [".fetched.json", "a.csv", "b.csv"]


def test_progress_lines() -> None:
    progress = Bar("x.tar.gz", 4_000_000)
    progress.advance(1_000_000)
    assert progress.line(2.0) == "x.tar.gz: 1 of 4 MB, 0.5 MB/s, 6 s left"
    continued = Bar("x.tar.gz", 4_000_000, start=2_000_000)
    continued.advance(1_000_000)
    assert continued.line(2.0) == "x.tar.gz: 3 of 4 MB, 0.5 MB/s, 2 s left"
    unknown = Bar("x", 0)
    unknown.advance(3_000_000)
    assert unknown.line(1.0) == "x: 3 MB, 3.0 MB/s"
    rows = Bar("x: reading", 4_000_000, unit="rows")
    rows.advance(1_000_000)
    assert rows.line(2.0) == "x: reading: 1,000,000 of 4,000,000 rows, 500,000 rows/s, 6 s left"
    rows.total = 0
    assert rows.line(2.0) == "x: reading: 1,000,000 rows, 500,000 rows/s"


def test_progress_on_a_terminal_and_in_a_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("stembench.progress._SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO), Bar("x", 10) as progress:
        progress.advance(5)
    assert "x: 0 of 0 MB" in caplog.text
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", terminal)
    with Bar("bar", 10) as progress:
        progress.advance(10)
    assert "bar" in terminal.getvalue()
    with Bar("split", 10, unit="rows") as progress:
        progress.advance(10)
    assert "10 rows, " in terminal.getvalue()
