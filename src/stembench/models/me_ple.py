"""PLE with several embedding tables: a control for STEM's size.

STEM's authors compare with ME-PLE and publish no code of it; this one is ours.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.experts import Extractions
from stembench.models.layers import logits, towers


class MultiEmbeddingPLE(MultiTask):
    """PLE whose first layer has STEM's tables: x_t for task t's experts and gate, x_S shared.

    The difference to STEM is the gate alone: it mixes the task's own and the shared experts, not
    those of the other tasks. The loss of t reaches E_t, E_S, the shared experts, and experts, gate
    and tower t; with several layers and shared_gate `all` also the experts and tables of others.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: Count = 16,
        embedding_budget: Literal["table", "one", "stem"] = "table",
        num_layers: Count = 1,
        num_shared_experts: Count = 8,
        num_specific_experts: Count = 1,
        shared_gate: Literal["all", "shared"] = "all",
        expert_units: SomeWidths = (512, 512, 512),
        gate_units: Widths = (128, 64),
        tower_units: Widths = (128, 64),
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(schema)
        tables = schema.num_tasks + 1
        self.embeddings = EmbeddingBank(schema, embedding_dim, tables, embedding_budget)
        self.layers = Extractions(
            self.embeddings.output_dim,
            schema.tasks,
            num_layers,
            num_shared_experts,
            num_specific_experts,
            expert_units,
            gate_units,
            dropout,
            shared_gate,
        )
        self.towers = towers(schema.num_tasks, expert_units[-1], tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        *inputs, shared = self.embeddings(fields)
        return logits(self.towers, self.layers(inputs, shared))
