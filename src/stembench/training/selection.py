"""Which epoch's weights are kept: by the validation AUC averaged over tasks, or task by task.

`mean`: one checkpoint, the epoch with the best mean, as in the code released with STEM. `task`: one
checkpoint a task, each at its own best epoch. Either rule stops when none of what it watches has
improved for `patience` epochs. One training can serve both: it goes on until both have stopped, and
a rule that has stopped sees no later epoch, so that it keeps what it would have kept alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stembench.training.checkpoints import Checkpoint

Rule = Literal["mean", "task"]


@dataclass(frozen=True)
class Choice:
    """What a rule kept: by task, the epoch (1-based) and its weights; epochs it needed to see."""

    rule: Rule
    epochs: tuple[int, ...]
    weights: tuple[Checkpoint, ...]
    epochs_run: int
    stopped: Literal["early", "max_epochs"]

    @property
    def best_epoch(self) -> int:
        """The last epoch that any task's weights are from."""
        return max(self.epochs)


class Selection:
    """The rules of one training, the first of them the suite's own."""

    def __init__(self, settings: dict[str, Any], patience: int, tasks: int) -> None:
        first: Rule = settings["over"]
        other: Rule = "task" if first == "mean" else "mean"
        rules = (first, other) if settings["both"] else (first,)
        self._trackers = [_Tracker(rule, patience, tasks) for rule in rules]

    def update(self, epoch: int, aucs: Sequence[float], snapshot: Callable[[], Checkpoint]) -> bool:
        """Take in the validation AUCs (T,) of an epoch; returns whether all rules have stopped.

        `snapshot` keeps the model's state; it is called at most once, when some rule keeps it.
        """
        kept: list[Checkpoint] = []

        def once() -> Checkpoint:
            if not kept:
                kept.append(snapshot())
            return kept[0]

        for tracker in self._trackers:
            tracker.update(epoch, aucs, once)
        return all(tracker.stopped_at for tracker in self._trackers)

    def kept(self) -> set[Checkpoint]:
        """The checkpoints that some rule may still choose."""
        return {each for tracker in self._trackers for each in tracker.kept()}

    def choices(self) -> dict[Rule, Choice]:
        """What each rule kept, the suite's own first."""
        return {tracker.rule: tracker.choice() for tracker in self._trackers}


class _Tracker:
    """One rule as the training goes. `mean` watches one value, `task` one a task."""

    def __init__(self, rule: Rule, patience: int, tasks: int) -> None:
        self.rule, self._patience, self._tasks = rule, patience, tasks
        watched = 1 if rule == "mean" else tasks
        self._best = [-np.inf] * watched
        self._epochs = [0] * watched
        self._weights: list[Checkpoint | None] = [None] * watched
        self._seen = 0
        self.stopped_at: int | None = None

    def update(self, epoch: int, aucs: Sequence[float], snapshot: Callable[[], Checkpoint]) -> None:
        if self.stopped_at:
            return
        self._seen = epoch
        for i, value in enumerate([float(np.mean(aucs))] if self.rule == "mean" else aucs):
            if value > self._best[i]:
                self._best[i], self._epochs[i], self._weights[i] = value, epoch, snapshot()
        if epoch - max(self._epochs) >= self._patience:
            self.stopped_at = epoch

    def kept(self) -> list[Checkpoint]:
        return [each for each in self._weights if each is not None]

    def choice(self) -> Choice:
        every = self._tasks if self.rule == "mean" else 1
        return Choice(
            self.rule,
            tuple(self._epochs * every),
            tuple(self.kept() * every),
            self._seen,
            "early" if self.stopped_at else "max_epochs",
        )
