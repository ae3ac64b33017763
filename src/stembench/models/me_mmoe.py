"""MMoE with several embedding tables: a control for STEM's size.

STEM's authors compare with ME-MMoE and publish no code of it; this one is ours, after Guo et al.,
On the Embedding Collapse when Scaling up Recommendation Models, ICML 2024.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.experts import Gate
from stembench.models.layers import logits, networks, towers


class MultiEmbeddingMMoE(MultiTask):
    """y_t = tower_t(sum_i g_t(mean_m x_m)_i f_i(x_{i mod M})) over M = T + 1 tables.

    As many tables as in STEM, dealt out to the experts in turn; the gates see their mean. None
    belongs to a task: the loss of t reaches all tables and experts, and gate and tower t.
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
        tables = schema.num_tasks + 1
        self.embeddings = EmbeddingBank(schema, embedding_dim, tables, embedding_budget)
        width = self.embeddings.output_dim
        self.experts = networks(num_experts, width, expert_units, dropout)
        sources = ["shared"] * num_experts
        self.gates = nn.ModuleList(Gate(width, gate_units, sources) for _ in schema.tasks)
        self.towers = towers(schema.num_tasks, expert_units[-1], tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        inputs = self.embeddings(fields)
        mean = torch.stack(inputs).mean(0)
        outputs = [expert(inputs[i % len(inputs)]) for i, expert in enumerate(self.experts)]
        stacked = torch.stack(outputs, dim=1)
        return logits(self.towers, [gate(mean, stacked) for gate in self.gates])
