"""Two quadratic losses over a shared point: their Pareto front is the segment between the minima.

L_t = a_t ||x - c_t||^2 / 2 + 1 with x shared, c_1 = (-1, 0), c_2 = (1, 0).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CENTRES = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])


class Point(nn.Module):
    """Logits are x itself (b, 2), whatever the rows; its losses are the quadratics."""

    def __init__(self, start: tuple[float, float], steep: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(start))
        self.steep = torch.tensor(steep)

    def forward(self, fields: Tensor) -> Tensor:
        return self.x.expand(len(fields), 2)

    def task_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        distances = (logits[0] - CENTRES).square().sum(1)
        return self.steep * distances / 2 + 1


def descend(objective: object, model: Point, steps: int, lr: float = 0.1) -> Tensor:
    """Plain gradient descent under an objective; returns x."""
    fields = torch.zeros(2, 1, dtype=torch.int32)
    objective.bind(model, fields, torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        objective.backward(fields, torch.zeros(2, 2))
        optimizer.step()
        objective.after_step(fields, torch.zeros(2, 2))
    return model.x.detach()
