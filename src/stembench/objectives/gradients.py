"""Objectives that look at the gradient of each task: who is combined how, and at what cost.

Per step, with T tasks: one forward pass and T backward passes, each through the towers, the dense
layers and down to the *looked-up* embeddings (B, F * d), never into a table. Then

- the dense parameters that several tasks share get sum_t w_t g_t. The weights w come from the Gram
  matrix of the g_t (`solvers`); T copies of these parameters' gradients are held meanwhile;
- the looked-up embeddings get the same weighted sum, and one scatter carries it to the tables, so
  that no table ever has T dense gradients. Whether tasks conflict *on the tables* has no say in w:
  they follow the weights found above them, as in MGDA-UB (Sener and Koltun, 2018, section 3.3)
  the layers follow weights found on their output. With `tables: sum` they get the plain sum;
- a parameter that one task alone reaches gets that task's own gradient, unweighted.

Scale: weights sum to T, except PCGrad's, which are 1 each without a conflict. A task whose gradient
is zero is left out and has weight 1. Finding w waits for the device once a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from stembench.errors import StembenchError
from stembench.objectives import solvers
from stembench.objectives.base import Objective
from stembench.objectives.shared import TaskBackward, accumulate, flat, looked_up, reach
from stembench.objectives.solvers import Array

Tables = Literal["weighted", "sum"]
Positive = Annotated[float, Field(gt=0)]


class GradientMethod(Objective):
    """Finds w by `weigh` and combines as the module says."""

    by_task = True

    def __init__(self, tasks: Sequence[str], *, tables: Tables = "weighted") -> None:
        super().__init__(tasks)
        self._weigh_tables = tables == "weighted"

    def bind(self, model: nn.Module, fields: Tensor, generator: torch.Generator) -> None:
        """As `Objective.bind`; refuses a model whose tasks share no dense parameter."""
        super().bind(model, fields, generator)
        self.reach = reach(model, self.losses, fields, len(self.tasks))
        if not self.reach.shared:
            raise StembenchError(
                f"the objective {type(self).__name__} combines the tasks' gradients on the dense "
                f"parameters they share, and the tasks of {type(model).__name__} share none: use "
                f"the objective equal"
            )

    def weigh(self, gram: Array, losses: Array) -> Array:
        """Weights (T,) for the Gram matrix (T, T) of the shared gradients and the losses (T,)."""
        raise NotImplementedError

    def backward(self, fields: Tensor, labels: Tensor) -> Tensor:
        """T backward passes and one scatter into the tables."""
        with looked_up(self.model) as found_up:
            backward = TaskBackward(self.losses, self.model(fields), labels)
        losses = backward.losses
        vectors = [vector for _, vector in found_up]
        shared, count = self.reach.shared, len(self.reach.shared)
        rows: list[Tensor] = []
        at_vectors: list[tuple[Tensor | None, ...]] = []
        for t, own in enumerate(self.reach.own):
            found = backward.gradients(t, [*shared, *own, *vectors])
            rows.append(flat(found[:count], shared))
            for parameter, gradient in zip(own, found[count:], strict=False):
                parameter.grad = gradient
            at_vectors.append(found[count + len(own) :])
        stacked = torch.stack(rows)
        gram = (stacked @ stacked.T).double().cpu().numpy()
        weights = self._weights(gram, losses.detach().double().cpu().numpy())
        self._note(weights)
        w = torch.from_numpy(weights).to(stacked)
        sizes = [parameter.numel() for parameter in shared]
        for parameter, part in zip(shared, torch.split(w @ stacked, sizes), strict=True):
            parameter.grad = part.view_as(parameter)
        self._to_tables(vectors, at_vectors, weights if self._weigh_tables else None)
        return losses.detach().sum()

    def _weights(self, gram: Array, losses: Array) -> Array:
        """`weigh` on the tasks that have a gradient; 1 for the others and in a run gone NaN."""
        weights = np.ones(len(gram))
        alive = np.diag(gram) > 0
        if alive.sum() > 1 and np.isfinite(gram).all():
            weights[alive] = self.weigh(gram[np.ix_(alive, alive)], losses[alive])
        return weights

    def _to_tables(
        self,
        vectors: list[Tensor],
        gradients: list[tuple[Tensor | None, ...]],
        weights: Array | None,
    ) -> None:
        """Carry the combined gradient of the looked-up embeddings to the tables."""
        ends, sums = [], []
        for vector, by_task in zip(vectors, zip(*gradients, strict=True), strict=True):
            total: Tensor | None = None
            for t, gradient in enumerate(by_task):
                if gradient is not None:
                    part = gradient if weights is None else gradient * float(weights[t])
                    total = part if total is None else total + part
            if total is not None:
                ends.append(vector)
                sums.append(total)
        accumulate(ends, sums)


def _to_tasks(weights: Array) -> Array:
    """Rescaled to sum to their number, less the more weights of different signs cancel.

    Where no weight is negative, the factor is T / sum_t w_t. Where they cancel, that factor would
    grow without bound: two opposite gradients of almost equal length would take a huge step.
    T sum_t w_t / (sum_t |w_t|)^2 goes to 0 instead, as the sum itself does.
    """
    total = float(weights.sum())
    scale = float(np.abs(weights).sum())
    if total <= 0:
        return weights
    factor = 1 / total if total == scale else total / scale**2
    return weights * (len(weights) * factor)


class MGDA(GradientMethod):
    """Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018,
    equation 3: w is the point of the simplex where ||sum_t w_t g_t|| is least, found exactly."""

    def weigh(self, gram: Array, losses: Array) -> Array:
        """The min-norm point, times T."""
        return _to_tasks(solvers.min_norm(gram))


class PCGrad(GradientMethod):
    """Yu et al., Gradient Surgery for Multi-Task Learning, NeurIPS 2020, algorithm 1.

    Each g_i, for the other tasks j in random order (the run's `objective` stream), loses its part
    along g_j if that is negative: g_i -= (g_i . g_j / ||g_j||^2) g_j. The sum is what is applied.
    """

    def weigh(self, gram: Array, losses: Array) -> Array:
        """As combinations of the original gradients; not rescaled."""
        tasks = len(gram)
        orders = [torch.randperm(tasks, generator=self.generator).tolist() for _ in range(tasks)]
        return solvers.projected(gram, orders)


class CAGrad(GradientMethod):
    """Liu et al., Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021,
    equation 4: the direction nearest the mean gradient g_0, within c ||g_0||, whose worst task
    gains most. c = 0 is the mean; the larger c, the nearer to MGDA."""

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        c: Annotated[float, Field(ge=0)] = 0.4,
        tables: Tables = "weighted",
    ) -> None:
        super().__init__(tasks, tables=tables)
        self._c = c

    def weigh(self, gram: Array, losses: Array) -> Array:
        """1/T each plus the solution's share, rescaled to sum to T."""
        return _to_tasks(solvers.conflict_averse(gram, self._c))


class NashMTL(GradientMethod):
    """Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022, claim 3.1: the w > 0 with
    G G^T w = 1 / w. Solved at every step, by Newton's method on the convex function whose minimum
    it is (w^T M w / 2 - sum log w)."""

    def weigh(self, gram: Array, losses: Array) -> Array:
        """The bargaining solution, rescaled to sum to T."""
        return _to_tasks(solvers.fair(gram, 1.0))


class FairGrad(GradientMethod):
    """Ban and Ji, Fair Resource Allocation in Multi-Task Learning, ICML 2024, equation 8: the w > 0
    with G G^T w = w^(-1 / alpha). alpha = 1 is Nash-MTL; the larger, the nearer to max-min."""

    def __init__(
        self, tasks: Sequence[str], *, alpha: Positive = 2.0, tables: Tables = "weighted"
    ) -> None:
        super().__init__(tasks, tables=tables)
        self._alpha = alpha

    def weigh(self, gram: Array, losses: Array) -> Array:
        """The fair allocation, rescaled to sum to T."""
        return _to_tasks(solvers.fair(gram, self._alpha))


class AlignedMTL(GradientMethod):
    """Senushkin et al., Independent Component Alignment for Multi-Task Learning, CVPR 2023,
    algorithm 1, with equal preferences: the gradients' singular values made equal."""

    def weigh(self, gram: Array, losses: Array) -> Array:
        """The aligned sum, rescaled to sum to T where the weights do not cancel."""
        return _to_tasks(solvers.aligned(gram))


class GradNorm(GradientMethod):
    """Chen et al., GradNorm, ICML 2018, equations 1 and 2, on all shared dense parameters where the
    paper takes the last shared layer.

    w minimises sum_t |w_t n_t - target_t|, n_t = ||g_t||, target_t = mean_k(w_k n_k) r_t^alpha held
    constant, r_t = (L_t / L_t(0)) / mean_k(L_k / L_k(0)) the inverse training rate: one step
    of an Adam of its own (rate `lr`) a batch, then rescaled to sum to T. The weights used are those
    before the step, as in the paper's algorithm 1.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        alpha: Positive = 1.5,
        lr: Positive = 2.5e-2,
        tables: Tables = "weighted",
    ) -> None:
        super().__init__(tasks, tables=tables)
        self._alpha = alpha
        self.weights = nn.Parameter(torch.ones(len(tasks), dtype=torch.float64))
        self._optimizer = torch.optim.Adam([self.weights], lr=lr)
        self._first: Array | None = None

    def _weights(self, gram: Array, losses: Array) -> Array:
        """The weights of now; then they learn. All tasks, those without a gradient included."""
        if self._first is None:
            self._first = losses
        used: Array = self.weights.detach().numpy().copy()
        norms = np.sqrt(np.diag(gram))
        if np.isfinite(norms).all():
            rates = losses / self._first
            target = (used * norms).mean() * (rates / rates.mean()) ** self._alpha
            self.weights.grad = torch.from_numpy(np.sign(used * norms - target) * norms)
            self._optimizer.step()
            with torch.no_grad():
                self.weights.clamp_(min=1e-3)  # a weight below 0 would climb its task's loss
                self.weights.mul_(len(used) / self.weights.sum())
        return used

    def state_bytes(self) -> int:
        """Weights and their Adam moments."""
        return 3 * 8 * len(self.tasks)
