"""Progress of long work: a bar with rate and time left on a terminal, plain lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from rich.progress import Progress

logger = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0

Unit = Literal["bytes", "rows", "batches"]


class Bar:
    """Counts bytes, rows or batches towards `total` (0: unknown) and tells rate and time left.

    What is there from before (`start`) is no part of the rate. In a log, bytes and rows get a line
    every ten seconds; batches get none, as each epoch has a line of its own (`say`).
    """

    def __init__(self, name: str, total: int, unit: Unit = "bytes", start: int = 0) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.start = self.done = start
        self._started = self._told = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            self._bar = _bar(unit)
            self._task = self._bar.add_task(name, total=total or None, completed=start, rate="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, size: int = 1) -> None:
        """`size` more bytes, rows or batches are done."""
        self.done += size
        if self._bar is not None:
            self._bar.advance(self._task, size)
            if self.unit == "rows":
                speed = self._bar.tasks[self._task].speed or 0
                self._bar.update(self._task, rate=f"{self.done:,} rows, {speed:,.0f} rows/s")
            return
        if self.unit == "batches":
            return
        now = time.monotonic()
        if now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            logger.info("%s", self.line(now - self._started))

    def say(self, line: str, name: str, rate: str) -> None:
        """A line above the bar or in the log; then the bar goes on under `name` at `rate`."""
        if self._bar is None:
            logger.info(line)
            return
        self._bar.console.print(line, highlight=False)
        self._bar.update(self._task, description=name, rate=rate)

    def line(self, seconds: float) -> str:
        """Megabytes or rows done, rate and time left after `seconds`."""
        rate = (self.done - self.start) / max(seconds, 1e-9)
        if self.unit == "bytes":
            done, total = f"{self.done / 1e6:.0f}", f"{self.total / 1e6:.0f} MB"
            speed, unit = f"{rate / 1e6:.1f} MB/s", " MB"
        else:
            done, total = f"{self.done:,}", f"{self.total:,} {self.unit}"
            speed, unit = f"{rate:,.0f} {self.unit}/s", f" {self.unit}"
        if not self.total:
            return f"{self.name}: {done}{unit}, {speed}"
        left = (self.total - self.done) / max(rate, 1e-9)
        return f"{self.name}: {done} of {total}, {speed}, {left:.0f} s left"


def _bar(unit: Unit) -> Progress:
    """The bar of a terminal. The time left of batches is at most that: training may stop early."""
    # Imported here: most processes write to a log.
    from rich import progress
    from rich.console import Console

    columns: dict[Unit, list[progress.ProgressColumn]] = {
        "bytes": [progress.DownloadColumn(), progress.TransferSpeedColumn()],
        "rows": [progress.TextColumn("{task.fields[rate]}")],
        "batches": [progress.TextColumn("{task.fields[rate]}"), progress.TextColumn("at most")],
    }
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        *columns[unit],
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
