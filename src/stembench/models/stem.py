"""STEM-Net: Su et al., STEM: Unleashing the Power of Embeddings for Multi-task Recommendation,
AAAI 2024 (arXiv 2308.13537)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.models.layers import EmbeddingBank, Experts, Gate, towers


class STEM(nn.Module):
    """Shared and task-specific embeddings behind all-forward, task-specific-backward gates.

    Each field has T task embeddings and a shared one; x_t and x_S are their concatenations.
    Task t owns K1 experts on x_t, and K2 shared experts see x_S. The gate of task t mixes the
    outputs of all T * K1 + K2 experts by softmax(MLP_t(x_t + x_S)), the outputs of the other
    tasks' experts detached: the loss of t never reaches their experts and embeddings.

    The gate's input x_t + x_S is that of the released code (the paper's figure has x_t alone).
    The released shared gate, which with one layer is never trained, is not built.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        num_shared_experts: int = 8,
        num_specific_experts: int = 1,
        expert_units: Sequence[int] = (512, 512, 512),
        gate_units: Sequence[int] = (128, 64),
        tower_units: Sequence[int] = (128, 64),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        tasks = schema.num_tasks
        self.embeddings = EmbeddingBank(schema, embedding_dim, copies=tasks + 1)
        width = self.embeddings.output_dim
        self.shared = Experts(num_shared_experts, width, expert_units, dropout)
        self.specific = nn.ModuleList(
            Experts(num_specific_experts, width, expert_units, dropout) for _ in range(tasks)
        )
        every = tasks * num_specific_experts + num_shared_experts
        self.gates = nn.ModuleList(Gate(width, gate_units, every) for _ in range(tasks))
        self.towers = towers(tasks, expert_units[-1], tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        *inputs, x_shared = self.embeddings(fields)
        common = self.shared(x_shared)
        own = [group(x) for x, group in zip(inputs, self.specific, strict=True)]
        logits = []
        for task, (x, gate, tower) in enumerate(zip(inputs, self.gates, self.towers, strict=True)):
            seen = [
                output if owner == task else output.detach()
                for owner, group in enumerate(own)
                for output in group
            ]
            logits.append(tower(gate(x + x_shared, seen + common)))
        return torch.cat(logits, dim=1)
