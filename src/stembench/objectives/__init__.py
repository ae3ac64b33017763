"""Objectives: how the losses of the tasks become one gradient. Named `<file>.<Class>` in
params.yaml; a new one is a class here and an entry there."""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor, nn

from stembench.data.batches import stream
from stembench.objectives.base import Objective, bce, losses_of, task_bce

__all__ = ["Objective", "bce", "build", "losses_of", "task_bce"]


def build(
    spec: dict[str, Any], tasks: tuple[str, ...], model: nn.Module, rows: Tensor
) -> Objective:
    """The objective of a run's spec, bound to its model; `rows` (b, C) are a few rows of fields.

    Its random numbers come from the run's `objective` stream. Raises StembenchError when the
    combination makes no sense.
    """
    module, name = spec["objective"]["class"].split(".")
    cls = getattr(importlib.import_module(f"stembench.objectives.{module}"), name)
    objective: Objective = cls(tasks, **spec["objective"]["args"])
    objective.bind(model, rows, stream(spec["seed"], "objective"))
    return objective
