"""CGC: Tang et al., Progressive Layered Extraction (PLE): A Novel Multi-Task Learning Model for
Personalized Recommendations, RecSys 2020."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.experts import Experts, Gate
from stembench.models.layers import logits, towers


class CGC(MultiTask):
    """Customized gate control: y_t = tower_t(w_t(x) S_t(x)), section 4.1 of the paper.

    S_t stacks the outputs of the task's own experts and of the shared ones, w_t = softmax(MLP_t(x))
    (linear in the paper). The loss of t reaches the one table, the shared experts, and experts,
    gate and tower t. PLE with one layer is the same model.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: Count = 16,
        embedding_budget: Literal["table", "one", "stem"] = "table",
        num_shared_experts: Count = 8,
        num_specific_experts: Count = 1,
        expert_units: SomeWidths = (512, 512, 512),
        gate_units: Widths = (128, 64),
        tower_units: Widths = (128, 64),
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(schema)
        self.embeddings = EmbeddingBank(schema, embedding_dim, budget=embedding_budget)
        width = self.embeddings.output_dim
        self.shared = Experts(num_shared_experts, width, expert_units, dropout)
        self.specific = nn.ModuleList(
            Experts(num_specific_experts, width, expert_units, dropout) for _ in schema.tasks
        )
        common = ["shared"] * num_shared_experts
        self.gates = nn.ModuleList(
            Gate(width, gate_units, [task] * num_specific_experts + common) for task in schema.tasks
        )
        self.towers = towers(schema.num_tasks, expert_units[-1], tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        (x,) = self.embeddings(fields)
        common = self.shared(x)
        mixed = [
            gate(x, own(x) + common) for gate, own in zip(self.gates, self.specific, strict=True)
        ]
        return logits(self.towers, mixed)
