"""Bring a data set's raw files into its folder: found, checked, unpacked, whole or not at all."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from stembench.data.fetch import copies
from stembench.data.fetch import record as fetched
from stembench.data.fetch.archives import unpack
from stembench.data.fetch.copies import Copy, NotFound
from stembench.data.fetch.links import aside, link
from stembench.data.files import scratch
from stembench.data.sources import base as sources
from stembench.errors import StembenchError
from stembench.params.data import Archive, Source

logger = logging.getLogger(__name__)


def fetch(
    dataset: str,
    source: Source,
    root: Path,
    mirrors: list[str],
    *,
    offline: bool | None = None,
) -> None:
    """Make the raw files of `dataset` in folder `root`.

    Archives: raw files already there with their checksums are left alone. Otherwise the archive is
    looked for, in this order: raw folders of other data sets that took the same archive, the
    mirror folders (STEMBENCH_MIRROR first; relative ones start at the working directory), a broken
    download's rest, the package index, the URLs as they are listed. It is checked before use, and
    its members are put into `root` under their base names, each checked and renamed into place. An
    archive without members is itself the raw data, a file or a folder, and is linked into `root`.
    A source that makes its data is called to do so.

    `offline` (unset: what STEMBENCH_OFFLINE says): no network is tried.

    Raises StembenchError when a file is not found, does not match its checksum, is damaged, or
    cannot be written. Nothing half-written stays under a raw file's name.
    """
    if aside(root).is_dir() and not root.exists():
        aside(root).rename(root)
    if source.archives:
        net = not (copies.offline_wanted() if offline is None else offline)
        places = copies.folders(mirrors)
        missing: list[NotFound] = []
        for archive in source.archives:
            try:
                _fetch_archive(dataset, source, archive, root, places, net=net)
            except NotFound as error:
                missing.append(error)  # all that must be got by hand is told at once
            else:
                copies.clear_leftover(archive, root)
        if missing:
            raise StembenchError("; moreover, ".join(str(error) for error in missing))
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


def _fetch_archive(
    dataset: str, source: Source, archive: Archive, root: Path, places: list[Path], *, net: bool
) -> None:
    if archive.checked and (files := fetched.whole(archive, root)) is not None:
        logger.info("%s: %s already there, %d files", dataset, archive.file, len(files))
        return
    if archive.checked and _from_sibling(dataset, archive, root):
        return
    tried: list[str] = []
    copy = copies.in_folders(archive, places, tried)
    if copy is not None:
        _take(dataset, archive, copy, root)
        return
    if not archive.checked and fetched.whole(archive, root) is not None:
        logger.info("%s: %s as fetched before", dataset, archive.file)
        return
    if net and archive.mirrors:
        with copies.download_folder(archive, root) as folder:
            copy = copies.downloaded(archive, folder, tried)
            if copy is not None:
                _take(dataset, archive, copy, root)
                return
    raise copies.not_found(dataset, archive, places, tried, rows=source.rows, offline=not net)


def _from_sibling(dataset: str, archive: Archive, root: Path) -> bool:
    """Link the files of another data set that took the same archive, if there is one."""
    if not root.parent.is_dir():
        return False
    for sibling in sorted(root.parent.iterdir()):
        if sibling == root or sibling.name.startswith(".") or not sibling.is_dir():
            continue
        files = fetched.whole(archive, sibling)
        if files is None:
            continue
        with scratch(root) as folder:
            for name in files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                link(sibling / name, folder / name)
            _put(folder, files, archive, fetched.read(sibling).get(archive.file), root)
        logger.info("%s: %d files as in %s", dataset, len(files), sibling)
        return True
    return False


def _take(dataset: str, archive: Archive, copy: Copy, root: Path) -> None:
    """Unpack or link a good copy into `root`; what was seen is recorded there."""
    before = fetched.read(root).get(archive.file)
    same = not archive.checked and before is not None and before.sha256 == copy.seen.sha256
    if same and fetched.whole(archive, root) is not None:
        logger.info("%s: %s already there, unchanged", dataset, archive.file)
        return
    with scratch(root) as folder:
        if archive.members:
            files = unpack(copy.path, archive, folder)
        else:
            files = copy.seen.files
            _link_all(copy, files, folder)
        seen = fetched.Fetched(copy.seen.sha256, copy.seen.size, copy.seen.md5, files)
        _put(folder, files, archive, seen, root)
    logger.info("%s: %d files of %s in %s", dataset, len(files), archive.file, root)


def _link_all(copy: Copy, files: dict[str, str], folder: Path) -> None:
    """The archive's own file, or all files of the folder it is, without a second copy of them."""
    ways: set[str] = set()
    for name in files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if copy.ours:
            copy.path.replace(target)
        else:
            ways.add(link(copy.path.parent / name, target))
    if ways:
        logger.info("%s: linked (%s)", copy.path, ", ".join(sorted(ways)))


def _put(
    folder: Path,
    files: dict[str, str],
    archive: Archive,
    seen: fetched.Fetched | None,
    root: Path,
) -> None:
    """Rename the files from the scratch folder into `root`; those of an older archive go."""
    root.mkdir(parents=True, exist_ok=True)
    before = fetched.read(root).get(archive.file)
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).replace(root / name)
    for name in set(before.files if before else ()) - set(files):
        (root / name).unlink(missing_ok=True)
    if seen is not None:
        fetched.write(root, archive, seen)
