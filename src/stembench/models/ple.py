"""PLE: Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning Model for
Personalized Recommendations, RecSys 2020."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.experts import Extractions
from stembench.models.layers import logits, towers


class PLE(MultiTask):
    """Extraction layers, then a tower per task: section 4.2 of the paper. One layer is CGC.

    `shared_gate`: what the shared gate of a layer that has a next one mixes: `all` experts, as in
    the paper, or the `shared` ones alone, as in the code released with STEM.

    The loss of t reaches the one table, the shared experts, and experts, gate and tower t. With
    several layers and shared_gate `all` it also reaches the experts of the other tasks, in every
    layer but the last, and in all but the last two their gates; with `shared` it does not.
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
        self.embeddings = EmbeddingBank(schema, embedding_dim, budget=embedding_budget)
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
        (x,) = self.embeddings(fields)
        return logits(self.towers, self.layers([x] * len(self.towers), x))
