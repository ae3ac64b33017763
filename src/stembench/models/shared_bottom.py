"""Shared-Bottom: Caruana, Multitask Learning, Machine Learning 28, 1997."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.layers import MLP, logits, towers


class SharedBottom(MultiTask):
    """One network below, a tower per task above: y_t = tower_t(bottom(x)).

    The loss of each task reaches the one table, the bottom, and its own tower.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: Count = 16,
        embedding_budget: Literal["table", "one", "stem"] = "table",
        bottom_units: SomeWidths = (512, 512, 512),
        tower_units: Widths = (128, 128),
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(schema)
        self.embeddings = EmbeddingBank(schema, embedding_dim, budget=embedding_budget)
        self.bottom = MLP(self.embeddings.output_dim, bottom_units, dropout=dropout)
        self.towers = towers(schema.num_tasks, bottom_units[-1], tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        (x,) = self.embeddings(fields)
        return logits(self.towers, [self.bottom(x)] * len(self.towers))
