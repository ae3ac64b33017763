"""Put a large file into a second place without a second copy of it; room on the disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from stembench.errors import StembenchError

try:
    import fcntl
except ImportError:  # no POSIX: there are no reflinks to make
    fcntl = None  # type: ignore[assignment]

#: Linux's request to share the blocks of two files (btrfs, XFS, …); see ioctl_ficlone(2).
_FICLONE = 0x40049409


def link(source: Path, target: Path) -> str:
    """Make `target`, which must not exist, hold what file `source` holds; returns how.

    In this order: reflink (the blocks are shared), hard link, symbolic link to the real file, and
    only where the file system has none of them a copy. Nobody may write into `target`: with a
    hard or a symbolic link that would write into `source`.
    """
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    real = source.resolve()
    ways: list[tuple[str, Callable[[Path, Path], object]]] = [
        ("reflink", _reflink),
        ("hardlink", os.link),
        ("symlink", os.symlink),
    ]
    for name, way in ways:
        try:
            way(real, target)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise
        else:
            return name
    check_room(target.parent, real.stat().st_size, target.name)
    shutil.copyfile(real, target)
    return "copy"


def check_room(folder: Path, size: int, what: str, *, kept: str = "") -> None:
    """Raise StembenchError when the disk of `folder` has not `size` free bytes for `what`."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise StembenchError(
            f"{what} needs {bytes_text(size)} in {folder.parent}, and the disk has "
            f"{bytes_text(free)} free: free some space and run again{kept}"
        )


def aside(root: Path) -> Path:
    """Where the raw folder `root` waits while its stage starts; `fetch` puts it back."""
    return root.with_name(f".{root.name}.aside")


def bytes_text(size: int) -> str:
    """A number of bytes for people: 9.9 GB."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _reflink(source: Path, target: Path) -> None:
    if fcntl is None:
        raise OSError(errno.ENOTSUP, "no reflinks here")
    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            target.unlink()
            raise
