"""The only reader of the test part, and of the part with randomly exposed items beside it.

Called once per run, after `training.fit` has chosen the epoch on the validation part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stembench import metrics
from stembench.data.batches import Batches
from stembench.data.splits import Part, SplitDirectory
from stembench.training import predict

TaskMetrics = dict[str, dict[str, Any]]


def evaluate(
    model: nn.Module, part: Part, tasks: tuple[str, ...], batch_size: int, device: torch.device
) -> tuple[TaskMetrics, NDArray[np.float32]]:
    """Metrics per task and the logits (N, T) of one part."""
    logits = predict(model, Batches(part, batch_size, device))
    found = {
        task: metrics.evaluate_task(part.labels[:, t], logits[:, t], part.users)
        for t, task in enumerate(tasks)
    }
    return found, logits


def evaluate_test(
    model: nn.Module, split: SplitDirectory, batch_size: int, device: torch.device
) -> tuple[TaskMetrics, NDArray[np.float32]]:
    """Metrics per task and the logits of the test part."""
    return evaluate(model, split.part("test"), split.schema.tasks, batch_size, device)


def evaluate_unbiased(
    model: nn.Module, split: SplitDirectory, batch_size: int, device: torch.device
) -> tuple[TaskMetrics, NDArray[np.float32]]:
    """Metrics per task and the logits on randomly exposed items, where the split has them.

    No recommender chose these rows, so that they show what a model does away from its policy.
    """
    return evaluate(model, split.part("unbiased"), split.schema.tasks, batch_size, device)
