"""The plain sum of the losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stembench.objectives.base import Losses, Objective, bce


class Equal(Objective):
    """The plain sum of the losses, as released with STEM; Kurin et al. (NeurIPS 2022, In Defense of
    the Unitary Scalarization) find that it matches the weighting methods when regularised."""

    weighs = False

    def bind(self, model: nn.Module, fields: Tensor, generator: torch.Generator) -> None:
        """Any model, any number of tasks: it is the model's own loss, if it has one."""
        self.model = model
        self.loss: Losses = getattr(model, "loss", bce)

    def backward(self, fields: Tensor, labels: Tensor) -> Tensor:
        """One backward pass of the sum."""
        loss = self.loss(self.model(fields), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def end_epoch(self) -> dict[str, float]:
        """No weights."""
        return {}
