"""Single-Task: one independent network per task, the yardstick of transfer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.models.layers import MLP, EmbeddingBank, towers


class SingleTask(nn.Module):
    """y_t = tower_t(bottom_t(e_t(x))): no parameter is shared between tasks.

    Training all tasks in one module on the summed loss equals training them apart, for Adam works
    by parameter, with two exceptions: the gradient norm that is clipped is that of all tasks, and
    one epoch is chosen for all tasks.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        bottom_units: Sequence[int] = (512, 512, 512),
        tower_units: Sequence[int] = (128, 128),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        tasks = schema.num_tasks
        self.embeddings = EmbeddingBank(schema, embedding_dim, copies=tasks)
        width = self.embeddings.output_dim
        self.bottoms = nn.ModuleList(
            MLP(width, bottom_units, dropout=dropout) for _ in range(tasks)
        )
        self.towers = towers(tasks, bottom_units[-1], tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        inputs = self.embeddings(fields)
        logits = [
            tower(bottom(x))
            for x, bottom, tower in zip(inputs, self.bottoms, self.towers, strict=True)
        ]
        return torch.cat(logits, dim=1)
