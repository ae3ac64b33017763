"""PEPNet: Chang et al., PEPNet: Parameter and Embedding Personalized Network for Infusing with
Personalized Prior Information, KDD 2023."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.layers import MLP, linear, towers


class GateNU(nn.Module):
    """d = 2 s(MLP(x)): factors in (0, 2) that personalise another network's values."""

    def __init__(self, inputs: int, units: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.mlp = MLP(inputs, units, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return 2 * torch.sigmoid(self.mlp(x))


class PEPNet(MultiTask):
    """Embeddings scaled by the context, hidden layers of the task networks by user and item.

    EPNet: O = d(E_c + sg(E)) * E. PPNet: at layer l of all tasks' networks
    (d_1l, ..., d_Tl) = d_l(E_u + E_i + sg(O)), h_tl = d_tl * relu(W_tl h_t,l-1), h_t0 = O;
    y_t = w_t h_tL. Here + concatenates, sg stops the gradient, E is the input of all fields, and
    E_c, E_u, E_i are the parts of it that the context, user and item fields make.

    Departures: the paper's domain features are the context fields here, and where there are none
    EPNet sees sg(E) alone; priors are looked up in the common table, not in one of their own; the
    input of the first layer is scaled by EPNet only.

    The loss of t reaches the one table, all gates (of their last layers its own rows), network t.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: Count = 16,
        bottom_units: SomeWidths = (512, 512, 512),
        gate_units: Widths = (128,),
        tower_units: Widths = (128, 64),
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(schema)
        tasks = schema.num_tasks
        self.embeddings = EmbeddingBank(schema, embedding_dim)
        width, dim = self.embeddings.output_dim, self.embeddings.dim
        roles = [field.role for field in schema.fields for _ in range(dim)]
        context = torch.tensor([i for i, role in enumerate(roles) if role == "context"]).int()
        prior = torch.tensor([i for i, role in enumerate(roles) if role != "context"]).int()
        self.register_buffer("context", context, persistent=False)
        self.register_buffer("prior", prior, persistent=False)
        self.context: Tensor
        self.prior: Tensor
        units = [*bottom_units, *tower_units]
        self.embedding_gate = GateNU(len(context) + width, gate_units, width)
        self.layer_gates = nn.ModuleList(
            GateNU(len(prior) + width, gate_units, tasks * unit) for unit in units
        )
        widths = [width, *units]
        self.networks = nn.ModuleList(
            nn.ModuleList(linear(i, o) for i, o in zip(widths, units, strict=False))
            for _ in schema.tasks
        )
        self.dropout = nn.Dropout(dropout)
        self.heads = towers(tasks, units[-1], [], 0.0)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        (x,) = self.embeddings(fields)
        context, prior = x.index_select(1, self.context), x.index_select(1, self.prior)
        x = x * self.embedding_gate(torch.cat([context, x.detach()], dim=1))
        prior = torch.cat([prior, x.detach()], dim=1)
        tasks = len(self.heads)
        factors = [gate(prior).chunk(tasks, dim=1) for gate in self.layer_gates]
        outputs = []
        network: Any
        for t, (network, head) in enumerate(zip(self.networks, self.heads, strict=True)):
            hidden = x
            for layer, factor in zip(network, factors, strict=True):
                hidden = self.dropout(layer(hidden).relu() * factor[t])
            outputs.append(head(hidden))
        return torch.cat(outputs, dim=1)
