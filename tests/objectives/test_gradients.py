"""Gradient methods: who gets which combination, and where they lead on a known front."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from stembench.errors import StembenchError
from stembench.models.embeddings import EmbeddingBank
from stembench.objectives import build as build_objective
from stembench.objectives import gradients, shared, solvers, task_bce
from stembench.objectives.base import Objective, bce, losses_of
from stembench.objectives.equal import Equal
from stembench.objectives.shared import reach, readers
from stembench.training.build import build
from tests.conftest import make_fields, make_schema
from tests.contract.test_models import MODELS, demo_spec
from tests.models.sharing import shared_parameters
from tests.objectives.quadratic import Point, descend

TASKS = ("a", "b")
METHODS = [
    gradients.MGDA, gradients.PCGrad, gradients.CAGrad, gradients.NashMTL, gradients.FairGrad,
    gradients.AlignedMTL, gradients.GradNorm,
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_descent_ends_on_the_pareto_front(method: type[Objective]) -> None:
    """The front is the segment between the minima (-1, 0) and (1, 0), whatever the scales."""
    x = descend(method(TASKS), Point((0.4, 3.0), steep=(1.0, 5.0)), 250, lr=0.04)
    assert x[1].item() == pytest.approx(0.0, abs=1e-2)
    assert -1.001 <= x[0].item() <= 1.001


@pytest.mark.parametrize("first", [0.5, 0.4999, 0.49, 0.3, 0.0])
def test_weights_that_cancel_are_not_blown_up(first: float) -> None:
    """Two opposite gradients, almost of one length: the step goes to zero as their sum does."""
    used = gradients._to_tasks(np.array([0.5, -first]))
    assert np.abs(used).max() <= 2 + 1e-12
    assert used.sum() == pytest.approx(2 * ((0.5 - first) / (0.5 + first)) ** 2)
    assert gradients._to_tasks(np.array([0.1, 0.3])).tolist() == pytest.approx([0.5, 1.5])


def test_mgda_moves_along_the_common_descent_direction() -> None:
    # At (0, y) with equal scales the min-norm direction is (0, y), and the two weights are equal.
    model = Point((0.0, 2.0))
    x = descend(gradients.MGDA(TASKS), model, 1, lr=0.1)
    assert x.tolist() == pytest.approx([0.0, 2.0 - 0.1 * 2 * 2.0], abs=1e-6)
    # On the front nothing moves.
    x = descend(gradients.MGDA(TASKS), Point((0.25, 0.0)), 50, lr=0.1)
    assert x.tolist() == pytest.approx([0.25, 0.0], abs=1e-6)


def test_nash_ignores_the_scales_of_the_losses() -> None:
    plain = descend(gradients.NashMTL(TASKS), Point((0.4, 3.0)), 1)
    scaled = descend(gradients.NashMTL(TASKS), Point((0.4, 3.0), steep=(1.0, 50.0)), 1)
    step, other = (torch.tensor([0.4, 3.0]) - x for x in (plain, scaled))
    assert nn.functional.cosine_similarity(step, other, dim=0).item() == pytest.approx(1, abs=1e-6)


def test_gradnorm_first_step_by_hand() -> None:
    objective = gradients.GradNorm(TASKS, alpha=1.0, lr=0.1)
    used = objective._weights(np.diag([4.0, 1.0]), np.array([1.0, 1.0]))
    assert used.tolist() == [1.0, 1.0]
    # norms 2 and 1, both rates 1, target 1.5: task a must fall, task b rise; Adam's first step is
    # lr each, and the sum stays T.
    assert objective.weights.tolist() == pytest.approx([0.9, 1.1], abs=1e-6)
    # Task b has not learnt: its rate is above the mean, its target too.
    objective._weights(np.diag([1.0, 1.0]), np.array([0.1, 1.0]))
    assert objective.weights[1] > 1.1


def network(model: str, tasks: int = 2) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    schema = make_schema(tasks)
    found = build(schema, demo_spec(model))
    torch.manual_seed(0)
    for parameter in found.parameters():
        nn.init.normal_(parameter, std=0.3)
    fields = torch.from_numpy(make_fields(schema, 96))
    labels = torch.randint(0, 2, (96, tasks), generator=torch.Generator().manual_seed(1)).float()
    return found, fields, labels


def names_of(model: nn.Module, parameters: list[nn.Parameter]) -> set[str]:
    return {n.split(".")[0] for n, p in model.named_parameters() if any(p is q for q in parameters)}


@pytest.mark.parametrize("tasks", [2, 3])
def test_shared_parameters_are_found_by_asking_the_graph(tasks: int) -> None:
    model, fields, _ = network("shared_bottom", tasks)
    found = reach(model, task_bce, fields, tasks)
    assert names_of(model, found.shared) == {"bottom"}
    for t, own in enumerate(found.own):
        assert {id(p) for p in own} == {id(p) for p in model.towers[t].parameters()}
    assert [id(t) for t in found.tables] == [id(model.embeddings.weight)]
    model, fields, _ = network("single_task", tasks)
    assert reach(model, task_bce, fields, tasks).shared == []
    names = make_schema(tasks).tasks
    assert list(readers(model, task_bce, fields, names).values()) == [{name} for name in names]


def test_stop_gradients_decide_who_shares() -> None:
    model, fields, _ = network("stem")
    names = make_schema(2).tasks
    by_copy = readers(model, task_bce, fields, names)
    assert list(by_copy.values()) == [{names[0]}, {names[1]}, set(names)]
    found = reach(model, task_bce, fields, 2)
    shared = {id(p) for p in found.shared}
    (experts,) = [m for n, m in model.named_modules() if n.split(".")[-1] == "shared"]
    assert shared == {id(p) for p in experts.parameters()}


def test_reach_without_columns_to_start_from() -> None:
    """A model that ends in one layer for all tasks: zeros count as not reached."""

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeddings = EmbeddingBank(make_schema(2), 4)
            self.bottom = nn.Linear(16, 6)
            self.heads = nn.Parameter(torch.randn(2, 6))

        def forward(self, fields: torch.Tensor) -> torch.Tensor:
            return self.bottom(self.embeddings(fields)[0]) @ self.heads.T

    model = One()
    found = reach(model, task_bce, torch.from_numpy(make_fields(make_schema(2), 20)), 2)
    assert {id(p) for p in found.shared} == {
        id(p) for p in [*model.bottom.parameters(), model.heads]
    }


@pytest.mark.parametrize("model", ["shared_bottom", "mmoe", "ple", "stem"])
@pytest.mark.parametrize("tables", ["weighted", "sum"])
def test_who_gets_which_combination(model: str, tables: str) -> None:
    """With weights 3 and 1/2: shared dense and tables the weighted sum, the rest its own."""

    class Fixed(gradients.GradientMethod):
        def weigh(self, gram: np.ndarray, losses: np.ndarray) -> np.ndarray:
            self.gram = gram
            return np.array([3.0, 0.5])

    net, fields, labels = network(model)
    weights = torch.tensor([3.0, 0.5])
    found = reach(net, task_bce, fields, 2)
    kinds = {id(p): "shared" for p in found.shared} | {id(p): "table" for p in found.tables}
    expected = {}
    for kind, factor in (("weighted", weights), ("sum", torch.ones(2))):
        net.zero_grad()
        (factor * task_bce(net(fields), labels)).sum().backward()
        expected[kind] = [p.grad.clone() for p in net.parameters()]
    net.zero_grad(set_to_none=True)
    objective = Fixed(("task_0", "task_1"), tables=tables)
    objective.bind(net, fields, torch.Generator())
    value = objective.backward(fields, labels)
    assert value.item() == pytest.approx(bce(net(fields), labels).item())
    for i, parameter in enumerate(net.parameters()):
        kind = {"shared": "weighted", "table": tables}.get(kinds.get(id(parameter), ""), "sum")
        torch.testing.assert_close(parameter.grad, expected[kind][i], rtol=1e-4, atol=1e-6)
    assert objective.end_epoch() == {"task_0": 3.0, "task_1": 0.5}
    flats = []
    for t in range(2):
        each = torch.autograd.grad(task_bce(net(fields), labels)[t], found.shared)
        flats.append(torch.cat([g.flatten() for g in each]))
    gram = torch.stack([torch.stack([a @ b for b in flats]) for a in flats])
    assert objective.gram == pytest.approx(gram.numpy(), rel=1e-4)


def test_pcgrad_without_conflict_is_equal() -> None:
    net, fields, labels = network("mmoe")
    labels[:, 1] = labels[:, 0]
    for tower in net.towers[1:]:
        tower.load_state_dict(net.towers[0].state_dict())
    for gate in net.gates[1:]:
        gate.load_state_dict(net.gates[0].state_dict())
    Equal(TASKS).bind(net, fields, torch.Generator())
    bce(net(fields), labels).backward()
    expected = [p.grad.clone() for p in net.parameters()]
    net.zero_grad(set_to_none=True)
    objective = gradients.PCGrad(TASKS)
    objective.bind(net, fields, torch.Generator())
    objective.backward(fields, labels)
    for parameter, gradient in zip(net.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)


def test_a_task_without_a_gradient_is_left_out() -> None:
    objective = gradients.NashMTL(("a", "b", "c"))
    gram = np.zeros((3, 3))
    gram[:2, :2] = np.diag([1.0, 4.0])
    weights = objective._weights(gram, np.ones(3))
    both = solvers.fair(np.diag([1.0, 4.0]), 1.0)
    assert weights.tolist() == pytest.approx([*(2 * both / both.sum()), 1.0])
    assert objective._weights(np.full((3, 3), np.nan), np.ones(3)).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("model", ["stem", "mmoe", "aitm"])
def test_a_tasks_pass_is_what_autograd_gives(model: str) -> None:
    """TaskBackward calls the engine itself: as torch.autograd.grad of the task's loss, to rounding,
    whether it starts at the loss or below the concatenation."""
    net, fields, labels = network(model)
    losses = losses_of(net)
    assert losses is not None
    inputs = list(net.parameters())
    backward = shared.TaskBackward(losses, net(fields), labels)
    for t in range(2):
        expected = torch.autograd.grad(
            losses(net(fields), labels)[t], inputs, allow_unused=True, materialize_grads=True
        )
        found = backward.gradients(t, inputs)
        for mine, theirs in zip(found, expected, strict=True):
            mine = torch.zeros_like(theirs) if mine is None else mine
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


def test_a_table_never_gets_a_dense_gradient_a_task() -> None:
    """Autograd is asked for looked-up embeddings, never for a table."""
    net, fields, labels = network("stem")
    objective = gradients.PCGrad(("task_0", "task_1"))
    objective.bind(net, fields, torch.Generator())
    asked: list[torch.Tensor] = []
    original = shared.TaskBackward.gradients

    def gradients_of(self: object, task: int, inputs: list[torch.Tensor]) -> object:
        asked.extend(inputs)
        return original(self, task, inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared.TaskBackward, "gradients", gradients_of)
        objective.backward(fields, labels)
    looked_up = [tensor for tensor in asked if not tensor.is_leaf]
    assert looked_up
    assert all(tensor is not net.embeddings.weight for tensor in asked)
    assert net.embeddings.weight.grad is not None


@pytest.mark.parametrize(
    ("model", "objective", "tasks", "message"),
    [
        ("single_task", "gradients.MGDA", 2, "share none: use the objective equal"),
        ("mmoe", "gradients.MGDA", 1, "there is only one"),
        ("mmoe", "weighting.GLS", 1, "there is only one"),
    ],
)
def test_what_makes_no_sense_is_refused(
    model: str, objective: str, tasks: int, message: str
) -> None:
    net, fields, _ = network(model, tasks)
    spec = {"seed": 1, "objective": {"class": objective, "args": {}}}
    with pytest.raises(StembenchError, match=message):
        build_objective(spec, make_schema(tasks).tasks, net, fields)


def test_a_loss_of_its_own_is_refused() -> None:
    net, fields, _ = network("mmoe")
    net.loss = bce
    with pytest.raises(StembenchError, match="MMoE has a loss of its own"):
        gradients.MGDA(TASKS).bind(net, fields, torch.Generator())
    Equal(TASKS).bind(net, fields, torch.Generator())


@pytest.mark.parametrize("model", MODELS)
def test_the_graph_agrees_with_what_every_model_declares(model: str) -> None:
    net, fields, _ = network(model)
    found = reach(net, losses_of(net) or task_bce, fields, 2)
    assert {id(p) for p in found.shared} == {id(p) for p in shared_parameters(net)}
    reached = [*found.shared, *found.own[0], *found.own[1], *found.tables]
    trained = {id(p) for p in net.parameters() if p.requires_grad}
    assert {id(p) for p in reached} == trained
