"""A split directory exists whole or not at all: full disk, interrupt, kill."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stembench.data.prepare import make as prepare
from stembench.data.prepare.make import split_dataset
from stembench.data.prepare.writer import ArrayFile
from stembench.data.store import columns as store
from stembench.errors import StembenchError
from stembench.params.load import Dataset
from tests.data.conftest import atomic_entry, tree, untouched

Make = Callable[[dict[str, Any]], Dataset]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "splits" / "mini"


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize(("kind", "after"), [(store.Column, 0), (store.Block, 0), (ArrayFile, 7)])
def test_a_full_disk_leaves_what_was_there(
    kind: Any,
    after: int,
    existing: bool,
    atomic_root: Path,
    out: Path,
    make_dataset: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset = make_dataset(atomic_entry())
    if existing:
        split_dataset("mini", dataset, atomic_root, out)
    before = tree(out.parent)
    append, calls = kind.append, []

    def full(self: Any, *arrays: Any) -> None:
        calls.append(self)
        append(self, *arrays)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(kind, "append", full)
    with pytest.raises(StembenchError, match=r"mini cannot be written .*No space left.*free space"):
        split_dataset("mini", dataset, atomic_root, out)
    assert tree(out.parent) == before


def test_a_file_that_may_not_grow_is_told_by_the_system(
    atomic_root: Path, out: Path, make_dataset: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No injected error: the kernel refuses to write more than a hundred bytes into a file."""
    dataset = make_dataset(atomic_entry())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(StembenchError, match=r"mini cannot be written .*File too large"):
            split_dataset("mini", dataset, atomic_root, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert untouched(out)


KILLED = """
import os, signal
from pathlib import Path
from stembench.data.prepare import make as prepare, writer
from stembench.data.store import columns as store
from stembench.params.load import Dataset
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)
{at} = kill
prepare.split_dataset("mini", Dataset.model_validate({entry!r}), Path({raw!r}), Path({out!r}))
"""


@pytest.mark.parametrize(
    "at", ["prepare.replace_folder", "store.Block.append", "writer.ArrayFile.append"]
)
def test_a_killed_process_leaves_no_split(
    at: str, atomic_root: Path, out: Path, make_dataset: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted before the rename, and the leftovers of a process that was killed outright."""
    dataset = make_dataset(atomic_entry())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "replace_folder", interrupt)
        with pytest.raises(KeyboardInterrupt):
            split_dataset("mini", dataset, atomic_root, out)
    assert untouched(out)
    code = KILLED.format(at=at, raw=str(atomic_root), out=str(out), entry=atomic_entry())
    process = subprocess.Popen([sys.executable, "-c", code])
    assert process.wait() == -signal.SIGKILL
    assert [path.name for path in out.parent.iterdir()] == [f".mini.partial-{process.pid}"]
    split_dataset("mini", dataset, atomic_root, out)
    assert [path.name for path in out.parent.iterdir()] == ["mini"]
    assert json.loads((out / "manifest.json").read_text())["dataset"] == "mini"
