"""Checksums, scratch folders that leave nothing behind, and a check for ragged tables."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
