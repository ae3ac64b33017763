"""Checksums, scratch folders that leave nothing behind, and a check for ragged tables."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from stembench.errors import StembenchError
from stembench.processes import alive

CHUNK = 1 << 22


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal checksum of a file, read in chunks."""
    value = hashlib.new(algorithm)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            value.update(chunk)
    return value.hexdigest()


@contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """A fresh folder beside `target`, gone afterwards whatever happens.

    The name carries the process id, so that the leftovers of a killed process are known as such
    and cleared by the next one. A full disk or a missing permission becomes a StembenchError.
    """
    folder = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(target)
        folder.mkdir()
        yield folder
    except OSError as error:
        raise StembenchError(
            f"{target} cannot be written ({error}): free space or mend the folder's permissions, "
            "then run again"
        ) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _clear_leftovers(target: Path) -> None:
    for leftover in target.parent.glob(f".{target.name}.partial-*"):
        pid = leftover.name.rpartition("-")[2]
        if not pid.isdigit() or int(pid) == os.getpid() or not alive(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)


def replace_folder(new: Path, target: Path) -> None:
    """Put folder `new` in the place of `target`, which may exist; never writes into the old one."""
    if target.is_symlink() or target.is_file():
        target.unlink()
    if target.exists():
        old = new.with_name(f"{new.name}-old")
        target.rename(old)
        new.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        new.rename(target)


def check_rectangular(path: Path, separator: str, quote: str | None = None) -> None:
    """Every line must have as many cells as the first.

    Readers of CSV fill a short line with nulls in silence. Separators and line ends between two
    `quote` characters do not count. Raises StembenchError with the first odd line's number.
    """
    expected: int | None = None
    line, cells, quoted = 1, 1, False
    last = b"\n"
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            last = chunk[-1:]
            data = np.frombuffer(chunk, np.uint8)
            separators, ends = data == ord(separator), data == ord("\n")
            if quote is not None:
                marks = data == ord(quote)
                inside = (np.cumsum(marks) + quoted) % 2 == 1
                separators, ends = separators & ~inside, ends & ~inside
                quoted = bool((int(marks.sum()) + quoted) % 2)
            at = np.flatnonzero(separators)
            before = np.searchsorted(at, np.flatnonzero(ends))
            counts = np.diff(before, prepend=0) + 1
            if len(counts):
                counts[0] += cells - 1
                expected = int(counts[0]) if expected is None else expected
                odd = np.flatnonzero(counts != expected)
                if len(odd):
                    raise _ragged(path, line + int(odd[0]), int(counts[odd[0]]), expected)
                line += len(counts)
                cells = 1 + len(at) - int(before[-1])
            else:
                cells += len(at)
    if quoted:
        raise StembenchError(f"{path}: a quoted cell does not end; get the file again")
    if last != b"\n" and expected is not None and cells != expected:
        raise _ragged(path, line, cells, expected)


def _ragged(path: Path, line: int, cells: int, expected: int) -> StembenchError:
    return StembenchError(
        f"{path}, line {line}: {cells} cells where the first line has {expected}; "
        "correct or remove the line, or get the file again"
    )
