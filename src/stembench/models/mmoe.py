"""MMoE: Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
Mixture-of-Experts, KDD 2018."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.experts import Experts, Gate
from stembench.models.layers import logits, towers


class MMoE(MultiTask):
    """y_t = tower_t(sum_i g_t(x)_i f_i(x)), g_t = softmax(MLP_t(x)): eqs. 5 to 7 of the paper.

    The paper's gate is linear; the networks of STEM's release, whose defaults these are, have an
    MLP there (gate_units [] is the paper's). The loss of t reaches the one table, all experts, and
    gate and tower t.
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
        sources = ["shared"] * num_experts
        self.gates = nn.ModuleList(Gate(width, gate_units, sources) for _ in schema.tasks)
        self.towers = towers(schema.num_tasks, expert_units[-1], tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        (x,) = self.embeddings(fields)
        outputs = torch.stack(self.experts(x), dim=1)
        return logits(self.towers, [gate(x, outputs) for gate in self.gates])
