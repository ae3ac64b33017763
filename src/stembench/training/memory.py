"""Memory that a step frees is kept for the next one, until training is over."""

from __future__ import annotations

import contextlib
import ctypes
import sys

#: Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Let large blocks come from the heap, and give nothing back; whether the system took it.

    glibc maps each block above 32 MB anew and unmaps it when freed, so that a training step pays a
    page fault for every 4 kB of every large activation. Numbers do not change. Elsewhere than on
    glibc nothing is done. For the whole process, so it belongs into one that only trains
    or compares, a run at a time.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False  # another C library, such as musl
    wanted = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 << 20}
    return all(mallopt(key, value) == 1 for key, value in wanted.items())


def give_back_freed_memory() -> None:
    """Give the system what was freed, on glibc: a large block that nothing will ask for again."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)
