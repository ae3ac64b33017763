from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from stembench.training.memory import give_back_freed_memory, keep_freed_memory

FREED = """
import numpy as np
from stembench.training.memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
block = np.full(8_000_000, 7.0)  # 64 MB: a mapping of its own, unless told otherwise
del block
print(np.empty(8_000_000)[4_000_000])
"""


def after(keep: bool) -> float:
    """What a large block has in it that is taken after one of sevens was freed."""
    run = [sys.executable, "-c", FREED.format(keep=keep)]
    return float(subprocess.run(run, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_a_freed_block_is_used_again() -> None:
    assert after(keep=False) == 0.0  # fresh pages
    assert after(keep=True) == 7.0


RESIDENT = """
from pathlib import Path
import numpy as np
from stembench.training.memory import give_back_freed_memory, keep_freed_memory
def resident():
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])
keep_freed_memory()
before = np.full(8_000_000, 7.0)
last = np.full(1_000, 7.0)  # so that the freed block is not the end of the heap
del before
kept = resident()
give_back_freed_memory()
print(kept - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc")
def test_what_was_kept_is_given_back_on_request() -> None:
    run = [sys.executable, "-c", RESIDENT]
    given = int(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    assert given > 60_000_000  # of 64 MB


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
    give_back_freed_memory()
