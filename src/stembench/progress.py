"""Progress of long work: a bar with rate and ETA on a terminal, plain lines in a log."""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Self

logger = logging.getLogger(__name__)


class Progress:
    """Training progress over `epochs` of `steps` batches.

    The ETA is that of all epochs, an upper bound: early stopping ends sooner.
    """

    def __init__(self, epochs: int, steps: int) -> None:
        self.epochs, self.steps = epochs, steps
        self._bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[rate]}"),
                TextColumn("at most"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("epoch 1", total=epochs * steps, rate="")

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

    def step(self, rows: int) -> None:
        """One batch is done."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def epoch(self, epoch: int, loss: float, auc: float, rate: float) -> None:
        """One epoch is done, at `rate` rows per second."""
        line = (
            f"epoch {epoch}/{self.epochs}  loss {loss:.5f}  valid auc {auc:.5f}  {rate:,.0f} rows/s"
        )
        if self._bar is None:
            logger.info(line)
        else:
            self._bar.console.print(line, highlight=False)  # above the bar
            self._bar.update(
                self._task,
                description=f"epoch {min(epoch + 1, self.epochs)}/{self.epochs}",
                rate=f"{rate:,.0f} rows/s",
            )
