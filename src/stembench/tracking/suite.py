"""One suite's files against its experiment: what to write, to replace and to delete."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from pathlib import Path

from stembench.errors import StembenchError
from stembench.tracking.comparison import comparison_sha256, read_comparison
from stembench.tracking.files import (
    PROJECTION,
    PartialDirectory,
    Record,
    RunDirectory,
    read_cell,
    read_partial,
    scan,
)
from stembench.tracking.store import Store, StoredRun

logger = logging.getLogger(__name__)


class SuiteSync:
    """One pass over results/<suite>.

    A stored run is finished, an attempt (a cell being trained, or whose training ended without a
    result; it has the tag stembench.partial), or was cut off while being written.
    """

    def __init__(self, store: Store, suite: str, root: Path) -> None:
        self._store = store
        self._suite = suite
        self._root = root
        self._experiment = store.experiment(suite)
        self._finished: dict[str, StoredRun] = {}
        self._attempts: dict[str, StoredRun] = {}
        self._comparison: StoredRun | None = None
        #: Data set, model and metrics of every finished cell.
        self._cells: dict[str, tuple[str, str, dict[str, float]]] = {}
        self._counts: Counter[str] = Counter()

    def run(self) -> dict[str, int]:
        """Do it; the counts of SyncReport by name."""
        cells, partials = scan(self._root)
        self._read_store()
        for cell in cells:
            self._sync_cell(cell)
        for key, gone in self._finished.items():
            self._store.delete(gone)
            del self._cells[key]
            self._counts["deleted"] += 1
        finished = {cell.key for cell in cells}
        for partial in partials:
            self._sync_partial(partial, partial.key in finished)
        for attempt in self._attempts.values():
            self._end_attempt(attempt, finished)
        self._sync_comparison()
        self._store.describe(self._experiment, self._suite, list(self._cells.values()))
        return dict(self._counts)

    def _read_store(self) -> None:
        for run in self._store.runs(self._experiment):
            kind, key = run.tags.get("kind"), run.tags.get("stembench.key", "")
            if kind == "cell" and run.finished and key not in self._finished:
                self._finished[key] = run
                self._cells[key] = (run.tags["dataset"], run.tags["model"], run.metrics)
            elif "stembench.partial" in run.tags and not run.finished:
                self._attempts[run.run_id] = run
            elif kind == "comparison" and run.finished and self._comparison is None:
                self._comparison = run
            else:
                self._store.delete(run)  # cut off, or a double

    def _sync_cell(self, cell: RunDirectory) -> None:
        known = self._finished.pop(cell.key, None)
        try:
            sha256 = hashlib.sha256((cell.path / "run.json").read_bytes()).hexdigest()
            if _shows(known, sha256):
                self._counts["unchanged"] += 1
                return
            record = read_cell(self._suite, cell)
        except (StembenchError, OSError) as error:
            # Its former run, if any, stays: it says more than none.
            logger.warning("skipped: %s", error)
            return
        attempt = self._attempt_of(cell, record)
        self._store.write(self._experiment, record, attempt)
        if attempt is not None:
            del self._attempts[attempt.run_id]
        if known is not None:
            # Learning curves cannot be taken back, so that a retrained cell is a new run.
            self._store.delete(known)
        self._counts["updated" if known else "imported"] += 1
        self._cells[cell.key] = (cell.dataset, cell.model, record.metrics)

    def _attempt_of(self, cell: RunDirectory, record: Record) -> StoredRun | None:
        """The stored attempt that became this cell: the same spec, and its curves begin alike."""
        fits = [
            run
            for run in self._attempts.values()
            if run.tags["stembench.key"] == cell.key
            and run.tags["spec_sha256"] == record.tags["spec_sha256"]
            and not (self._root / "runs" / run.tags["stembench.partial"]).exists()
            and _begins(run, record)
        ]
        return max(fits, key=lambda run: run.tags["stembench.started_at"], default=None)

    def _sync_partial(self, partial: PartialDirectory, has_result: bool) -> None:
        found = read_partial(self._suite, partial)
        if found is None:
            # It has just begun, or is about to be renamed: its run stays as it is.
            for run in list(self._attempts.values()):
                if run.tags["stembench.partial"] == partial.name:
                    del self._attempts[run.run_id]
            return
        record, host = found
        alive = partial.alive(host)
        if has_result and not alive:
            return  # left over from a killed training, and made good since
        stored = next(
            (
                run
                for run in self._attempts.values()
                if run.tags["stembench.partial"] == record.tags["stembench.partial"]
                and run.tags["stembench.started_at"] == record.tags["stembench.started_at"]
            ),
            None,
        )
        run_id, changed = self._store.follow(self._experiment, record, stored)
        status = "RUNNING" if alive else "KILLED"
        if (stored.status if stored else "RUNNING") != status:
            self._store.set_status(run_id, status)
            changed = True
            if not alive:
                logger.warning("killed: %s (no process %d)", partial.path, partial.pid)
        self._attempts.pop(run_id, None)
        self._counts["updated"] += changed
        self._counts["running"] += alive

    def _end_attempt(self, attempt: StoredRun, finished: set[str]) -> None:
        """An attempt whose directory is gone, and which did not become a result."""
        if attempt.tags["stembench.key"] in finished:
            self._store.delete(attempt)
            self._counts["deleted"] += 1
        elif attempt.status == "RUNNING":
            self._store.set_status(attempt.run_id, "KILLED")
            self._counts["updated"] += 1

    def _sync_comparison(self) -> None:
        known = self._comparison
        sha256 = comparison_sha256(self._root)
        if sha256 is None:
            if known is not None:
                self._store.delete(known)
                self._counts["deleted"] += 1
            return
        if _shows(known, sha256):
            self._counts["unchanged"] += 1
            return
        try:
            self._store.write(self._experiment, read_comparison(self._suite, self._root, sha256))
        except (StembenchError, FileNotFoundError) as error:
            logger.warning("skipped: %s", error)
            return
        if known is not None:
            self._store.delete(known)
        self._counts["updated" if known else "imported"] += 1


def _shows(run: StoredRun | None, sha256: str) -> bool:
    """Whether the stored run shows these files, as this version of the records has them."""
    return (
        run is not None
        and run.tags["content_sha256"] == sha256
        and run.tags.get("stembench.projection") == PROJECTION
    )


def _begins(run: StoredRun, record: Record) -> bool:
    """Whether the epochs that `run` has are the first ones of `record`."""
    if run.epochs == 0:
        return True
    if run.epochs > len(record.epochs):
        return False
    values = record.epochs[run.epochs - 1].values
    return all(run.metrics.get(name) == value for name, value in values.items())
