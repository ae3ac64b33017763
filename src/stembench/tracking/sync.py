"""Run files → MLflow. The files are the truth; the store is a picture of them.

`mlflow.db` and `mlartifacts/` can be deleted at any time: the next sync rebuilds them. One
experiment per suite, one run per cell, and one named `comparison` with the suite's tables, figures
and report. Nothing else writes to the store.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from stembench.errors import StembenchError
from stembench.tracking import views
from stembench.tracking.comparison import comparison_files
from stembench.tracking.files import scan

if TYPE_CHECKING:
    from stembench.tracking.store import Store

logger = logging.getLogger(__name__)

#: Seconds to wait for another process that writes to the store.
LOCK_TIMEOUT_S = 600.0
_PREFIX = "sqlite:///"


@dataclass
class SyncReport:
    """Counts of MLflow runs. All but `unchanged` and `running` are zero when nothing was to do."""

    #: Finished cells, or a comparison, that the store did not have.
    imported: int = 0
    #: Runs replaced because their files changed; running ones with new epochs or a new status.
    updated: int = 0
    unchanged: int = 0
    #: Runs whose files are gone.
    deleted: int = 0
    #: Cells being trained now.
    running: int = 0

    def __add__(self, other: SyncReport) -> SyncReport:
        return SyncReport(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in vars(self).items())


def init_database(uri: str) -> None:
    """Create the store at `uri` (sqlite:///mlflow.db), or bring it to the installed MLflow.

    Safe to call from several processes at once: MLflow's own migration is not. Costs nothing, not
    even the import of MLflow, once done. Raises StembenchError for another kind of address or a
    file that is not a store.
    """
    path = _database(uri)
    if _is_current(path):
        return
    with _lock(path):
        if _is_current(path):
            return
        from stembench.tracking.store import STORE_ERRORS, migrate

        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            migrate(path)
            with closing(sqlite3.connect(path)) as connection:
                connection.execute(f"PRAGMA user_version = {_installed()}")
        except STORE_ERRORS as error:
            raise StembenchError(
                f"{path} is not a store of MLflow {importlib.metadata.version('mlflow')} "
                f"({type(error).__name__}); delete it, `stembench track` rebuilds it from the runs"
            ) from error
        logger.info("tracking store %s is ready", path)


def sync(results_root: Path, uri: str, suites: list[str] | None = None) -> SyncReport:
    """Make the store at `uri` show what lies in `results_root`/<suite>.

    `suites`: those to look at, by default all. Idempotent; waits for another sync to end. A run
    whose files are damaged is skipped with a warning that names it. Raises StembenchError when the
    store is unusable or stays locked.
    """
    path = _database(uri)
    init_database(uri)
    from stembench.tracking.store import STORE_ERRORS, Store
    from stembench.tracking.suite import SuiteSync

    report = SyncReport()
    with _lock(path):
        try:
            store = Store(path)
            for suite in _suites(results_root, store) if suites is None else suites:
                report += SyncReport(**SuiteSync(store, suite, results_root / suite).run())
        except STORE_ERRORS as error:
            lines = str(error).strip().splitlines()
            raise StembenchError(
                f"the tracking store {path} refused ({lines[0] if lines else error!r}); if this "
                "stays, delete it and run `stembench track` again"
            ) from error
    return report


def watch(
    results_root: Path,
    uri: str,
    interval_s: float = 2.0,
    suites: list[str] | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Sync every `interval_s` seconds until `stop` is set or Ctrl-C.

    Looks at the files first and leaves the store alone while they are as they were. Rests at least
    five times as long as a sync took, so as to take little from a training on the same machine.
    """
    stop = stop or threading.Event()
    seen: str | None = None
    logger.info("watching %s", results_root)
    try:
        while not stop.is_set():
            started = time.monotonic()
            try:
                now = _fingerprint(results_root, suites)
                if now != seen or not _is_current(_database(uri)):
                    report = sync(results_root, uri, suites)
                    # New epochs alone come every few seconds.
                    news = seen is None or report.imported or report.deleted
                    logger.log(logging.INFO if news else logging.DEBUG, "%s", report)
                    seen = now
            except (StembenchError, OSError) as error:
                logger.warning("sync failed, trying again: %s", error)
            stop.wait(max(interval_s, 5 * (time.monotonic() - started)))
    except KeyboardInterrupt:
        pass
    logger.info("stopped watching %s", results_root)


def addresses(uri: str, base: str = "http://127.0.0.1:5000") -> dict[str, str]:
    """Where the UI at `base` shows the table of runs of each suite in the store."""
    path = _database(uri)
    if not _is_current(path):
        return {}
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT name, experiment_id FROM experiments JOIN experiment_tags "
            "USING (experiment_id) WHERE key = 'stembench.suite' AND lifecycle_stage = 'active' "
            "ORDER BY experiment_id"
        ).fetchall()
    return {name: views.address(str(number), base=base) for name, number in rows}


def _suites(results_root: Path, store: Store) -> list[str]:
    """Suites with files, and those the store still has: their runs may have to go."""
    found = {path.parent.name for path in results_root.glob("*/runs")}
    found |= {path.parent.name for path in results_root.glob("*/tables")}
    return sorted({name for name in found if not name.startswith(".")} | set(store.suites()))


def _fingerprint(results_root: Path, suites: list[str] | None) -> str:
    """A hash that changes when a file that a sync reads does, or when a training process ends."""
    names = suites or [path.name for path in sorted(results_root.glob("*")) if path.is_dir()]
    lines: list[str] = []
    for root in (results_root / name for name in names):
        finished, partial = scan(root)
        files = [cell.path / "run.json" for cell in finished] + comparison_files(root)
        for attempt in partial:
            lines.append(f"{attempt.path} {attempt.alive(None)}")
            files += [attempt.path / "spec.json", attempt.path / "history.csv"]
        for path in files:
            try:
                state = path.stat()
                lines.append(f"{path} {state.st_mtime_ns} {state.st_size}")
            except FileNotFoundError:
                lines.append(f"{path} gone")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _database(uri: str) -> Path:
    if not uri.startswith(_PREFIX) or uri == _PREFIX:
        raise StembenchError(f"the tracking store must be sqlite:///FILE, not {uri!r}")
    return Path(uri.removeprefix(_PREFIX))


def _installed() -> int:
    """The installed MLflow's version as one integer: 3.17.2 → 3017002."""
    major, minor, micro = importlib.metadata.version("mlflow").split(".")[:3]
    digits = re.match(r"\d+", micro)
    return int(major) * 10**6 + int(minor) * 10**3 + (int(digits[0]) if digits else 0)


def _is_current(path: Path) -> bool:
    """Whether the installed MLflow's migrations are all done: their version is stamped on it."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(path)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError:
        return False
    return bool(version == _installed())


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    lock = FileLock(f"{path}.lock", timeout=LOCK_TIMEOUT_S)
    try:
        lock.acquire()
    except Timeout:
        raise StembenchError(
            f"{lock.lock_file} is held by another process; end it (`make ui` starts one) and try "
            "again"
        ) from None
    try:
        yield
    finally:
        lock.release()
