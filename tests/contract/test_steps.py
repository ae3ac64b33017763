"""A training step asks the device for no value: on a GPU it would wait for one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stembench import objectives
from stembench.models.base import MultiTask
from stembench.training.build import build
from stembench.training.optimizer import Optimizer
from tests.conftest import make_fields, make_schema
from tests.contract.test_models import MODELS, SETTINGS, some_tasks, tiny_spec

#: Operators whose result's value or shape the host has to know before it can go on.
WAITING = {
    "aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal",
    "aten::masked_select", "aten::_unique2", "aten::unique_dim", "aten::_coalesce",
}  # fmt: skip


class Operators(TorchDispatchMode):
    """Names of the operators that run inside."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.names.add(func.name().split(".")[0])
        return func(*args, **(kwargs or {}))


def operators_of_a_step(model: str, **train: Any) -> set[str]:
    schema, spec = make_schema(some_tasks(model)), tiny_spec(model, **train)
    network = build(schema, spec)
    assert isinstance(network, MultiTask)
    optimizer = Optimizer(network, spec["train"])
    fields = torch.from_numpy(make_fields(schema, 32))
    labels = torch.randint(0, 2, (32, schema.num_tasks)).float()
    objective = objectives.build(spec, schema.tasks, network, fields[:8])
    network.train()
    with Operators() as found:
        optimizer.zero_grad()
        objective.backward(fields, labels)
        optimizer.step()
        objective.after_step(fields, labels)
    return found.names


@pytest.mark.parametrize("model", MODELS)
def test_a_step_waits_for_nothing(model: str) -> None:
    if SETTINGS.objective_of(SETTINGS.select("demo"), model).class_.startswith("gradients."):
        pytest.skip("gradient methods find their weights on the host, once a step")
    assert not operators_of_a_step(model, embedding_optimizer="dense") & WAITING


def test_rows_wait_for_their_number() -> None:
    assert operators_of_a_step("stem", embedding_optimizer="rows") & WAITING == {"aten::_coalesce"}
