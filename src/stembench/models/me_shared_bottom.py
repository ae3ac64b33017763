"""Shared-Bottom with several embedding tables: a control for STEM's size.

STEM's authors compare with multi-embedding models and publish no code of them; this one is ours,
after Guo et al., On the Embedding Collapse when Scaling up Recommendation Models, ICML 2024.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.layers import logits, networks, towers


class MultiEmbeddingSharedBottom(MultiTask):
    """y_t = tower_t(mean_m bottom_m(x_m)) over M = T + 1 tables, each with a bottom of its own.

    As many tables as in STEM, but none belongs to a task: the loss of t reaches all tables and
    bottoms, and tower t.
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
        tables = schema.num_tasks + 1
        self.embeddings = EmbeddingBank(schema, embedding_dim, tables, embedding_budget)
        self.bottoms = networks(tables, self.embeddings.output_dim, bottom_units, dropout)
        self.towers = towers(schema.num_tasks, bottom_units[-1], tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        inputs = self.embeddings(fields)
        hidden = [bottom(x) for bottom, x in zip(self.bottoms, inputs, strict=True)]
        return logits(self.towers, [torch.stack(hidden).mean(0)] * len(self.towers))
