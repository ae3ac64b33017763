"""Progress of a long transfer: a bar on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Self

from rich import progress as bars
from rich.console import Console

logger = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts bytes towards `total` (0: unknown) and tells rate and time left.

    `start` bytes are there from before: they are no part of the rate.
    """

    def __init__(self, name: str, total: int, start: int = 0) -> None:
        self.name, self.total, self.start, self.done = name, total, start, start
        self._started = self._told = time.monotonic()
        self._bar: bars.Progress | None = None
        if sys.stderr.isatty():
            self._bar = bars.Progress(
                bars.TextColumn("{task.description}"),
                bars.BarColumn(),
                bars.DownloadColumn(),
                bars.TransferSpeedColumn(),
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
        """`size` more bytes have come."""
        self.done += size
        if self._bar is not None:
            self._bar.advance(self._task, size)
            return
        now = time.monotonic()
        if now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            logger.info("%s", self.line(now - self._started))

    def line(self, seconds: float) -> str:
        """Megabytes done, rate and time left after `seconds`."""
        rate = (self.done - self.start) / max(seconds, 1e-9)
        text = f"{self.name}: {self.done / 1e6:.0f}"
        if not self.total:
            return f"{text} MB, {rate / 1e6:.1f} MB/s"
        left = (self.total - self.done) / max(rate, 1e-9)
        return f"{text} of {self.total / 1e6:.0f} MB, {rate / 1e6:.1f} MB/s, {left:.0f} s left"
