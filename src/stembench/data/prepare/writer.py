"""The arrays of a split directory, appended to block by block and hashed on the way."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class ArrayFile:
    """A .npy file of known shape, as numpy.save would write it."""

    def __init__(self, path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
        self._file = path.open("wb", buffering=0)
        self._hash = hashlib.sha256()
        self._left = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self.dtype = np.dtype(dtype)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header,
            {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False}
            | {"shape": shape},
        )
        self._write(memoryview(header.getvalue()))

    def append(self, rows: NDArray[Any]) -> None:
        """The next rows."""
        assert rows.dtype == self.dtype
        content = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
        self._left -= len(content)
        self._write(content)

    def close(self) -> str:
        """The sha256 of the file; the rows must be as many as the shape says."""
        self._file.close()
        assert self._left == 0
        return self._hash.hexdigest()

    def _write(self, content: memoryview) -> None:
        self._hash.update(content)
        while content:
            content = content[self._file.write(content) :]


class PartWriter:
    """The folder of one part: an array file per name."""

    def __init__(
        self, folder: Path, rows: int, shapes: dict[str, tuple[type[np.generic], tuple[int, ...]]]
    ) -> None:
        folder.mkdir()
        self.files = {
            name: ArrayFile(folder / f"{name}.npy", dtype, (rows, *shape))
            for name, (dtype, shape) in sorted(shapes.items())
        }

    def append(self, arrays: dict[str, NDArray[Any]]) -> None:
        """The next rows of every array."""
        for name, array in arrays.items():
            self.files[name].append(array)

    def close(self) -> dict[str, str]:
        """Name -> sha256, sorted by name."""
        return {name: file.close() for name, file in self.files.items()}
