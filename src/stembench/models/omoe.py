"""OMoE, the one-gate mixture that Ma et al. (KDD 2018) compare MMoE with."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.experts import Experts, Gate
from stembench.models.layers import logits, towers


class OMoE(MultiTask):
    """y_t = tower_t(sum_i g(x)_i f_i(x)), g = softmax(MLP(x)): eq. 5 of the paper, with towers.

    One gate for all tasks. The loss of each task reaches the one table, all experts, the gate, and
    its own tower.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: Count = 16,
        embedding_budget: Literal["table", "one", "stem"] = "table",
        num_experts: Count = 8,
        expert_units: SomeWidths = (512, 512, 512),
        gate_units: Widths = (128, 64),
        tower_units: Widths = (128, 64),
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(schema)
        self.embeddings = EmbeddingBank(schema, embedding_dim, budget=embedding_budget)
        width = self.embeddings.output_dim
        self.experts = Experts(num_experts, width, expert_units, dropout)
        self.gate = Gate(width, gate_units, ["shared"] * num_experts)
        self.towers = towers(schema.num_tasks, expert_units[-1], tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        (x,) = self.embeddings(fields)
        return logits(self.towers, [self.gate(x, self.experts(x))] * len(self.towers))
