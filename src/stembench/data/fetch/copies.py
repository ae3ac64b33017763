"""Find a good copy of an archive: in the mirror folders, on the package index, by its URLs."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from stembench.data.fetch.download import Unavailable, discard, download
from stembench.data.fetch.links import bytes_text
from stembench.data.fetch.record import Fetched
from stembench.data.files import CHUNK
from stembench.errors import StembenchError
from stembench.params.data import Archive, Mirror

logger = logging.getLogger(__name__)

#: Names a folder that is searched before those of params.yaml.
MIRROR_VARIABLE = "STEMBENCH_MIRROR"
#: Set to anything but 0, no or false, it forbids every download.
OFFLINE_VARIABLE = "STEMBENCH_OFFLINE"


@dataclass(frozen=True)
class Copy:
    """A good copy of an archive; `ours` when it was downloaded and may be moved away."""

    path: Path
    seen: Fetched
    ours: bool


class NotFound(StembenchError):
    """No good copy anywhere; the message says where to get one and where to put it."""


def offline_wanted() -> bool:
    """What the environment says."""
    return os.environ.get(OFFLINE_VARIABLE, "").strip().lower() not in ("", "0", "no", "false")


def folders(mirrors: list[str]) -> list[Path]:
    """The mirror folders in the order they are searched."""
    first = os.environ.get(MIRROR_VARIABLE)
    return [Path(folder) for folder in ([first] if first else []) + mirrors]


def in_folders(archive: Archive, places: list[Path], tried: list[str]) -> Copy | None:
    """The first good copy in a mirror folder; why the others are none is added to `tried`."""
    for place in places:
        path = place / archive.file
        if not path.exists():
            tried.append(f"{path}: absent")
            continue
        fault, seen = examine(path, archive)
        if fault is None:
            logger.info("%s from %s", archive.file, place)
            return Copy(path, seen, ours=False)
        tried.append(f"{path}: {fault}")
        logger.warning("%s passed over: %s", path, fault)
    return None


@contextmanager
def download_folder(archive: Archive, root: Path) -> Iterator[Path]:
    """The folder beside `root` where this archive's download lies, for one process at a time.

    It outlives a broken download or a killed process, so that the next run goes on from there.
    Two data sets that take the same archive share it.
    """
    folder = _download_path(archive, root)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with _alone(archive, _lock_path(folder)):
            folder.mkdir(exist_ok=True)
            try:
                yield folder
            finally:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
    except OSError as error:
        raise StembenchError(
            f"{folder} cannot be written ({error.strerror}): free space or mend the folder's "
            "permissions, then run again; what has come is kept and will be continued"
        ) from None


def clear_leftover(archive: Archive, root: Path) -> None:
    """The raw files are there: what lies of a broken download is of no more use."""
    folder = _download_path(archive, root)
    if folder.is_dir():
        lock = FileLock(_lock_path(folder))
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(folder)
                _lock_path(folder).unlink()
        except Timeout:
            logger.info("%s: being downloaded for another data set", archive.file)


def _download_path(archive: Archive, root: Path) -> Path:
    key = (archive.sha256 or archive.md5 or "")[:12]
    return root.parent / f".download-{archive.file}-{key}"


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


@contextmanager
def _alone(archive: Archive, path: Path) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("%s: another process is fetching it; waiting for it", archive.file)
        lock.acquire()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # a waiting process sees that, and locks a new file
        lock.release()


def downloaded(archive: Archive, folder: Path, tried: list[str]) -> Copy | None:
    """The archive by the package index, then by its URLs, into `folder`; checked before use."""
    path = folder / archive.file
    if path.exists():  # whole, but the process ended before it was unpacked
        fault, seen = examine(path, archive)
        if fault is None:
            return Copy(path, seen, ours=True)
        path.unlink()
    for mirror in sorted(archive.mirrors, key=lambda mirror: mirror.package is None):
        origin = str(mirror.package or mirror.url)
        fault, seen = _from(mirror, archive, path)
        if fault is None:
            logger.info("%s from %s", archive.file, origin)
            return Copy(path, seen, ours=True)
        tried.append(f"{origin}: {fault}")
        logger.warning("%s from %s: %s", archive.file, origin, fault)
    return None


def examine(path: Path, archive: Archive) -> tuple[str | None, Fetched]:
    """What is wrong with a copy, or None; and its checksums. The length is compared first."""
    files = _files(path) if path.is_dir() else {archive.file: path}
    size = sum(file.stat().st_size for file in files.values())
    seen = Fetched("", size)
    if path.is_dir() and archive.members:
        return "a folder, where an archive file is expected", seen
    if path.is_dir() and archive.checked:
        return "a folder, for which there is no checksum as params.yaml gives one", seen
    if not files or not size:
        return "empty", seen
    if archive.size is not None and size != archive.size:
        return f"wrong length, expected {archive.size:,} bytes, seen {size:,}", seen
    sums = {name: checksums(file, md5=archive.md5 is not None) for name, file in files.items()}
    if path.is_dir():
        text = "".join(f"{name} {sha256}\n" for name, (sha256, _) in sums.items())
        sha256, md5 = hashlib.sha256(text.encode()).hexdigest(), None
    else:
        sha256, md5 = sums[archive.file]
    named = {} if archive.members else {name: value[0] for name, value in sums.items()}
    seen = Fetched(sha256, size, md5, named)
    for algorithm, expected, value in (
        ("sha256", archive.sha256, sha256),
        ("md5", archive.md5, md5),
    ):
        if expected is not None and value != expected:
            return f"wrong {algorithm}, expected {expected}, seen {value}", seen
    return None, seen


def checksums(path: Path, *, md5: bool) -> tuple[str, str | None]:
    """sha256 and, where asked for, md5 of a file, read once."""
    values = [hashlib.sha256()] + ([hashlib.md5(usedforsecurity=False)] if md5 else [])
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            for value in values:
                value.update(chunk)
    return values[0].hexdigest(), values[1].hexdigest() if md5 else None


def _files(folder: Path) -> dict[str, Path]:
    """Name below the folder's parent -> file; raises StembenchError for links that lead out."""
    real = folder.resolve()
    found = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if any(part.startswith(".") for part in inner.parts) or path.is_dir():
            continue
        if not path.is_file() or not path.resolve().is_relative_to(real):
            raise StembenchError(
                f"{path} is no regular file inside {folder}: put the file itself there"
            )
        found[str(Path(folder.name) / inner)] = path
    return found


def not_found(
    dataset: str,
    archive: Archive,
    places: list[Path],
    tried: list[str],
    *,
    rows: int | None,
    offline: bool,
) -> NotFound:
    """One line: what is missing, where to get it, where exactly to put it, how it is checked."""
    size = f" ({bytes_text(archive.size)})" if archive.size else ""
    where = [str(place / archive.file) for place in places]
    if not os.environ.get(MIRROR_VARIABLE):
        where.append(f"into the folder ${MIRROR_VARIABLE} names")
    origin = archive.page or next((m.url or m.package for m in archive.mirrors), None)
    if archive.manual:
        why = "which is not downloaded but placed by hand"
    elif offline:
        why = f"and nothing is downloaded in offline mode ({OFFLINE_VARIABLE} or --offline)"
    else:
        why = "and no good copy was found"
    licence = f"; licence: {archive.licence}" if archive.licence else ""
    return NotFound(
        f"{dataset} needs {archive.file}{size}, {why} ({'; '.join(tried)}). "
        f"Get it{f' from {origin}' if origin else ''}{licence}, and put it at "
        f"{' or '.join(where)}; {_check(archive, rows)}"
    )


def _check(archive: Archive, rows: int | None) -> str:
    sums = [f"{name} {value}" for name in ("sha256", "md5") if (value := getattr(archive, name))]
    if archive.size:
        sums.insert(0, f"its length, {archive.size:,} bytes")
    if not archive.checked:
        sums.append(f"the number of rows ({rows:,})" if rows else "the columns it must have")
        sums.append("the type of each column")
    text = f"it is checked by {', '.join(sums)}"
    return text if archive.checked else f"{text}; its sha256 is recorded beside the raw files"


def _from(mirror: Mirror, archive: Archive, path: Path) -> tuple[str | None, Fetched]:
    """Download to `path`, which exists afterwards only if it is the archive; what went wrong."""
    nothing = Fetched("", 0)
    if mirror.package is not None:
        fault = _from_index(mirror.package, path)
        if fault is not None:
            return fault, nothing
        fault, seen = examine(path, archive)
        if fault is not None:
            path.unlink()
        return fault, seen
    url = str(mirror.url)
    key = hashlib.sha256(url.encode()).hexdigest()[:8]
    part = path.with_name(f"{path.name}.{key}.part")
    for last in (False, True):
        try:
            continued = download(url, part, archive.size)
        except Unavailable as error:
            return str(error), nothing
        fault, seen = examine(part, archive)
        if fault is None:
            part.replace(path)
            discard(part)
            return None, seen
        discard(part)
        if last or not continued:
            break
        # The earlier bytes may have been the bad ones; all of it once more.
        logger.warning("%s: %s after a continued download; all of it again", url, fault)
    return fault, seen


def _from_index(package: str, path: Path) -> str | None:
    """A distribution file by pip, which knows the user's index and proxy settings."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(path.parent)]
    # Without this, pip would build a source distribution to learn its metadata.
    command += ["--only-binary=:all:"] if path.suffix == ".whl" else []
    done = subprocess.run([*command, package], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        return f"pip download failed: {(lines or done.stderr.splitlines() or ['no message'])[-1]}"
    if not path.is_file():
        return f"pip brought no {path.name}"
    return None
