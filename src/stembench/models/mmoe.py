"""MMoE: Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate
Mixture-of-Experts, KDD 2018."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.models.layers import EmbeddingBank, Experts, Gate, towers


class MMoE(nn.Module):
    """y_t = tower_t(sum_i g_t(x)_i f_i(x)), g_t = softmax(MLP_t(x)): eqs. 5 to 7 of the paper."""

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        num_experts: int = 8,
        expert_units: Sequence[int] = (512, 512, 512),
        gate_units: Sequence[int] = (128, 64),
        tower_units: Sequence[int] = (128, 64),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embeddings = EmbeddingBank(schema, embedding_dim)
        width = self.embeddings.output_dim
        self.experts = Experts(num_experts, width, expert_units, dropout)
        self.gates = nn.ModuleList(
            Gate(width, gate_units, num_experts) for _ in range(schema.num_tasks)
        )
        self.towers = towers(schema.num_tasks, expert_units[-1], tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        (x,) = self.embeddings(fields)
        outputs = self.experts(x)
        logits = [
            tower(gate(x, outputs)) for gate, tower in zip(self.gates, self.towers, strict=True)
        ]
        return torch.cat(logits, dim=1)
