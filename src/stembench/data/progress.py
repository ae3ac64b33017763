"""Progress of a long transfer or pass over rows: a bar on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Literal, Self

from rich import progress as bars
from rich.console import Console
from rich.text import Text

logger = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0


class _Rows(bars.ProgressColumn):
    """Rows done and their rate."""

    def render(self, task: bars.Task) -> Text:
        return Text(f"{task.completed:,.0f} rows, {task.speed or 0:,.0f} rows/s")


class Progress:
    """Counts bytes or rows towards `total` (0: unknown) and tells rate and time left.

    What is there from before (`start`) is no part of the rate.
    """

    def __init__(
        self, name: str, total: int, start: int = 0, unit: Literal["bytes", "rows"] = "bytes"
    ) -> None:
        self.name, self.total, self.start, self.done, self.unit = name, total, start, start, unit
        self._started = self._told = time.monotonic()
        self._bar: bars.Progress | None = None
        if sys.stderr.isatty():
            self._bar = bars.Progress(
                bars.TextColumn("{task.description}"),
                bars.BarColumn(),
                *([_Rows()] if unit == "rows" else []),
                *([] if unit == "rows" else [bars.DownloadColumn(), bars.TransferSpeedColumn()]),
                bars.TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(name, total=total or None, completed=start)

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

    def advance(self, size: int) -> None:
        """`size` more bytes or rows are done."""
        self.done += size
        if self._bar is not None:
            self._bar.advance(self._task, size)
            return
        now = time.monotonic()
        if now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            logger.info("%s", self.line(now - self._started))

    def line(self, seconds: float) -> str:
        """Megabytes or rows done, rate and time left after `seconds`."""
        rate = (self.done - self.start) / max(seconds, 1e-9)
        if self.unit == "bytes":
            done, total = f"{self.done / 1e6:.0f}", f"{self.total / 1e6:.0f} MB"
            speed, unit = f"{rate / 1e6:.1f} MB/s", " MB"
        else:
            done, total = f"{self.done:,}", f"{self.total:,} rows"
            speed, unit = f"{rate:,.0f} rows/s", " rows"
        if not self.total:
            return f"{self.name}: {done}{unit}, {speed}"
        left = (self.total - self.done) / max(rate, 1e-9)
        return f"{self.name}: {done} of {total}, {speed}, {left:.0f} s left"
