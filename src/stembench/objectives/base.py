"""What an objective is: it turns the T losses of a batch into one gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stembench.errors import StembenchError

#: Logits and labels, both (B, T), to one loss a task (T,).
Losses = Callable[[Tensor, Tensor], Tensor]


def task_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross entropy of each task, (B, T) to (T,)."""
    losses = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return losses.mean(0)


def bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over tasks of the mean binary cross entropy; both (B, T)."""
    return task_bce(logits, labels).sum()


def losses_of(model: nn.Module) -> Losses | None:
    """The model's losses, one a task; None if its loss is its own and not such a sum.

    A model with a loss of its own that is a sum of one loss a task says so by a method
    `task_losses(logits, labels) -> (T,)`.
    """
    if hasattr(model, "task_losses"):
        found: Any = model.task_losses
        return cast(Losses, found)
    return None if hasattr(model, "loss") else task_bce


class Objective:
    """The plain sum of the losses, and the frame of the others.

    The training calls, for each batch, `backward` (which leaves gradients in `.grad`), its own
    penalty, clip and optimiser step, then `after_step`; at the end of each epoch, `end_epoch`.
    Weights w_t are those of the gradients: the parameters move along sum_t w_t grad L_t. They are
    scaled to sum to T wherever the method leaves their scale open, so that the learning rate, the
    penalty on the tables and the clip mean the same under every objective.
    """

    #: Whether the mean weights of each epoch are worth a column in history.csv.
    weighs = True
    #: Whether the tasks' gradients are taken one by one, from the graph of the forward pass.
    by_task = False

    def __init__(self, tasks: Sequence[str]) -> None:
        self.tasks = tuple(tasks)
        self._sum = np.zeros(len(self.tasks))
        self._steps = 0

    def bind(self, model: nn.Module, fields: Tensor, generator: torch.Generator) -> None:
        """Take the model; `fields` (b, C) are some rows for it, `generator` the run's own stream.

        Raises StembenchError when the objective makes no sense for the model.
        """
        losses = losses_of(model)
        if losses is None:
            raise StembenchError(
                f"the objective {type(self).__name__} weighs the losses of the tasks, but "
                f"{type(model).__name__} has a loss of its own that is no sum of one loss a task: "
                f"use the objective equal"
            )
        if len(self.tasks) < 2:
            raise StembenchError(
                f"the objective {type(self).__name__} weighs tasks against each other, and there "
                f"is only one: use the objective equal"
            )
        self.model, self.losses, self.generator = model, losses, generator
        self.device = fields.device

    def backward(self, fields: Tensor, labels: Tensor) -> Tensor:
        """Gradients of one batch into `.grad`, which is empty before; returns the detached sum of
        the unweighted losses."""
        raise NotImplementedError

    def after_step(self, fields: Tensor, labels: Tensor) -> None:
        """Learn from the step just made."""

    def end_epoch(self) -> dict[str, float]:
        """Mean weight of each task over the epoch's steps."""
        mean = self._sum / max(self._steps, 1)
        self._sum, self._steps = np.zeros(len(self.tasks)), 0
        return dict(zip(self.tasks, mean.tolist(), strict=True))

    def state_bytes(self) -> int:
        """Memory of what the objective keeps between steps."""
        return 0

    def _note(self, weights: NDArray[np.float64]) -> None:
        self._sum += weights
        self._steps += 1
