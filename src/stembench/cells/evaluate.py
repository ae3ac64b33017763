"""The only reader of the test part, and of the part with randomly exposed items beside it.

Called once per run, after `training.fit` has chosen its epochs on the validation part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stembench import metrics
from stembench.data.batches import Batches
from stembench.data.directory import Part, SplitDirectory
from stembench.training.predict import predict
from stembench.training.selection import Choice, Rule

TaskMetrics = dict[str, dict[str, Any]]
#: By selection rule: metrics per task and the logits (N, T) of one part.
Readings = dict[Rule, tuple[TaskMetrics, NDArray[np.float32]]]


def evaluate(
    model: nn.Module,
    choices: Mapping[Rule, Choice],
    part: Part,
    tasks: tuple[str, ...],
    batch_size: int,
    device: torch.device,
) -> Readings:
    """Every rule's reading of one part; the model is left with the weights of the last one."""
    batches = Batches(part, batch_size, device)
    found: Readings = {}
    by_epoch: dict[int, NDArray[np.float32]] = {}  # rules may have kept the same weights
    for rule, choice in choices.items():
        for epoch, weights in zip(choice.epochs, choice.weights, strict=True):
            if epoch not in by_epoch:
                weights.load_into(model)
                by_epoch[epoch] = predict(model, batches)
        columns = [by_epoch[epoch][:, t] for t, epoch in enumerate(choice.epochs)]
        logits = np.stack(columns, axis=1)
        measured = {
            task: metrics.evaluate_task(part.labels[:, t], logits[:, t], part.users)
            for t, task in enumerate(tasks)
        }
        found[rule] = measured, logits
    return found


def evaluate_test(
    model: nn.Module,
    choices: Mapping[Rule, Choice],
    split: SplitDirectory,
    batch_size: int,
    device: torch.device,
) -> Readings:
    """Every rule's reading of the test part, which is read this once."""
    return evaluate(model, choices, split.part("test"), split.schema.tasks, batch_size, device)


def evaluate_unbiased(
    model: nn.Module, choice: Choice, split: SplitDirectory, batch_size: int, device: torch.device
) -> tuple[TaskMetrics, NDArray[np.float32]]:
    """Metrics per task and the logits on randomly exposed items, where the split has them.

    No recommender chose these rows, so that they show what a model does away from its policy. Read
    by the spec's own selection rule.
    """
    part = split.part("unbiased")
    found = evaluate(model, {choice.rule: choice}, part, split.schema.tasks, batch_size, device)
    return found[choice.rule]
