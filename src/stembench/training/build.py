"""A model from the spec of a run."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from stembench.data.batches import stream
from stembench.data.schema import Schema


def build(schema: Schema, spec: dict[str, Any]) -> nn.Module:
    """The model of a run's spec, its weights drawn from the run's `init` stream."""
    module, name = spec["class"].split(".")
    architecture = getattr(importlib.import_module(f"stembench.models.{module}"), name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(spec["seed"], "init").initial_seed())
        model: nn.Module = architecture(schema, **spec["args"])
    return model
