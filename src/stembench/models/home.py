"""HoME: Wang et al., HoME: Hierarchy of Multi-Gate Experts for Multi-Task Learning at Kuaishou,
KDD 2025 (arXiv 2408.05430). No code of its authors was at hand.

Level 1, for a category c of tasks and for the shared S, on the input v:
z_c = gate_c(v) over [experts of c, shared] + self_c; z_S = gate_S(v) over all experts + self_S.
Level 2, for a task t of category c (these masks are the paper's hierarchy):
z_t = gate_t(z_c, z_S) over [experts of t on z_c, of c on z_c, shared on z_S] + self_t;
y_t = tower_t(z_t). Expert_i(v) = swish(BN(MLP_i(v * 2 s(v A B)))), the feature gate of low rank;
self_o = sum_i w_i Expert_i over o's own experts, w = softmax(V v), or s(V v) if there is one.
Departures: a feature gate per owner, of one rank, where the paper mixes several; gates are MLPs.
The loss of t reaches the one table; of level 1 all but gate and self gate of other categories; of
level 2 the experts that it mixes, its gate and self gate; and tower t.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.errors import StembenchError
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.experts import Gate
from stembench.models.layers import MLP, BatchNorm, logits, towers
from stembench.models.linear import Linear


class Unit(nn.Module):
    """The experts of one owner behind one feature gate, and weights for a sum of them alone."""

    def __init__(
        self, count: int, inputs: int, alone: bool, units: Sequence[int], rank: int, dropout: float
    ) -> None:
        super().__init__()
        self.down = Linear(inputs, rank, bias=False)
        self.up = Linear(rank, inputs, bias=False)
        self.experts = nn.ModuleList()
        for _ in range(count):
            last = Linear([inputs, *units][-2], units[-1], bias=False)  # BN has a bias
            ending = [last, BatchNorm(units[-1]), nn.SiLU(), nn.Dropout(dropout)]
            self.experts.append(nn.Sequential(*MLP(inputs, units[:-1], None, dropout), *ending))
        self.self_gate: Any = Linear(inputs, count) if alone else None

    def forward(self, v: Tensor) -> list[Tensor]:
        """v (B, inputs) to one (B, h) per expert."""
        scaled = v * 2 * self.up(self.down(v)).sigmoid()
        return [expert(scaled) for expert in self.experts]

    def alone(self, v: Tensor, outputs: list[Tensor]) -> Tensor:
        """The self-gated sum (B, h) of the owner's experts."""
        scores = self.self_gate(v)
        weights = scores.softmax(1) if len(outputs) > 1 else scores.sigmoid()
        return torch.einsum("be,beh->bh", weights, torch.stack(outputs, dim=1))


class HoME(MultiTask):
    """Experts of task categories, then of tasks. `categories`: each task's; empty: all in one."""

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: Count = 16,
        categories: Widths = (),
        num_shared_experts: Count = 1,
        num_specific_experts: Count = 1,
        rank: Count = 16,
        expert_units: SomeWidths = (512, 512, 512),
        gate_units: Widths = (128, 64),
        tower_units: Widths = (128, 64),
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(schema)
        tasks, k1, k2 = schema.tasks, num_specific_experts, num_shared_experts
        if len(categories) not in (0, len(tasks)):
            raise StembenchError(f"HoME: {len(categories)} categories for {', '.join(tasks)}")
        names = sorted(set(categories)) or [1]
        self.category = [names.index(c) for c in categories or [1] * len(tasks)]
        self.embeddings = EmbeddingBank(schema, embedding_dim)
        unit = partial(Unit, units=expert_units, rank=rank, dropout=dropout)
        width, h = self.embeddings.output_dim, expert_units[-1]
        shared, owners = ["shared"] * k2, [[f"category {name}"] * k1 for name in names]
        self.meta_shared = unit(k2, width, True)
        self.meta = nn.ModuleList(unit(k1, width, True) for _ in names)
        self.meta_gates = nn.ModuleList(Gate(width, gate_units, own + shared) for own in owners)
        self.meta_shared_gate = Gate(width, gate_units, [*chain(*owners), *shared])
        self.shared = unit(k2, h, False)
        self.groups = nn.ModuleList(unit(k1, h, False) for _ in names)
        self.specific = nn.ModuleList(unit(k1, h, True) for _ in tasks)
        self.gates = nn.ModuleList(
            Gate(2 * h, gate_units, [task] * k1 + owners[c] + shared)
            for task, c in zip(tasks, self.category, strict=True)
        )
        self.towers = towers(len(tasks), h, tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        (v,) = self.embeddings(fields)
        common, own = self.meta_shared(v), [unit(v) for unit in self.meta]
        parts: Any = zip(self.meta_gates, self.meta, own, strict=True)
        z = [gate(v, mine + common) + unit.alone(v, mine) for gate, unit, mine in parts]
        z_shared = self.meta_shared_gate(v, [*chain(*own), *common])
        z_shared = z_shared + self.meta_shared.alone(v, common)
        common, own = self.shared(z_shared), [u(x) for u, x in zip(self.groups, z, strict=True)]
        mixed, parts = [], zip(self.specific, self.gates, self.category, strict=True)
        for unit, gate, c in parts:
            mine = unit(z[c])
            seen = gate(torch.cat([z[c], z_shared], dim=1), mine + own[c] + common)
            mixed.append(seen + unit.alone(z[c], mine))
        return logits(self.towers, mixed)
