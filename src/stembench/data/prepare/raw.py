"""The raw files of a data set: which there must be, and their checksums."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from stembench.data.files import CHUNK
from stembench.errors import StembenchError
from stembench.params.data import Source


class RawFiles:
    """Checks the files of a raw folder; the checksums are computed beside other work.

    Used in a `with`, which waits for the checksums however it ends: a file that is not the one
    params.yaml names explains whatever else went wrong with it.
    """

    def __init__(self, name: str, source: Source, raw: Path) -> None:
        """Raises StembenchError for a file that is missing or that params.yaml does not name."""
        self._raw = raw
        self._again = f"run `stembench fetch {name}`"
        self._files = _walk(raw)
        if not self._files:
            raise StembenchError(f"no raw files in {raw}: {self._again}")
        self._expected = _named(source)
        tops = {path.relative_to(raw).parts[0] for path in self._files}
        for file in self._expected:
            if not (raw / file).exists():
                raise StembenchError(f"{raw / file} is missing: {self._again}")
        # Left by an older entry, say: a source that reads all logs of the folder would read it too.
        if source.archives and (
            others := sorted(tops - {PurePosixPath(file).parts[0] for file in self._expected})
        ):
            raise StembenchError(
                f"{raw} holds files that params.yaml does not name: {', '.join(others)}; "
                "remove them"
            )
        self._pool = ThreadPoolExecutor(1)
        self._stop = threading.Event()
        self._sums: Future[dict[str, str]] | None = None

    def __enter__(self) -> Self:
        self._sums = self._pool.submit(self._digests)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None or isinstance(error, StembenchError):
                self.sha256()
        finally:
            self._stop.set()
            self._pool.shutdown()

    def sha256(self) -> dict[str, str]:
        """File -> sha256, names relative to the raw folder.

        Raises StembenchError when one is not that of params.yaml or cannot be read.
        """
        assert self._sums is not None
        try:
            return self._sums.result()
        except OSError as error:
            raise StembenchError(f"{self._raw} cannot be read ({error})") from None

    def _digests(self) -> dict[str, str]:
        seen = {}
        for path in self._files:
            file = path.relative_to(self._raw).as_posix()
            seen[file] = self._digest(path)
            if self._stop.is_set():
                return {}
            expected = self._expected.get(file)
            if expected is not None and seen[file] != expected:
                raise StembenchError(
                    f"{path}: wrong sha256, expected {expected}, seen {seen[file]}: {self._again}"
                )
        return seen

    def _digest(self, path: Path) -> str:
        value = hashlib.sha256()
        with path.open("rb") as file:
            while (chunk := file.read(CHUNK)) and not self._stop.is_set():
                value.update(chunk)
        return value.hexdigest()


def _walk(raw: Path) -> list[Path]:
    """All files below, in linked folders too; none with a name or folder that starts with a dot."""
    found = []
    for folder, folders, files in os.walk(raw, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [Path(folder, name) for name in files if name[0] != "."]
    return sorted(found)


def _named(source: Source) -> dict[str, str | None]:
    """File of the raw folder -> its sha256 in params.yaml; an archive without members is one."""
    named: dict[str, str | None] = {}
    for archive in source.archives:
        if not archive.members:
            named[archive.file] = archive.sha256
        for member, sha256 in archive.members.items():
            named[PurePosixPath(member).name] = sha256
    return named
