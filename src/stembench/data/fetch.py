"""Bring a data set's raw files into its folder: found, checked, unpacked, whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from stembench.data import source as sources
from stembench.data.files import CHUNK, digest, scratch
from stembench.data.progress import Progress
from stembench.errors import StembenchError
from stembench.params_schema import Archive, Mirror, Source

logger = logging.getLogger(__name__)

#: Names a folder that is searched before those of params.yaml.
MIRROR_VARIABLE = "STEMBENCH_MIRROR"
_DAMAGE = (EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile, NotImplementedError)


def fetch(dataset: str, source: Source, root: Path, mirrors: list[str]) -> None:
    """Make the raw files of `dataset` in folder `root`.

    Archives: every member already there with its checksum is left alone. Otherwise the archive is
    looked for in the mirror folders (STEMBENCH_MIRROR first; relative ones start at the working
    directory), then on the package index, then by URL; checked before use; and its members are
    put into `root` under their base names, each checked and renamed into place. A source that
    makes its data is called to do so.

    Raises StembenchError when a file is not found, does not match its checksum, is damaged, or
    cannot be written. Nothing half-written stays.
    """
    if source.archives:
        for archive in source.archives:
            _fetch_archive(dataset, archive, root, _folders(mirrors))
        return
    generate = getattr(sources.module(source.kind), "generate", None)
    if generate is not None:
        started = time.monotonic()
        with scratch(root) as folder:
            generate(folder, **sources.options_for(generate, source))
            root.mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.iterdir()):
                path.replace(root / path.name)
        logger.info("%s: generated in %.1f s", dataset, time.monotonic() - started)
    elif not root.is_dir() or not any(root.iterdir()):
        raise StembenchError(
            f"datasets.{dataset}.source names no archives: name some, or put the raw files "
            f"into {root}"
        )


def _folders(mirrors: list[str]) -> list[Path]:
    first = os.environ.get(MIRROR_VARIABLE)
    return [Path(folder) for folder in ([first] if first else []) + mirrors]


def _fetch_archive(dataset: str, archive: Archive, root: Path, folders: list[Path]) -> None:
    names = _base_names(archive)
    if all(_matches(root / name, sha256) for name, sha256 in names.items()):
        logger.info("%s: %s already unpacked, %d files", dataset, archive.file, len(names))
        return
    with scratch(root) as folder:
        path = _find(dataset, archive, folder, folders)
        unpacked = folder / "members"
        unpacked.mkdir()
        _extract(path, archive, unpacked)
        root.mkdir(parents=True, exist_ok=True)
        for name in names:
            (unpacked / name).replace(root / name)
    logger.info("%s: %d files from %s in %s", dataset, len(names), archive.file, root)


def _base_names(archive: Archive) -> dict[str, str | None]:
    """Base name -> sha256. Members are put flat into one folder, so base names must differ."""
    names: dict[str, str | None] = {}
    for member, sha256 in archive.members.items():
        parts = PurePosixPath(member)
        if parts.is_absolute() or ".." in parts.parts or not parts.name:
            raise StembenchError(f"{archive.file}: member {member!r} lies outside the archive")
        if parts.name in names:
            raise StembenchError(f"{archive.file}: two members are called {parts.name}")
        names[parts.name] = sha256
    return names


def _matches(path: Path, sha256: str | None) -> bool:
    return path.is_file() and (sha256 is None or digest(path) == sha256)


# --- finding ---------------------------------------------------------------------------------


def _find(dataset: str, archive: Archive, folder: Path, mirrors: list[Path]) -> Path:
    """The archive, checked; downloads go into `folder`."""
    tried: list[str] = []
    for place in mirrors:
        path = place / archive.file
        if not path.is_file():
            tried.append(f"{path}: absent")
        elif fault := _checksum_fault(path, archive):
            tried.append(f"{path}: {fault}")
            logger.warning("%s passed over: %s", path, fault)
        else:
            logger.info("%s: %s from %s", dataset, archive.file, place)
            return path
    for mirror in sorted(archive.mirrors, key=lambda mirror: mirror.package is None):
        origin = mirror.package or mirror.url
        path = folder / archive.file
        problem = _download(mirror, path) or _checksum_fault(path, archive)
        if problem is None:
            logger.info("%s: %s from %s", dataset, archive.file, origin)
            return path
        path.unlink(missing_ok=True)
        tried.append(f"{origin}: {problem}")
        logger.warning("%s from %s: %s", archive.file, origin, problem)
    raise StembenchError(_not_found(dataset, archive, mirrors, tried))


def _checksum_fault(path: Path, archive: Archive) -> str | None:
    for algorithm, expected in (("sha256", archive.sha256), ("md5", archive.md5)):
        if expected is not None and (seen := digest(path, algorithm)) != expected:
            return f"wrong {algorithm}, expected {expected}, seen {seen}"
    return None


def _not_found(dataset: str, archive: Archive, mirrors: list[Path], tried: list[str]) -> str:
    origin = archive.page or next((m.url or m.package for m in archive.mirrors), None)
    places = [str(mirror / archive.file) for mirror in mirrors]
    places += [] if os.environ.get(MIRROR_VARIABLE) else [f"the folder ${MIRROR_VARIABLE} names"]
    check = f"sha256 {archive.sha256}" if archive.sha256 else f"md5 {archive.md5}"
    return (
        f"{dataset} needs {archive.file}, and no good copy was found ({'; '.join(tried)}). "
        f"Get it{f' from {origin}' if origin else ''} and put it at {' or '.join(places)}; "
        f"it is checked by {check}"
    )


def _download(mirror: Mirror, path: Path) -> str | None:
    """Download to `path`; what went wrong, or None."""
    return _from_index(mirror.package, path) if mirror.package else _from_url(str(mirror.url), path)


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


def _from_url(url: str, path: Path) -> str | None:
    request = urllib.request.Request(url, headers={"User-Agent": "stembench"})
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except (urllib.error.URLError, OSError, http.client.HTTPException) as error:
        return str(error)
    with response, path.open("wb") as file:
        total = int(response.headers.get("Content-Length") or 0)
        received = 0
        with Progress(path.name, total) as progress:
            while True:
                try:
                    chunk = response.read(CHUNK // 4)
                except (OSError, http.client.HTTPException) as error:
                    return f"broke off after {received:,} bytes: {error}"
                if not chunk:
                    break
                file.write(chunk)
                received += len(chunk)
                progress.advance(len(chunk))
    if total and received != total:
        return f"broke off after {received:,} of {total:,} bytes"
    return None


# --- unpacking -------------------------------------------------------------------------------


def _extract(path: Path, archive: Archive, folder: Path) -> None:
    """The named members of a tar or zip file, flat into `folder`, each checked.

    A member is found by its exact name and written under its base name, so that no name in the
    archive decides where a file lands.
    """
    missing = dict(archive.members)
    try:
        with _open(path) as members:
            for name, file in members:
                if name not in missing:
                    continue
                sha256 = missing.pop(name)
                if file is None:
                    raise StembenchError(f"{path}: member {name} is not a regular file")
                _write(file, folder / PurePosixPath(name).name, sha256, f"{path}: member {name}")
                if not missing:
                    break
    except _DAMAGE as error:
        raise StembenchError(_damaged(path, error)) from None
    except OSError as error:
        # gzip reports damage as an OSError without a number; a full disk has one.
        if error.errno is None:
            raise StembenchError(_damaged(path, error)) from None
        raise
    if missing:
        raise StembenchError(f"{path}: no member {', '.join(missing)}")


def _damaged(path: Path, error: Exception) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
    return f"{path} is truncated or damaged ({reason}): delete it and fetch again"


@contextmanager
def _open(path: Path) -> Iterator[Iterator[tuple[str, IO[bytes] | None]]]:
    """Pairs (member name, its stream, or None when it is a link or no file)."""
    if path.suffix in (".zip", ".whl"):
        with zipfile.ZipFile(path) as pack:
            yield ((info.filename, _zip_stream(pack, info)) for info in pack.infolist())
    else:
        with tarfile.open(path, "r:*") as tape:
            yield (
                (info.name.removeprefix("./"), tape.extractfile(info) if info.isreg() else None)
                for info in tape
            )


def _zip_stream(pack: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes] | None:
    # The upper half of external_attr is the Unix mode; 0o12 is a symbolic link.
    link = info.external_attr >> 28 == 0o12
    return None if link or info.is_dir() else pack.open(info)


def _write(file: IO[bytes], target: Path, sha256: str | None, where: str) -> None:
    value = hashlib.sha256()
    with file, target.open("wb") as out:
        while chunk := file.read(CHUNK):
            value.update(chunk)
            out.write(chunk)
    if sha256 is not None and value.hexdigest() != sha256:
        raise StembenchError(f"{where}: wrong sha256, expected {sha256}, seen {value.hexdigest()}")
