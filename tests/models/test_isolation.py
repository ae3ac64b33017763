"""Which loss reaches which parameters: STEM's all-forward, task-specific-backward gates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stembench.models.mmoe import MMoE
from stembench.models.single_task import SingleTask
from stembench.models.stem import STEM
from tests.conftest import make_fields, make_schema

WIDTH = 4


def small(architecture: type[nn.Module], tasks: int) -> nn.Module:
    torch.manual_seed(0)
    units = {"tower_units": [5]}
    if architecture is STEM:
        units |= {"expert_units": [8], "gate_units": [6], "num_shared_experts": 2}
    elif architecture is MMoE:
        units |= {"expert_units": [8], "gate_units": [6], "num_experts": 3}
    else:
        units |= {"bottom_units": [8]}
    network = architecture(make_schema(tasks), embedding_dim=WIDTH, **units)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network


def embedding_gradients(network: nn.Module, task: int) -> list[Tensor]:
    """Gradient of one task's loss on each copy of the embedding tables."""
    schema = make_schema(len(network.towers))
    logits = network(torch.from_numpy(make_fields(schema, 200)))
    network.zero_grad()
    logits[:, task].square().sum().backward()
    return list(network.embeddings.weight.grad.split(WIDTH, dim=1))


@pytest.mark.parametrize("tasks", [1, 2, 4])
def test_stem_loss_reaches_its_own_and_the_shared_table_and_no_other(tasks: int) -> None:
    network = small(STEM, tasks)
    for task in range(tasks):
        *own, shared = embedding_gradients(network, task)
        assert shared.abs().sum() > 0
        for other in range(tasks):
            if other == task:
                assert own[other].abs().sum() > 0
            else:
                assert own[other].count_nonzero() == 0


def test_stem_loss_reaches_no_expert_gate_or_tower_of_another_task() -> None:
    network = small(STEM, 3)
    embedding_gradients(network, 1)
    for other in (0, 2):
        for module in (
            network.layers[0].specific[other],
            network.layers[0].gates[other],
            network.towers[other],
        ):
            for parameter in module.parameters():
                assert parameter.grad is None or parameter.grad.count_nonzero() == 0
    for module in (
        network.layers[0].specific[1],
        network.layers[0].shared,
        network.layers[0].gates[1],
        network.towers[1],
    ):
        assert all(p.grad.abs().sum() > 0 for p in module.parameters())


def test_stem_forward_uses_the_experts_of_all_tasks() -> None:
    network = small(STEM, 2)
    fields = torch.from_numpy(make_fields(make_schema(2), 50))
    before = network(fields)
    with torch.no_grad():
        for parameter in network.layers[0].specific[1].parameters():
            parameter.add_(0.5)
    assert (network(fields)[:, 0] - before[:, 0]).abs().max() > 1e-3


def test_without_the_stop_gradient_the_loss_would_reach_the_other_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Tensor, "detach", lambda self: self)
    own = embedding_gradients(small(STEM, 2), 0)
    assert own[1].abs().sum() > 0


def test_single_task_shares_nothing_and_mmoe_shares_its_table() -> None:
    first, second = embedding_gradients(small(SingleTask, 2), 0)
    assert first.abs().sum() > 0
    assert second.count_nonzero() == 0
    (table,) = embedding_gradients(small(MMoE, 2), 0)
    assert table.abs().sum() > 0
