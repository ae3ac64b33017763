"""Objectives that need nothing but the losses: one weighted sum, one backward pass.

All parameters, embedding tables included, get the gradient of the weighted loss. L_t is the mean
cross entropy of task t over the batch, T the number of tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from stembench.errors import StembenchError
from stembench.objectives.base import Objective

Positive = Annotated[float, Field(gt=0)]


class Weighting(Objective):
    """A loss made of the tasks' losses by `combine`."""

    def bind(self, model: nn.Module, fields: Tensor, generator: torch.Generator) -> None:
        """As `Objective.bind`."""
        super().bind(model, fields, generator)
        # Summed on the device: reading weights at every step would wait for it.
        self._weights = torch.zeros(len(self.tasks), device=self.device)

    def combine(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (T,) to the loss to differentiate and its detached derivatives w (T,)."""
        raise NotImplementedError

    def backward(self, fields: Tensor, labels: Tensor) -> Tensor:
        """One backward pass of the combined loss."""
        losses = self.losses(self.model(fields), labels)
        loss, weights = self.combine(losses)
        loss.backward()  # type: ignore[no-untyped-call]
        self._weights += weights
        self._steps += 1
        return losses.detach().sum()

    def end_epoch(self) -> dict[str, float]:
        """Mean weight of each task over the epoch's steps."""
        self._sum += self._weights.double().cpu().numpy()
        self._weights.zero_()
        return super().end_epoch()


class Static(Weighting):
    """Fixed weights: L = sum_t w_t L_t. `weights` names each task of the data set."""

    def __init__(self, tasks: Sequence[str], *, weights: Mapping[str, Positive]) -> None:
        super().__init__(tasks)
        if set(weights) != set(tasks):
            raise StembenchError(
                f"objectives: static weights must name the tasks {', '.join(tasks)}, "
                f"not {', '.join(weights)}"
            )
        self._fixed = torch.tensor([float(weights[task]) for task in tasks])

    def combine(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        """w as given, not rescaled."""
        weights = self._fixed.to(losses.device)
        return (weights * losses).sum(), weights


class UncertaintyWeighting(Weighting):
    """UW: Kendall, Gal and Cipolla, Multi-Task Learning Using Uncertainty to Weigh Losses, CVPR
    2018, equation 10 for classification.

    L = sum_t L_t / sigma_t^2 + log sigma_t, with s_t = log sigma_t^2 learnt from 0 by an Adam of
    its own (rate `lr`, outside the clip): w_t = exp(-s_t), and dL/ds_t = 1/2 - exp(-s_t) L_t.
    """

    def __init__(self, tasks: Sequence[str], *, lr: Positive = 1e-2) -> None:
        super().__init__(tasks)
        self._lr = lr

    def bind(self, model: nn.Module, fields: Tensor, generator: torch.Generator) -> None:
        """As `Objective.bind`."""
        super().bind(model, fields, generator)
        self.log_variances = nn.Parameter(torch.zeros(len(self.tasks), device=self.device))
        self._optimizer = torch.optim.Adam([self.log_variances], lr=self._lr)

    def combine(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        """w_t = exp(-s_t), not rescaled: their size is learnt."""
        precisions = torch.exp(-self.log_variances)
        return (precisions * losses + self.log_variances / 2).sum(), precisions.detach()

    def after_step(self, fields: Tensor, labels: Tensor) -> None:
        """Move the variances by the gradient that the backward pass left."""
        self._optimizer.step()
        self._optimizer.zero_grad()

    def state_bytes(self) -> int:
        """Variances and their Adam moments."""
        return 3 * 4 * len(self.tasks)


class DWA(Weighting):
    """Dynamic weight average: Liu, Johns and Davison, End-to-End Multi-Task Learning with
    Attention, CVPR 2019, equation 7.

    w_t(e) = T softmax_t(r_t(e - 1) / temperature), r_t(e - 1) = L_t(e - 1) / L_t(e - 2) of the mean
    training losses by epoch; w_t = 1 in the first two epochs.
    """

    def __init__(self, tasks: Sequence[str], *, temperature: Positive = 2.0) -> None:
        super().__init__(tasks)
        self._temperature = temperature

    def bind(self, model: nn.Module, fields: Tensor, generator: torch.Generator) -> None:
        """As `Objective.bind`."""
        super().bind(model, fields, generator)
        self.weights = torch.ones(len(self.tasks), device=self.device)
        self._losses = torch.zeros_like(self.weights)
        self._former: Tensor | None = None

    def combine(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        """w of the epoch; the losses are summed for the next ones."""
        self._losses += losses.detach()
        return (self.weights * losses).sum(), self.weights

    def end_epoch(self) -> dict[str, float]:
        """The next epoch's weights from the last two epochs' losses."""
        mean = self._losses / max(self._steps, 1)
        if self._former is not None:
            ratios = mean / self._former
            self.weights = len(self.tasks) * torch.softmax(ratios / self._temperature, dim=0)
        self._former, self._losses = mean, torch.zeros_like(mean)
        return super().end_epoch()


class RLW(Weighting):
    """Random loss weighting: Lin, Ye, Zhang and Tsang, Reasonable Effectiveness of Random
    Weighting, TMLR 2022, section 3.

    w = T softmax(z), z ~ N(0, I) anew for each batch, from the run's `objective` stream.
    """

    def combine(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        """w drawn anew."""
        draw = torch.randn(len(self.tasks), generator=self.generator)
        weights = (len(self.tasks) * draw.softmax(0)).to(losses.device)
        return (weights * losses).sum(), weights


class GLS(Weighting):
    """Geometric loss strategy: Chennupati et al., MultiNet++, CVPR Workshops 2019, equation 2.

    L = T (prod_t L_t)^(1/T), T times the paper's: w_t = (prod_k L_k)^(1/T) / L_t.
    """

    def combine(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        """Through logarithms, so that many tasks do not underflow."""
        mean = losses.log().mean().exp()
        return len(self.tasks) * mean, (mean / losses).detach()


class FAMO(Weighting):
    """Liu, Feng, Stone and Liu, FAMO: Fast Adaptive Multitask Optimization, NeurIPS 2023,
    algorithm 1.

    z = softmax(xi) over the tasks. The parameters move along T c sum_t z_t grad log L_t with
    c = 1 / sum_t (z_t / L_t), T times the paper's: w_t = T c z_t / L_t. After the step the same
    batch is run forward once more (the cost of the method), and xi follows
    -J^T (log L_t(before) - log L_t(after)) - gamma xi with J = dz/dxi, by an Adam of its own
    (rate `lr`): the tasks that fell least in log loss gain weight, and so the slowest rate of
    decrease grows. Losses are taken from 0, their minimum.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        lr: Positive = 2.5e-2,
        gamma: Annotated[float, Field(ge=0)] = 1e-3,
    ) -> None:
        super().__init__(tasks)
        self._lr, self._gamma = lr, gamma

    def bind(self, model: nn.Module, fields: Tensor, generator: torch.Generator) -> None:
        """As `Objective.bind`."""
        super().bind(model, fields, generator)
        self.xi = nn.Parameter(torch.zeros(len(self.tasks), device=self.device))
        self._optimizer = torch.optim.Adam([self.xi], lr=self._lr, weight_decay=self._gamma)
        self._before = torch.zeros_like(self.xi)

    def combine(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        """w_t = T c z_t / L_t."""
        z = self.xi.detach().softmax(0)
        self._before = losses.detach()
        shares = z / self._before
        weights = len(self.tasks) * shares / shares.sum()
        return (weights * losses).sum(), weights

    @torch.no_grad()
    def after_step(self, fields: Tensor, labels: Tensor) -> None:
        """Compare the batch's losses with those after the step."""
        after = self.losses(self.model(fields), labels)
        self.update(self._before.log() - after.log())

    def update(self, fall: Tensor) -> None:
        """One step on xi, given the fall of each task's log loss (T,)."""
        z = self.xi.detach().softmax(0)
        self.xi.grad = z * (fall - (z * fall).sum())  # J^T fall
        self._optimizer.step()

    def state_bytes(self) -> int:
        """xi and its Adam moments."""
        return 3 * 4 * len(self.tasks)
