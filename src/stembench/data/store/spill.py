"""Records parted into files by a key, so that equal keys can be looked at in bounded memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stembench.data.store.columns import Block

_BITS = 6
FILES = 1 << _BITS


class Spill:
    """Up to 64 files of records of `width` 64-bit numbers, each in the order in which they came."""

    def __init__(self, folder: Path, width: int) -> None:
        folder.mkdir()
        self._folder, self._width = folder, width
        self._files: dict[int, Block] = {}

    def add(self, records: NDArray[np.uint64]) -> None:
        """Records (N, width); those whose first number is equal come into one file.

        The first number should be well mixed: its top bits choose the file.
        """
        chosen = (records[:, 0] >> np.uint64(64 - _BITS)).astype(np.uint8)
        order = np.argsort(chosen, kind="stable")
        bounds = np.searchsorted(chosen[order], np.arange(FILES + 1))
        ranked = records[order]
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            if number not in self._files:
                self._files[number] = Block(self._folder / str(number), self._width)
            self._files[number].append(ranked[bounds[number] : bounds[number + 1]])

    def groups(self) -> Iterator[NDArray[np.uint64]]:
        """The records of each file that has some."""
        for file in self._files.values():
            yield np.concatenate([file.read(index) for index in range(file.chunks)])

    def close(self) -> None:
        """Give the disk space back."""
        for file in self._files.values():
            file.close()
        shutil.rmtree(self._folder)


class Duplicates:
    """Finds rows that are equal in all columns to an earlier row.

    Rows are compared by two 64-bit hashes: among a thousand million rows the chance that any two
    that differ are taken for equal is below 1e-20.
    """

    def __init__(self, folder: Path) -> None:
        self._spill = Spill(folder, 3)
        self._rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """The next rows, all columns of the source."""
        numbers = np.arange(self._rows, self._rows + len(frame), dtype=np.uint64)
        hashes = [frame.hash_rows(seed).to_numpy() for seed in (1, 2)]
        self._spill.add(np.stack([*hashes, numbers], axis=1))
        self._rows += len(frame)

    def found(self) -> NDArray[np.bool_]:
        """Per row (N,): whether it repeats an earlier one."""
        repeats = np.zeros(self._rows, np.bool_)
        for records in self._spill.groups():
            frame = pl.DataFrame({"a": records[:, 0], "b": records[:, 1]})
            first = frame.select(pl.struct("a", "b").is_first_distinct()).to_series().to_numpy()
            repeats[records[~first, 2].astype(np.intp)] = True
        self._spill.close()
        return repeats
