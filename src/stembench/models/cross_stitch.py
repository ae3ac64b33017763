"""Cross-Stitch: Misra et al., Cross-stitch Networks for Multi-task Learning, CVPR 2016."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.layers import MLP, logits, towers


class CrossStitch(MultiTask):
    """A network per task whose activations are mixed after each layer: eq. 1 of the paper.

    h_t <- sum_u a_tu layer_u(h_u), with one matrix a (T, T) a layer, which starts at .9 for the own
    task and .1 in all for the others. The paper has a matrix for each channel of an image; one a
    layer is what published recommenders use. The loss of t reaches the one table, the networks of
    all tasks, the matrices (of the last its row t), and tower t.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: Count = 16,
        bottom_units: SomeWidths = (512, 512, 512),
        tower_units: Widths = (128, 128),
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(schema)
        tasks = schema.num_tasks
        self.embeddings = EmbeddingBank(schema, embedding_dim)
        widths = [self.embeddings.output_dim, *bottom_units]
        self.layers = nn.ModuleList(
            nn.ModuleList(MLP(inputs, [width], dropout=dropout) for _ in range(tasks))
            for inputs, width in zip(widths, bottom_units, strict=False)
        )
        others = 0.1 / (tasks - 1) if tasks > 1 else 0.0
        start = torch.full((tasks, tasks), others).fill_diagonal_(0.9 if tasks > 1 else 1.0)
        self.stitches = nn.ParameterList(nn.Parameter(start.clone()) for _ in bottom_units)
        self.towers = towers(tasks, bottom_units[-1], tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        (x,) = self.embeddings(fields)
        hidden = [x] * len(self.towers)
        layer: Any
        for layer, stitch in zip(self.layers, self.stitches, strict=True):
            outputs = torch.stack([net(h) for net, h in zip(layer, hidden, strict=True)], dim=1)
            hidden = list(torch.einsum("tu,buh->tbh", stitch, outputs))
        return logits(self.towers, hidden)
