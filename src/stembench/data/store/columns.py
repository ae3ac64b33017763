"""Columns of a table on disk, a chunk of rows after another, for passes in bounded memory.

One pass over the raw files leaves here what the later ones need. Files are written and read by
plain calls: pages of a memory map would count as memory in use.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.int64]
#: Where a key stands in a table of all keys; 0 is the place of a hole.
Positions = NDArray[np.intp]
Holes = NDArray[np.bool_]

_WRAP = 1 << 64


@dataclass(frozen=True)
class Piece:
    """The keys of one chunk as `base` + offset, offsets unsigned and as narrow as they may be.

    Shape (rows * width,), row after row.
    """

    offsets: NDArray[np.unsignedinteger[Any]]
    base: int
    #: The offset that stands for a hole; None where the chunk has no hole.
    hole: int | None

    @property
    def has_holes(self) -> bool:
        return self.hole is not None

    def positions(self, low: int) -> Positions:
        """key - low + 1, and 0 for a hole; `low` must be no larger than any key."""
        positions: Positions = self._shifted(self.base - low + 1).view(np.intp)
        if self.has_holes:
            positions[self.holes] = 0
        return positions

    def keys(self) -> Keys:
        """The keys; anything in the place of a hole."""
        return self._shifted(self.base).view(np.int64)

    @property
    def holes(self) -> Holes:
        if self.hole is None:
            return np.zeros(len(self.offsets), np.bool_)
        holes: Holes = self.offsets == self.hole
        return holes

    def _shifted(self, by: int) -> NDArray[np.uint64]:
        """offset + by for each, modulo 2**64: the base of a chunk of holes may be far from any."""
        wide = self.offsets.astype(np.uint64)
        wide += np.uint64(by % _WRAP)
        return wide

    def where(self, mask: NDArray[np.bool_]) -> Piece:
        """The keys of some of the rows, (N,)."""
        width = len(self.offsets) // max(len(mask), 1)
        taken = self.offsets[mask if width == 1 else np.repeat(mask, width)]
        return Piece(taken, self.base, self.hole)


@dataclass(frozen=True)
class _Chunk:
    start: int
    size: int
    dtype: np.dtype[Any]
    base: int = 0
    hole: int | None = None


class _File:
    """Chunks behind each other in a file; safe to be read from several threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._end = 0
        self._chunks: list[_Chunk] = []

    @property
    def chunks(self) -> int:
        return len(self._chunks)

    def close(self) -> None:
        self._file.close()

    def _write(self, array: NDArray[Any]) -> None:
        left = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        self._end += len(left)
        while left:
            left = left[self._file.write(left) :]

    def _read(self, index: int) -> NDArray[Any]:
        chunk = self._chunks[index]
        content = os.pread(self._file.fileno(), chunk.size, chunk.start)
        if len(content) != chunk.size:
            raise OSError(f"{self._file.name} is shorter than what was written to it")
        return np.frombuffer(content, chunk.dtype)


class Column(_File):
    """A column of integer keys with holes, `width` of them a row."""

    def __init__(self, path: Path, width: int = 1) -> None:
        super().__init__(path)
        self.width = width
        #: Smallest and largest key; None where all are holes.
        self.low: int | None = None
        self.high: int | None = None
        self.holes = 0

    def append(self, keys: Keys, holes: Holes | None) -> None:
        """One more chunk, (rows * width,), and where it has holes (None: nowhere)."""
        if holes is not None and holes.all():
            self.holes += len(keys)
            self._add(np.zeros(len(keys), np.uint8), 0, 0)
            return
        if holes is not None:
            self.holes += int(holes.sum())
            keys = np.where(holes, keys[int(holes.argmin())], keys)
        if not len(keys):
            self._add(np.zeros(0, np.uint8), 0, None)
            return
        low, high = int(keys.min()), int(keys.max())
        self.low = low if self.low is None else min(low, self.low)
        self.high = high if self.high is None else max(high, self.high)
        # Offset 0 is kept for holes, unless the keys take up all 64 bits (hashes used as ids do).
        base = low - 1 if high - low + 1 < _WRAP else low
        offsets = (keys.view(np.uint64) - np.uint64(base % _WRAP)).astype(
            np.min_scalar_type(high - base), copy=False
        )
        hole = None
        if holes is not None:
            hole = 0 if base < low else _unused(offsets)
            offsets[holes] = hole
        self._add(offsets, base, hole)

    def read(self, index: int) -> Piece:
        chunk = self._chunks[index]
        return Piece(self._read(index), chunk.base, chunk.hole)

    def _add(self, offsets: NDArray[Any], base: int, hole: int | None) -> None:
        self._chunks.append(_Chunk(self._end, offsets.nbytes, offsets.dtype, base, hole))
        self._write(offsets)


def _unused(offsets: NDArray[np.unsignedinteger[Any]]) -> int:
    """The smallest number that is not among the offsets."""
    present = np.unique(offsets)
    gaps = np.flatnonzero(present != np.arange(len(present), dtype=present.dtype))
    return int(gaps[0]) if len(gaps) else len(present)


class Block(_File):
    """A column of arrays (rows, ...), stored as they are."""

    def __init__(self, path: Path, width: int) -> None:
        super().__init__(path)
        self.width = width

    def append(self, array: NDArray[Any]) -> None:
        self._chunks.append(_Chunk(self._end, array.nbytes, array.dtype))
        self._write(array)

    def read(self, index: int) -> NDArray[Any]:
        return self._read(index).reshape(-1, self.width)


@dataclass
class Store:
    """The columns of one table, all in the same chunks; closed at the end of a `with`."""

    folder: Path
    columns: dict[str, Column] = field(default_factory=dict)
    blocks: dict[str, Block] = field(default_factory=dict)
    #: First row of each chunk, and at the end the number of rows.
    bounds: list[int] = field(default_factory=lambda: [0])

    @property
    def rows(self) -> int:
        return self.bounds[-1]

    @property
    def chunks(self) -> int:
        return len(self.bounds) - 1

    def spans(self) -> Iterator[tuple[int, slice]]:
        """Number of each chunk and its rows."""
        for index, (start, stop) in enumerate(zip(self.bounds, self.bounds[1:], strict=False)):
            yield index, slice(start, stop)

    def add_column(self, name: str, width: int = 1) -> Column:
        self.columns[name] = Column(self.folder / f"column-{len(self.columns)}", width)
        return self.columns[name]

    def add_block(self, name: str, width: int) -> Block:
        self.blocks[name] = Block(self.folder / f"block-{len(self.blocks)}", width)
        return self.blocks[name]

    def end_chunk(self, rows: int) -> None:
        """Each column has `rows` more rows."""
        self.bounds.append(self.rows + rows)

    def __enter__(self) -> Self:
        self.folder.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in (*self.columns.values(), *self.blocks.values()):
            file.close()
