"""Unpack the named members of a tar or zip file: one pass, checked, bounded, inside one folder."""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from stembench.data.fetch.links import bytes_text, check_room
from stembench.data.files import CHUNK
from stembench.errors import StembenchError
from stembench.params.data import Archive
from stembench.progress import Bar

#: What the members may hold together: so many times the archive's own bytes, and as much again as
#: the allowance. Logs shrink to a third or a tenth; a file made to fill the disk, to a thousandth.
RATIO, ALLOWANCE = 200, 1 << 26

_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile)
_TAR_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.DIRTYPE: "a folder",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


class Member(NamedTuple):
    """A member as the archive declares it; `open` is None when `kind` is no regular file."""

    name: str
    size: int
    kind: str
    open: Callable[[], IO[bytes] | None] | None


def unpack(path: Path, archive: Archive, folder: Path) -> dict[str, str]:
    """Write the members that `archive` names flat into `folder`; base name -> sha256 seen.

    A member is found by its exact name and written under its base name, so that no name inside
    the archive decides where a file lands; what is not named is never written, and of two members
    of one name the first is taken. The archive is read once, from where it lies.

    Raises StembenchError when the archive is truncated, damaged or encrypted, a named member is
    absent, a link or a device, has another checksum, or more bytes than it declares, than the
    archive can honestly hold, or than the disk has room for.
    """
    missing = dict(archive.members)
    # Without a published checksum, the archive's own one at its end tells whether it is sound.
    vouched = archive.checked or None not in missing.values()
    left = path.stat().st_size * RATIO + ALLOWANCE
    seen: dict[str, str] = {}
    try:
        with _open(path) as members:
            for member in members:
                if member.name not in missing:
                    continue
                where = f"{path}: member {member.name}"
                if member.open is None:
                    raise StembenchError(f"{where} is {member.kind}, not a regular file")
                left -= member.size
                if left < 0:
                    raise StembenchError(
                        f"{where} swells to {bytes_text(member.size)} from an archive of "
                        f"{bytes_text(path.stat().st_size)}, which is refused; if that is right, "
                        "unpack it by hand and name the file itself, without members"
                    )
                sha256 = missing.pop(member.name)
                base = PurePosixPath(member.name).name
                check_room(folder, member.size, f"member {member.name}")
                seen[base] = _write(member.open(), folder / base, member.size, where)
                if sha256 is not None and seen[base] != sha256:
                    raise StembenchError(
                        f"{where}: wrong sha256, expected {sha256}, seen {seen[base]}"
                    )
                if not missing and vouched:
                    break  # the rest need not be read
    except NotImplementedError as error:
        raise StembenchError(
            f"{path} cannot be unpacked ({_first_line(error)}): unpack it by hand and name the "
            "files themselves, without members"
        ) from None
    except _DAMAGE as error:
        raise StembenchError(_damaged(path, error)) from None
    except OSError as error:
        # gzip reports damage as an OSError without a number; a full disk has one.
        if error.errno is None:
            raise StembenchError(_damaged(path, error)) from None
        raise
    if missing:
        raise StembenchError(
            f"{path}: no member {', '.join(missing)}; it is another archive than params.yaml means"
        )
    return seen


def _damaged(path: Path, error: Exception) -> str:
    return f"{path} is truncated or damaged ({_first_line(error)}): delete it and fetch again"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")


@contextmanager
def _open(path: Path) -> Iterator[Iterator[Member]]:
    if path.suffix in (".zip", ".whl"):
        with zipfile.ZipFile(path) as pack:
            yield (_zip_member(pack, info) for info in pack.infolist())
    else:
        with tarfile.open(path, "r:*") as tape:
            yield _tar_members(tape)


def _zip_member(pack: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    # The upper half of external_attr is the Unix mode; 0o12 is a symbolic link.
    if info.external_attr >> 28 == 0o12:
        return Member(info.filename, 0, "a symbolic link", None)
    if info.is_dir():
        return Member(info.filename, 0, "a folder", None)
    return Member(info.filename, info.file_size, "a file", partial(_open_member, pack, info))


def _open_member(pack: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    if info.flag_bits & 1:
        raise NotImplementedError(f"member {info.filename} is encrypted")
    return pack.open(info)


def _tar_members(tape: tarfile.TarFile) -> Iterator[Member]:
    yield from (_tar_member(tape, info) for info in tape)
    while tape.fileobj is not None and tape.fileobj.read(CHUNK):
        pass  # past the last member: the compressed stream's checksum


def _tar_member(tape: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    kind = _TAR_KINDS.get(info.type, "a file")
    opened = partial(tape.extractfile, info) if info.isreg() else None
    return Member(info.name.removeprefix("./"), info.size, kind, opened)


def _write(stream: IO[bytes] | None, target: Path, size: int, where: str) -> str:
    """Write a member of `size` declared bytes; its sha256."""
    assert stream is not None  # a regular file has content
    value = hashlib.sha256()
    written = 0
    try:
        with target.open("wb") as out, Bar(f"unpacking {target.name}", size) as progress:
            while chunk := stream.read(CHUNK):
                written += len(chunk)
                if written > size:
                    raise StembenchError(f"{where} holds more than the {size:,} bytes it declares")
                value.update(chunk)
                out.write(chunk)
                progress.advance(len(chunk))
    finally:
        stream.close()
    if written != size:
        raise StembenchError(f"{where} holds {written:,} of the {size:,} bytes it declares")
    return value.hexdigest()
