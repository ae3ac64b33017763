"""A place for every key of a column, so that what is known of a key stands in a plain array.

Place 0 is that of a hole. Where the keys lie close together, places are key - smallest + 1; else
the distinct keys are listed and found by a hash table.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stembench.data.store.columns import Column, Keys, Piece, Positions

#: Widest range of keys that gets a place for each number in it; an int32 array of that is 128 MiB.
DENSE = 1 << 25
_BUFFER = 1 << 22
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class Places(Protocol):
    """Places of the keys of a column, in the order of the keys."""

    size: int

    def of(self, piece: Piece) -> Positions:
        """Places (N,) of keys of that column."""
        ...

    def keys(self, places: Positions) -> Keys:
        """The keys at places other than 0."""
        ...


def places_of(column: Column, chunks: int) -> Places:
    """The places of all keys that the column holds."""
    if column.low is None or column.high is None:
        return Dense(0, -1)
    if column.high - column.low < DENSE:
        return Dense(column.low, column.high)
    return Sparse(_distinct(column, chunks))


class Dense:
    """A place for each number between the smallest and the largest key."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.size = low, high - low + 2

    def of(self, piece: Piece) -> Positions:
        return piece.positions(self.low)

    def keys(self, places: Positions) -> Keys:
        return (places.astype(np.int64) - 1) + self.low  # in this order: low may be the smallest


class Sparse:
    """A place for each key that occurs, by a hash table with linear probing."""

    def __init__(self, distinct: Keys) -> None:
        """`distinct`: sorted, none twice."""
        self.size = len(distinct) + 1
        self._distinct = distinct
        bits = max(1, (2 * len(distinct) - 1).bit_length())
        self._shift = np.uint64(64 - bits)
        self._mask = (1 << bits) - 1
        self._table: NDArray[np.int32] = np.full(1 << bits, -1, np.int32)
        waiting = np.arange(len(distinct), dtype=np.int32)
        slots = self._slots(distinct)
        while len(waiting):
            free = self._table[slots] < 0
            self._table[slots[free]] = waiting[free]
            beaten = self._table[slots] != waiting
            waiting, slots = waiting[beaten], (slots[beaten] + 1) & self._mask

    def of(self, piece: Piece) -> Positions:
        keys = piece.keys()
        places = np.zeros(len(keys), np.intp)
        waiting = np.flatnonzero(~piece.holes) if piece.has_holes else np.arange(len(keys))
        keys = keys[waiting]
        slots = self._slots(keys)
        while len(waiting):
            found = self._table[slots]
            right = self._distinct[found] == keys
            places[waiting[right]] = found[right] + 1
            wrong = ~right
            waiting, keys = waiting[wrong], keys[wrong]
            slots = (slots[wrong] + 1) & self._mask
        return places

    def keys(self, places: Positions) -> Keys:
        return self._distinct[places - 1]

    def _slots(self, keys: Keys) -> Positions:
        return ((keys.view(np.uint64) * _MULTIPLIER) >> self._shift).astype(np.intp)


def _distinct(column: Column, chunks: int) -> Keys:
    """All distinct keys, sorted; the buffer of unmerged ones grows with them."""
    known: Keys = np.empty(0, np.int64)
    waiting: list[Keys] = []
    for index in range(chunks):
        piece = column.read(index)
        keys = piece.keys()
        waiting.append(np.unique(keys[~piece.holes] if piece.has_holes else keys))
        if index + 1 == chunks or sum(map(len, waiting)) > max(_BUFFER, len(known)):
            known = np.unique(np.concatenate([known, *waiting]))
            waiting = []
    return known
