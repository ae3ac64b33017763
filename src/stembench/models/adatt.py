"""AdaTT: Li et al., AdaTT: Adaptive Task-to-Task Fusion Network for Multitask Learning in
Recommendations, KDD 2023."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.experts import Experts, Gate
from stembench.models.layers import logits, towers


class Fusion(nn.Module):
    """One fusion level: per unit its experts, and per unit that goes on a gate over all of them.

    A unit is a task or, as the last, the shared one, which ends below the last level. With units of
    one expert each the residual weight is 1, as in the released code; else it is learned.
    """

    def __init__(
        self,
        inputs: int,
        counts: dict[str, int],
        expert_units: Sequence[int],
        gate_units: Sequence[int],
        dropout: float,
        outputs: int,
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleList(
            Experts(count, inputs, expert_units, dropout) for count in counts.values()
        )
        sources = list(chain(*([unit] * count for unit, count in counts.items())))
        self.gates = nn.ModuleList(Gate(inputs, gate_units, sources) for _ in range(outputs))
        self.native = None
        if any(count > 1 for count in counts.values()):
            self.native = nn.ParameterList(
                nn.Parameter(torch.empty(count).uniform_(-(count**-0.5), count**-0.5))
                for count in list(counts.values())[:outputs]
            )

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """One input (B, inputs) per unit to one (B, h) per unit that goes on."""
        own = [group(x) for group, x in zip(self.experts, inputs, strict=True)]
        every = torch.stack([*chain(*own)], dim=1)
        fused = [gate(x, every) for gate, x in zip(self.gates, inputs, strict=False)]
        if self.native is None:
            return [out + mine[0] for out, mine in zip(fused, own, strict=False)]
        return [
            out + torch.einsum("e,beh->bh", v, torch.stack(mine, dim=1))
            for out, v, mine in zip(fused, self.native, own, strict=False)
        ]


class AdaTT(MultiTask):
    """h_u <- g_u(h_u) E + v_u E_u, level by level; y_t = tower_t(h_t).

    E stacks the outputs of the experts of all units (tasks and the shared one), E_u those of unit
    u's own, each on its unit's input; g_u = softmax(MLP(h_u)), linear in the paper; v_u is learned
    and the same for all rows (AdaTT-general: AllExpertGF plus NativeExpertLF).

    The loss of t reaches the one table and all experts; of the gates and weights v, in the last
    level its own, below it all; and tower t.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: Count = 16,
        num_layers: Count = 2,
        num_shared_experts: Count = 1,
        num_specific_experts: Count = 1,
        expert_units: SomeWidths = (512, 512, 512),
        gate_units: Widths = (128, 64),
        tower_units: Widths = (128, 64),
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(schema)
        tasks = schema.num_tasks
        self.embeddings = EmbeddingBank(schema, embedding_dim)
        width = self.embeddings.output_dim
        counts = dict.fromkeys(schema.tasks, num_specific_experts) | {"shared": num_shared_experts}
        self.layers = nn.ModuleList()
        for above in range(num_layers, 0, -1):
            outputs = tasks + (above > 1)
            self.layers.append(Fusion(width, counts, expert_units, gate_units, dropout, outputs))
            width = expert_units[-1]
        self.towers = towers(tasks, width, tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        (x,) = self.embeddings(fields)
        inputs = [x] * (len(self.towers) + 1)
        for layer in self.layers:
            inputs = layer(inputs)
        return logits(self.towers, inputs)
