"""Loss-only objectives: values by hand, and where they lead on a problem with a known front."""

from __future__ import annotations

import math

import pytest
import torch

from stembench.errors import StembenchError
from stembench.objectives import weighting
from stembench.objectives.base import Objective
from tests.objectives.quadratic import Point, descend

TASKS = ("a", "b")
FIELDS = torch.zeros(2, 1, dtype=torch.int32)


def bound(objective: Objective, seed: int = 0) -> Objective:
    objective.bind(Point((0.0, 1.0)), FIELDS, torch.Generator().manual_seed(seed))
    return objective


def losses(*values: float) -> torch.Tensor:
    return torch.tensor(values, requires_grad=True)


def weights_of(objective: weighting.Weighting, values: torch.Tensor) -> torch.Tensor:
    """The derivatives of the combined loss, by autograd; what `combine` reports must be these."""
    loss, reported = objective.combine(values)
    (found,) = torch.autograd.grad(loss, values)
    torch.testing.assert_close(found, reported)
    return found


def test_static_weights_are_those_given_by_name() -> None:
    objective = bound(weighting.Static(TASKS, weights={"b": 3.0, "a": 0.5}))
    assert weights_of(objective, losses(1.0, 2.0)).tolist() == [0.5, 3.0]
    with pytest.raises(StembenchError, match="must name the tasks a, b, not a, c"):
        weighting.Static(TASKS, weights={"a": 1.0, "c": 1.0})


def test_uw_gradients_by_hand() -> None:
    objective = bound(weighting.UncertaintyWeighting(TASKS, lr=0.1))
    with torch.no_grad():
        objective.log_variances.copy_(torch.tensor([math.log(2.0), math.log(0.5)]))
    values = losses(3.0, 1.0)
    assert weights_of(objective, values) == pytest.approx([0.5, 2.0])
    loss, _ = objective.combine(values)
    assert loss.item() == pytest.approx(0.5 * 3 + 2 * 1 + 0.5 * (math.log(2) + math.log(0.5)))
    loss.backward()
    # dL/ds = 1/2 - exp(-s) L
    assert objective.log_variances.grad.tolist() == pytest.approx([0.5 - 1.5, 0.5 - 2.0])
    objective.after_step(FIELDS, FIELDS)
    assert objective.log_variances[0] > math.log(2.0)  # a loss above sigma^2 / 2 raises sigma


def test_uw_settles_where_sigma_squared_is_twice_the_loss() -> None:
    objective = bound(weighting.UncertaintyWeighting(TASKS, lr=0.05))
    for _ in range(800):
        objective.combine(losses(0.25, 2.0))[0].backward()
        objective.after_step(FIELDS, FIELDS)
    assert objective.log_variances.exp().tolist() == pytest.approx([0.5, 4.0], rel=1e-3)


def test_dwa_by_hand() -> None:
    objective = bound(weighting.DWA(TASKS, temperature=2.0))
    for epoch in ([(1.0, 2.0), (3.0, 2.0)], [(1.0, 1.0), (1.0, 1.0)]):
        for pair in epoch:
            assert weights_of(objective, losses(*pair)).tolist() == [1.0, 1.0]
            objective._steps += 1
        objective.end_epoch()
    # means 2, 2 then 1, 1: both ratios are 1/2
    assert objective.weights.tolist() == pytest.approx([1.0, 1.0])
    objective.combine(losses(1.0, 0.5))
    objective._steps += 1
    objective.end_epoch()
    # ratios 1 and 1/2
    a, b = math.exp(1.0 / 2), math.exp(0.5 / 2)
    expected = [2 * a / (a + b), 2 * b / (a + b)]
    assert weights_of(objective, losses(1.0, 1.0)).tolist() == pytest.approx(expected)


def test_rlw_draws_a_softmax_of_normals_from_its_own_stream() -> None:
    torch.manual_seed(1)
    objective = bound(weighting.RLW(("a", "b", "c")), seed=5)
    z = torch.randn(3, generator=torch.Generator().manual_seed(5))
    expected = (3 * z.exp() / z.exp().sum()).tolist()
    before = torch.get_rng_state()
    first = weights_of(objective, losses(1.0, 1.0, 1.0)).tolist()
    assert first == pytest.approx(expected)
    assert weights_of(objective, losses(1.0, 1.0, 1.0)).tolist() != pytest.approx(first)
    assert torch.equal(before, torch.get_rng_state())


def test_gls_by_hand() -> None:
    objective = bound(weighting.GLS(TASKS))
    values = losses(2.0, 8.0)
    loss, _ = objective.combine(values)
    assert loss.item() == pytest.approx(2 * 4.0)
    assert weights_of(objective, values).tolist() == pytest.approx([4 / 2, 4 / 8])


def test_famo_weights_by_hand() -> None:
    objective = bound(weighting.FAMO(TASKS))
    with torch.no_grad():
        objective.xi.copy_(torch.tensor([math.log(3.0), 0.0]))  # z = 3/4, 1/4
    # z / L = 3/8, 1/4, c = 8/5: c z / L = 3/5, 2/5
    assert weights_of(objective, losses(2.0, 1.0)).tolist() == pytest.approx([1.2, 0.8])


def test_famo_gives_weight_to_the_task_that_falls_least() -> None:
    objective = bound(weighting.FAMO(TASKS))
    objective.update(torch.tensor([0.5, 0.1]))
    z = objective.xi.detach().softmax(0)
    assert z[1] > z[0]


def test_famo_raises_the_slowest_rate_of_decrease() -> None:
    """After learning its weights at a fixed point, one step's least fall of log loss is larger."""

    def least_fall(weights: torch.Tensor) -> float:
        model = Point((0.3, 2.0), steep=(0.05, 2.0))
        before = model.task_losses(model(FIELDS), FIELDS)
        (slope,) = torch.autograd.grad((weights * before).sum(), model.x)
        after = model.task_losses((model.x - 0.01 * slope / slope.norm()).expand(2, 2), FIELDS)
        return float((before.log() - after.log()).min().detach())

    objective = weighting.FAMO(TASKS, lr=0.05, gamma=0.0)
    model = Point((0.3, 2.0), steep=(0.05, 2.0))
    descend(objective, model, 400, lr=0.0)  # stays there: no fall, so no learning
    assert objective.xi.detach().abs().max() == 0
    for _ in range(400):
        values = model.task_losses(model(FIELDS), FIELDS)
        loss, _ = objective.combine(values)
        (slope,) = torch.autograd.grad(loss, model.x)
        moved = (model.x - 0.01 * slope / slope.norm()).expand(2, 2)
        objective.update((values.log() - model.task_losses(moved, FIELDS).log()).detach())
    _, learnt = objective.combine(model.task_losses(model(FIELDS), FIELDS))
    assert least_fall(learnt) > 1.5 * least_fall(torch.ones(2))


@pytest.mark.parametrize(
    ("objective", "expected", "within"),
    [
        (weighting.Static(TASKS, weights={"a": 3.0, "b": 1.0}), -0.5, 1e-4),  # (-3 + 1) / 4
        (weighting.GLS(TASKS), 0.0, 1e-4),
        (weighting.DWA(TASKS), 0.0, 1e-4),
        (weighting.UncertaintyWeighting(TASKS), 0.0, 0.1),  # their weights still move
        (weighting.FAMO(TASKS), 0.0, 0.1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_end_is_the_known_point_of_the_front(
    objective: Objective, expected: float, within: float
) -> None:
    x = descend(objective, Point((0.4, 3.0)), 400, lr=0.05)
    assert x[0].item() == pytest.approx(expected, abs=within)
    assert x[1].item() == pytest.approx(0.0, abs=1e-4)


def test_a_single_task_is_refused() -> None:
    with pytest.raises(StembenchError, match="there is only one: use the objective equal"):
        weighting.RLW(("a",)).bind(Point((0.0, 0.0)), FIELDS, torch.Generator())
