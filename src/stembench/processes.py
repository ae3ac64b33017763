"""Whether a process that left something behind still lives."""

from __future__ import annotations

import os
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether a process of this machine has that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def runs(pid: int, *words: str) -> bool:
    """Whether that process lives and has all those words in its command line.

    Numbers of processes recur, so a number alone does not tell whose it is. Where command lines
    cannot be read (no /proc), it is taken to be the one.
    """
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return alive(pid) and not Path("/proc/self/cmdline").exists()
    return set(words) <= set(line)
