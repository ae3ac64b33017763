"""A split directory exists whole or not at all: full disk, interrupt, kill."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stembench.data import files, prepare
from stembench.data.prepare import split_dataset
from stembench.errors import StembenchError
from stembench.params import Dataset
from tests.data.conftest import atomic_entry, tree, untouched

Make = Callable[[dict[str, Any]], Dataset]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "splits" / "mini"


@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_what_was_there(
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
    save, calls = np.save, []

    def full(path: Path, array: Any, allow_pickle: bool) -> None:
        calls.append(path)
        if len(calls) > 4:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(path, array, allow_pickle=allow_pickle)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(StembenchError, match=r"mini cannot be written .*No space left.*free space"):
        split_dataset("mini", dataset, atomic_root, out)
    assert tree(out.parent) == before


KILLED = """
import os, signal
from pathlib import Path
from stembench.data import prepare
from stembench.params import Dataset
prepare.replace_folder = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
prepare.split_dataset("mini", Dataset.model_validate({entry!r}), Path({raw!r}), Path({out!r}))
"""


def test_a_killed_process_leaves_no_split(
    atomic_root: Path, out: Path, make_dataset: Make, monkeypatch: pytest.MonkeyPatch
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
    code = KILLED.format(raw=str(atomic_root), out=str(out), entry=atomic_entry())
    process = subprocess.Popen([sys.executable, "-c", code])
    assert process.wait() == -signal.SIGKILL
    assert [path.name for path in out.parent.iterdir()] == [f".mini.partial-{process.pid}"]
    split_dataset("mini", dataset, atomic_root, out)
    assert [path.name for path in out.parent.iterdir()] == ["mini"]
    assert json.loads((out / "manifest.json").read_text())["dataset"] == "mini"


