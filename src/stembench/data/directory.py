"""Read a split directory. Arrays are memory-mapped: reading costs no RAM until rows are touched."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stembench.data.schema import Schema
from stembench.errors import StembenchError

PartName = Literal["train", "valid", "test", "unbiased"]
#: The parts that every split has.
PARTS: tuple[PartName, ...] = ("train", "valid", "test")
#: The part of random exposures, which only some splits have.
UNBIASED: PartName = "unbiased"


@dataclass(frozen=True)
class Part:
    """One part of a split, N rows.

    fields: int32 (N, C); labels: uint8 (N, T); users: int32 (N,), codes of the *real* users,
    never folded by min count; probabilities: float64 (N, T), the true ones, synthetic data only.
    """

    fields: NDArray[np.int32]
    labels: NDArray[np.uint8]
    users: NDArray[np.int32]
    probabilities: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.labels)


class SplitDirectory:
    """`data/splits/<dataset>`: schema.json, manifest.json and the arrays of the parts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.schema = Schema.read(path / "schema.json")

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Row counts, positive rates, checksums; `sha256` is the hash of the whole split."""
        try:
            manifest: dict[str, Any] = json.loads((self.path / "manifest.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError) as error:
            raise StembenchError(
                f"{self.path / 'manifest.json'} cannot be read ({error}): delete {self.path} and "
                f"make the split again with `stembench data make {self.path.name}`"
            ) from None
        return manifest

    @property
    def has_unbiased(self) -> bool:
        """Whether there is a part of rows with randomly exposed items, of the test's period."""
        return UNBIASED in self.manifest["rows"]

    def part(self, name: PartName) -> Part:
        """Map the arrays of one part.

        Raises StembenchError when a file is missing, truncated or of another shape than
        schema.json and manifest.json say.
        """
        if name == UNBIASED and not self.has_unbiased:
            raise StembenchError(
                f"{self.path} has no unbiased part: name its rows by `unbiased` in the data set's "
                "split, which must be one by time or days"
            )
        folder = self.path / name
        columns, tasks = self.schema.num_columns, self.schema.num_tasks
        rows = self.manifest["rows"][name]
        optional = folder / "probabilities.npy"
        return Part(
            fields=_load(folder / "fields.npy", np.int32, (rows, columns)),
            labels=_load(folder / "labels.npy", np.uint8, (rows, tasks)),
            users=_load(folder / "users.npy", np.int32, (rows,)),
            probabilities=_load(optional, np.float64, (rows, tasks)) if optional.exists() else None,
        )


def _load(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
    """Map one array copy-on-write, so that torch may wrap it without a warning or a copy."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StembenchError(f"{path} cannot be read ({error}): {_again(path)}") from None
    if array.dtype != np.dtype(dtype) or array.shape != shape:
        raise StembenchError(
            f"{path} holds {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}: "
            f"{_again(path)}"
        )
    return array


def _again(path: Path) -> str:
    split = path.parent.parent
    return f"delete {split} and make the split again with `stembench data make {split.name}`"
