"""What was fetched: a small record beside the raw files, `.fetched.json`.

It names the checksums seen, so that files without a published one are known again, and nothing
of this machine or hour: the raw folder stays the same for everybody.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from stembench.data.files import digest
from stembench.params.data import Archive
from stembench.records.writing import write_json

RECORD = ".fetched.json"


@dataclass(frozen=True)
class Fetched:
    """One archive as it was seen: its checksum, its bytes, and raw file -> sha256.

    `sha256` of a folder is that over its files' names and checksums.
    """

    sha256: str
    size: int
    md5: str | None = None
    files: dict[str, str] = field(default_factory=dict)

    def is_of(self, archive: Archive) -> bool:
        """Whether it is the archive that the entry names, as far as the entry says."""
        return archive.sha256 in (None, self.sha256) and archive.md5 in (None, self.md5)


def read(root: Path) -> dict[str, Fetched]:
    """Archive's file name -> what was fetched; empty when there is no readable record."""
    try:
        found = json.loads((root / RECORD).read_text())
        return {name: Fetched(**entry) for name, entry in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write(root: Path, archive: Archive, seen: Fetched) -> None:
    """Add an archive to the record; the old record is replaced, never written into."""
    found = read(root) | {archive.file: seen}
    write_json(root / RECORD, {name: asdict(entry) for name, entry in found.items()})


def whole(archive: Archive, root: Path) -> dict[str, str] | None:
    """Raw file -> sha256, when all of the archive's lie in `root` as they should, else None."""
    files: dict[str, str] = {}
    for name, sha256 in archive.names.items():
        if sha256 is not None:
            files[name] = sha256
    if len(files) < len(archive.names) or not files:
        # Not all are known beforehand: what was seen when they were fetched decides.
        seen = read(root).get(archive.file)
        if seen is None or not seen.is_of(archive) or not seen.files:
            return None
        if archive.names and set(archive.names) != set(seen.files):
            return None
        if any(seen.files[name] != sha256 for name, sha256 in files.items()):
            return None
        files = seen.files
    for name, sha256 in files.items():
        path = root / name
        if not path.is_file() or digest(path) != sha256:
            return None
    return files
