"""Exact order statistics of a column that does not fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from stembench.data.store.columns import Keys

#: Keys that may be gathered and sorted at once: 32 MiB.
GATHER = 1 << 22
_BITS = 16
_WRAP = 1 << 64


def order_statistics(
    chunks: Callable[[], Iterable[Keys]], ranks: Sequence[int], low: int, high: int
) -> dict[int, int]:
    """Rank -> the key with that many others before it in sorted order.

    `chunks` gives all keys, anew at each call; those outside [low, high] are left out, and ranks
    count from 0 among the others. Each pass splits the range that holds a rank into 65,536.
    Raises IndexError for a rank that is not there.
    """
    if low == high:
        return dict.fromkeys(ranks, low)
    shift = max(0, (high - low).bit_length() - _BITS)
    counts = np.zeros(((high - low) >> shift) + 1, np.int64)
    for keys in chunks():
        counts += np.bincount(_cells(_within(keys, low, high), low, shift), minlength=len(counts))
    until = np.cumsum(counts)
    if ranks and not 0 <= min(ranks) <= max(ranks) < until[-1]:
        raise IndexError(f"ranks {min(ranks)} to {max(ranks)} of {until[-1]} keys")
    cells: dict[int, list[int]] = {}
    for rank in ranks:
        cells.setdefault(int(np.searchsorted(until, rank, side="right")), []).append(rank)
    if shift == 0:
        return {rank: low + cell for cell, among in cells.items() for rank in among}
    if sum(int(counts[cell]) for cell in cells) <= GATHER:
        return _gather(chunks, cells, until, low, high, shift)
    found: dict[int, int] = {}
    for cell, among in cells.items():
        before = int(until[cell] - counts[cell])
        start = low + (cell << shift)
        inner = order_statistics(
            chunks, [r - before for r in among], start, min(high, start + (1 << shift) - 1)
        )
        found |= {rank + before: key for rank, key in inner.items()}
    return found


def _gather(
    chunks: Callable[[], Iterable[Keys]],
    cells: dict[int, list[int]],
    until: NDArray[np.int64],
    low: int,
    high: int,
    shift: int,
) -> dict[int, int]:
    """Sort what is in the cells that hold a rank."""
    wanted = np.zeros(len(until), np.bool_)
    wanted[list(cells)] = True
    parts = []
    for keys in chunks():
        inside = _within(keys, low, high)
        parts.append(inside[wanted[_cells(inside, low, shift)]])
    sorted_keys = np.sort(np.concatenate(parts))
    found, start = {}, 0
    for cell in sorted(cells):
        before = int(until[cell - 1]) if cell else 0
        for rank in cells[cell]:
            found[rank] = int(sorted_keys[start + rank - before])
        start += int(until[cell]) - before
    return found


def _within(keys: Keys, low: int, high: int) -> Keys:
    inside = (keys >= low) & (keys <= high)
    return keys if inside.all() else keys[inside]


def _cells(keys: Keys, low: int, shift: int) -> NDArray[np.intp]:
    return ((keys.view(np.uint64) - np.uint64(low % _WRAP)) >> np.uint64(shift)).astype(np.intp)
