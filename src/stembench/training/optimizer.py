"""One step of Adam with the penalty on the tables and the clip, over all rows or those of a batch.

Kingma and Ba, Adam, ICLR 2015, algorithm 1, with (lambda / 2) ||E||^2 over the embedding tables,
whose gradient lambda * E is added before the clip, as automatic differentiation would.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from stembench.models.embeddings import EmbeddingBank

BETAS, EPS = (0.9, 0.999), 1e-8


class Optimizer:
    """Adam over a model's parameters, by a run's `train` settings.

    `embedding_optimizer: dense` moves every row of every table in every step, as the released code
    does: moments of rows that a batch lacks decay and go on moving them. `rows` reads and writes
    the rows of the batch alone, so that a step's cost does not grow with the table: their moments
    are those of the steps that saw them, and the penalty falls on them alone (the "lazy" Adam of
    TensorFlow Addons; the bias correction counts all steps).
    """

    def __init__(self, model: nn.Module, settings: dict[str, Any]) -> None:
        self._l2, self._clip, self._lr = (
            settings[key] for key in ("embedding_l2", "clip_norm", "lr")
        )
        banks = [m for m in model.modules() if isinstance(m, EmbeddingBank)]
        self._tables = [bank.weight for bank in banks]
        self._rows = settings["embedding_optimizer"] == "rows"
        for bank in banks:
            bank.sparse = self._rows
        of_rows = {id(table) for table in self._tables} if self._rows else set()
        self._parameters = list(model.parameters())
        dense = (p for p in self._parameters if id(p) not in of_rows)
        self._dense = [p for p in dense if p.requires_grad]
        self._adam = Adam(self._dense, self._lr)
        self._moments: list[tuple[Tensor, Tensor]] = []
        if self._rows:
            self._moments = [(torch.zeros_like(t), torch.zeros_like(t)) for t in self._tables]
        self._steps = 0

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    def step(self) -> None:
        """Penalty, clip and Adam on the gradients in `.grad`."""
        if self._rows:
            self._step_rows()
            return
        add_l2(self._tables, self._l2)
        nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._adam.step()

    def state_bytes(self) -> int:
        """Memory of the moments."""
        tensors = [*self._adam.first, *self._adam.second, *self._adam.counts]
        tensors += [moment for pair in self._moments for moment in pair]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @torch.no_grad()
    def _step_rows(self) -> None:
        self._steps += 1
        found = []
        for table in self._tables:
            assert table.grad is not None
            gradient = table.grad.coalesce()
            rows, values = gradient.indices()[0], gradient.values()
            weights = table.index_select(0, rows)
            found.append((rows, values.add(weights, alpha=self._l2), weights))
        dense = [p.grad for p in self._dense if p.grad is not None]
        every = [*dense, *(values for _, values, _ in found)]
        scale = (self._clip / (nn.utils.get_total_norm(every) + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(every, scale)
        self._adam.step()
        for table, moments, (rows, values, weights) in zip(
            self._tables, self._moments, found, strict=True
        ):
            self._adam_rows(table, moments, rows, values, weights)

    def _adam_rows(
        self,
        table: Tensor,
        moments: tuple[Tensor, Tensor],
        rows: Tensor,
        values: Tensor,
        weights: Tensor,
    ) -> None:
        """Algorithm 1 on some rows (n,) of a table, with their gradients and weights (n, k)."""
        (first, second), (beta1, beta2) = moments, BETAS
        m = first.index_select(0, rows).lerp_(values, 1 - beta1)
        v = second.index_select(0, rows).mul_(beta2).addcmul_(values, values, value=1 - beta2)
        first.index_copy_(0, rows, m)
        second.index_copy_(0, rows, v)
        size = self._lr / (1 - beta1**self._steps)
        norm = v.sqrt_().div_(math.sqrt(1 - beta2**self._steps)).add_(EPS)
        table.index_copy_(0, rows, weights.addcdiv_(m, norm, value=-size))


class Adam:
    """Algorithm 1 on dense parameters: the fused kernel of torch.optim.Adam, bit by bit.

    That class loads torch's compiler when it is made, 1.2 s of a cell which compiles nothing.
    Parameters without a gradient stay as they are, and their moments too.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float) -> None:
        self._parameters, self._lr = parameters, lr
        self.first = [torch.zeros_like(p) for p in parameters]
        self.second = [torch.zeros_like(p) for p in parameters]
        self.counts = [torch.zeros((), device=p.device) for p in parameters]

    @torch.no_grad()
    def step(self) -> None:
        """One step on the gradients in `.grad`."""
        moved = [i for i, p in enumerate(self._parameters) if p.grad is not None]
        counts = [self.counts[i] for i in moved]
        torch._foreach_add_(counts, 1)
        torch._fused_adam_(
            [self._parameters[i] for i in moved],
            [self._parameters[i].grad for i in moved],  # type: ignore[misc]
            [self.first[i] for i in moved],
            [self.second[i] for i in moved],
            [],
            counts,
            lr=self._lr,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=EPS,
            amsgrad=False,
            maximize=False,
        )


@torch.no_grad()
def add_l2(tables: list[nn.Parameter], strength: float) -> None:
    """Add lambda * E, the gradient of (lambda / 2) ||E||^2, to the tables' gradients."""
    if strength > 0:
        for table in tables:
            assert table.grad is not None
            table.grad.add_(table, alpha=strength)
