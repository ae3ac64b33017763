from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from stembench.allocator import keep_freed_memory

FREED = """
import numpy as np
from stembench.allocator import keep_freed_memory
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


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
