"""Copies of an archive: one download for two processes, the package index, offline mode."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from unittest import mock

import pytest

from stembench.data.fetch.fetch import fetch
from stembench.errors import StembenchError
from stembench.params.data import Source
from tests.data.conftest import MEMBERS, pack_zip, sha256, source
from tests.data.fetch.test_download import content, entry_of, interrupted, left, server
from tests.data.server import File, Server

__all__ = ["content", "server"]  # fixtures


def test_two_processes_download_once(server: Server, content: bytes, root: Path) -> None:
    server.files["/x.tar.gz"] = File(content, pause_s=0.05)
    entry = entry_of(content, f"{server.url}/x.tar.gz")
    roots = [root, root.with_name("other")]
    threads = [threading.Thread(target=fetch, args=("mini", entry, r, [])) for r in roots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((r / "a.csv").read_bytes() == MEMBERS["pack/a.csv"] for r in roots)
    assert sorted(p.name for p in root.parent.iterdir()) == ["mini", "other"]


def test_a_broken_download_goes_when_the_file_comes_another_way(
    server: Server, content: bytes, root: Path, tmp_path: Path
) -> None:
    entry = interrupted(server, content, root)
    assert left(root)
    (tmp_path / "x.tar.gz").write_bytes(content)
    fetch("mini", entry, root, [str(tmp_path)])
    assert not server.asked
    assert [p.name for p in root.parent.iterdir()] == ["mini"]


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_asks_no_server_and_runs_no_pip(
    server: Server, content: bytes, root: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "environment":
        monkeypatch.setenv("STEMBENCH_OFFLINE", "1")
    monkeypatch.setattr(subprocess, "run", mock.Mock(side_effect=AssertionError("pip was run")))
    mirrors = [{"package": "x==1.0"}, {"url": f"{server.url}/x.tar.gz"}]
    first, second = (
        {"file": name, "sha256": sha256(content), "mirrors": mirrors, "members": {member: None}}
        for name, member in (("x.tar.gz", "pack/a.csv"), ("y.tar.gz", "pack/deep/b.csv"))
    )
    entry = Source.model_validate({"kind": "kuairand", "archives": [first, second]})
    with pytest.raises(StembenchError) as caught:
        fetch("mini", entry, root, ["mirror"], offline=True if how == "argument" else None)
    assert not server.asked
    for part in ("offline mode", "put it at mirror/x.tar.gz or", "put it at mirror/y.tar.gz or"):
        assert part in str(caught.value)  # all that is needed is told at once


def test_offline_takes_what_is_in_a_mirror_folder(
    content: bytes, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMBENCH_OFFLINE", "1")
    (tmp_path / "x.tar.gz").write_bytes(content)
    fetch("mini", entry_of(content, "https://example.org/x.tar.gz"), root, [str(tmp_path)])
    assert (root / "b.csv").exists()


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
        fetch("mini", absent, tmp_path / "raw" / "other", [])
