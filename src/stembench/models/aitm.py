"""AITM: Xi et al., Modeling the Sequential Dependence among Audience Multi-step Conversions with
Multi-task Learning in Targeted Display Advertising, KDD 2021."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.layers import linear, logits, networks, task_bce, towers


class AITM(MultiTask):
    """Each task takes over what the one before it passes on, by attention over two vectors.

    q_t = bottom_t(x), z_1 = q_1, and for t > 1
    p_t = g_{t-1}(z_{t-1}), z_t = sum_u w_u h_1(u) over u in {p_t, q_t},
    w = softmax over u of <h_2(u), h_3(u)> / sqrt(k); y_t = tower_t(z_t).
    g_t and h_i are linear, the h_i common to all steps, as in the code released with STEM.

    `calibration` > 0 adds the behavioural expectation calibrator, that weight times
    mean sum_{t > 1} max(p_t - p_{t-1}, 0), p the probabilities: it supposes that a positive label
    implies one of the task before, so labels must be nested. STEM's release leaves it out, as is
    the default; any tasks then do, in the order of the labels.

    The loss of t reaches the one table, bottoms 1 to t, the transfers up to t, and tower t; with
    the calibrator also tower t - 1.
    """

    requires_nested: bool | str = "calibration"

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: Count = 16,
        calibration: float = 0.0,
        bottom_units: SomeWidths = (512, 512, 512),
        tower_units: Widths = (128, 128),
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(schema)
        tasks, width = schema.num_tasks, bottom_units[-1]
        self.calibration, self.requires_nested = calibration, calibration > 0
        self.embeddings = EmbeddingBank(schema, embedding_dim)
        self.bottoms = networks(tasks, self.embeddings.output_dim, bottom_units, dropout)
        self.transfers = nn.ModuleList(linear(width, width) for _ in range(tasks - 1))  # g
        self.attention = nn.ModuleList(linear(width, width) for _ in range(3 * (tasks > 1)))  # h
        self.towers = towers(tasks, width, tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        (x,) = self.embeddings(fields)
        hidden = [bottom(x) for bottom in self.bottoms]
        for t, transfer in enumerate(self.transfers, start=1):
            pair = torch.stack([transfer(hidden[t - 1]), hidden[t]], dim=1)  # (B, 2, k)
            value, key, query = (h(pair) for h in self.attention)
            scores = (key * query).sum(2) / key.shape[2] ** 0.5
            hidden[t] = torch.einsum("bu,buk->bk", scores.softmax(1), value)
        return logits(self.towers, hidden)

    def task_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy of each task and its part of the calibrator, (B, T) to (T,)."""
        losses = task_bce(logits, labels)
        if self.calibration == 0:
            return losses
        p = logits.sigmoid()
        excess = (p[:, 1:] - p[:, :-1]).relu().mean(0)
        return losses + self.calibration * nn.functional.pad(excess, (1, 0))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Sum of the tasks' losses; logits and labels (B, T)."""
        return self.task_losses(logits, labels).sum()
