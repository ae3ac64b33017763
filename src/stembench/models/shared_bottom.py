"""Shared-Bottom (Caruana, 1997): one network below, a tower per task above."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.models.layers import MLP, EmbeddingBank, towers


class SharedBottom(nn.Module):
    """y_t = tower_t(bottom(e(x)))."""

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
        self.embeddings = EmbeddingBank(schema, embedding_dim)
        self.bottom = MLP(self.embeddings.output_dim, bottom_units, dropout=dropout)
        self.towers = towers(schema.num_tasks, bottom_units[-1], tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        (x,) = self.embeddings(fields)
        hidden = self.bottom(x)
        return torch.cat([tower(hidden) for tower in self.towers], dim=1)
