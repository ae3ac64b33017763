"""Building blocks shared by the architectures: MLP, batch normalisation, towers.

Shapes: B rows, h width of a layer, T tasks.
Linear layers start Xavier-normal with zero bias, as in the code released with STEM.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stembench.models.linear import Linear


class MLP(nn.Sequential):
    """Linear, ReLU, dropout for each width of `units`; with `outputs`, a last linear layer."""

    def __init__(
        self, inputs: int, units: Sequence[int], outputs: int | None = None, dropout: float = 0.0
    ) -> None:
        layers: list[nn.Module] = []
        for width in units:
            layers += [linear(inputs, width), nn.ReLU(inplace=True)]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            inputs = width
        if outputs is not None:
            layers.append(linear(inputs, outputs))
        super().__init__(*layers)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that takes the running statistics for a batch of one row.

    The last batch of an epoch may have one row, whose own statistics are undefined.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or len(x) > 1:
            return super().forward(x)
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


def networks(
    count: int, inputs: int, units: Sequence[int], dropout: float, outputs: int | None = None
) -> nn.ModuleList:
    """One network of that shape per task."""
    return nn.ModuleList(MLP(inputs, units, outputs, dropout) for _ in range(count))


def towers(count: int, inputs: int, units: Sequence[int], dropout: float) -> nn.ModuleList:
    """One tower per task, each ending in one logit."""
    return networks(count, inputs, units, dropout, outputs=1)


def logits(towers: nn.ModuleList, inputs: Sequence[Tensor]) -> Tensor:
    """Each task's tower on its own input (B, h): logits (B, T)."""
    return torch.cat([tower(x) for tower, x in zip(towers, inputs, strict=True)], dim=1)


def task_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross entropy of each task, (B, T) to (T,), for a model's own `task_losses`."""
    losses = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return losses.mean(0)


def linear(inputs: int, outputs: int) -> Linear:
    """A Xavier-normal linear layer with zero bias."""
    layer = Linear(inputs, outputs)
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
