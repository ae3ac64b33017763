"""ResFlow: Fu et al., Residual Multi-Task Learner for Applied Ranking, KDD 2024."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.layers import BatchNorm, linear, towers


class ResFlow(MultiTask):
    """A network per task, each layer and the logit added to those of the task before:

    h_tl = layer_tl(h_t,l-1) + h_{t-1},l, logit_t = head_t(h_tL) + logit_{t-1}, so that the
    probability of a later task is that of the one before, corrected. Labels must be nested.

    As in the released code the activation is PReLU, followed by batch normalisation, which the
    common input has too (`batch_norm`). That code has two tasks; in a longer chain what is handed
    on is the sum, as in the equation above. Its weights of tasks and of positives, tuned to one
    data set, are left out. A network is that of bottom and tower together.

    The loss of t reaches the one table, and the networks 1 to t.
    """

    requires_nested = True

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: Count = 16,
        batch_norm: bool = True,
        bottom_units: SomeWidths = (512, 512, 512),
        tower_units: Widths = (128, 128),
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(schema)
        self.embeddings = EmbeddingBank(schema, embedding_dim)
        width, units = self.embeddings.output_dim, [*bottom_units, *tower_units]
        self.normalise = BatchNorm(width) if batch_norm else nn.Identity()
        self.networks = nn.ModuleList()
        for _ in schema.tasks:
            network = nn.ModuleList()
            for inputs, outputs in zip([width, *units], units, strict=False):
                layer = [linear(inputs, outputs), nn.PReLU()]
                layer += [BatchNorm(outputs)] if batch_norm else []
                layer += [nn.Dropout(dropout)] if dropout > 0 else []
                network.append(nn.Sequential(*layer))
            self.networks.append(network)
        self.heads = towers(schema.num_tasks, units[-1], [], 0.0)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        x = self.normalise(self.embeddings(fields)[0])
        before: list[Tensor] = []  # of the task before: the layers' outputs, then the logit
        logits = []
        network: Any
        for network, head in zip(self.networks, self.heads, strict=True):
            flow = [x]
            for index, layer in enumerate([*network, head]):
                value = layer(flow[-1])
                flow.append(value + before[index] if before else value)
            before = flow[1:]
            logits.append(flow[-1])
        return torch.cat(logits, dim=1)
