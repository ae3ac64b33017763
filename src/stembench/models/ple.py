"""PLE: Tang et al., Progressive Layered Extraction, RecSys 2020."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.models.layers import EmbeddingBank, Experts, Gate, towers


class Extraction(nn.Module):
    """One extraction layer: own and shared experts, a gate per task over both.

    The shared gate mixes the experts of all tasks and the shared ones, as in the original paper,
    and feeds the next layer's shared experts. The last layer has no next one, so no shared gate
    is built there.
    """

    def __init__(
        self,
        inputs: int,
        tasks: int,
        num_shared: int,
        num_specific: int,
        expert_units: Sequence[int],
        gate_units: Sequence[int],
        dropout: float,
        last: bool,
    ) -> None:
        super().__init__()
        self.shared = Experts(num_shared, inputs, expert_units, dropout)
        self.specific = nn.ModuleList(
            Experts(num_specific, inputs, expert_units, dropout) for _ in range(tasks)
        )
        self.gates = nn.ModuleList(
            Gate(inputs, gate_units, num_specific + num_shared) for _ in range(tasks)
        )
        every = tasks * num_specific + num_shared
        self.shared_gate = None if last else Gate(inputs, gate_units, every)

    def forward(self, inputs: list[Tensor], shared: Tensor) -> tuple[list[Tensor], Tensor]:
        """T task inputs and the shared input, each (B, inputs), to those of the next layer."""
        common = self.shared(shared)
        own = [group(x) for x, group in zip(inputs, self.specific, strict=True)]
        outputs = [
            gate(x, mine + common) for x, gate, mine in zip(inputs, self.gates, own, strict=True)
        ]
        if self.shared_gate is not None:
            shared = self.shared_gate(shared, [*chain(*own), *common])
        return outputs, shared


class PLE(nn.Module):
    """Extraction layers, then a tower per task: eqs. 5 to 8 of the paper. One layer is CGC."""

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: int = 16,
        num_layers: int = 1,
        num_shared_experts: int = 8,
        num_specific_experts: int = 1,
        expert_units: Sequence[int] = (512, 512, 512),
        gate_units: Sequence[int] = (128, 64),
        tower_units: Sequence[int] = (128, 64),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        tasks = schema.num_tasks
        self.embeddings = EmbeddingBank(schema, embedding_dim)
        width = self.embeddings.output_dim
        self.layers = nn.ModuleList()
        for index in range(num_layers):
            layer = Extraction(
                width,
                tasks,
                num_shared_experts,
                num_specific_experts,
                expert_units,
                gate_units,
                dropout,
                last=index == num_layers - 1,
            )
            self.layers.append(layer)
            width = expert_units[-1]
        self.towers = towers(tasks, width, tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        (shared,) = self.embeddings(fields)
        inputs = [shared] * len(self.towers)
        for layer in self.layers:
            inputs, shared = layer(inputs, shared)
        return torch.cat([tower(x) for tower, x in zip(self.towers, inputs, strict=True)], dim=1)
