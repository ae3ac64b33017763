"""Single-Task: each task alone, as the reference of what sharing gains or costs."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.experts import Experts, Gate
from stembench.models.layers import logits, networks, towers


class SingleTask(MultiTask):
    """y_t = tower_t(bottom_t(x_t)): no parameter is shared between tasks.

    Training all tasks in one module on the summed loss equals training them apart, for Adam works
    by parameter, with two exceptions: the gradient norm that is clipped is that of all tasks, and
    one epoch is chosen for all tasks.

    Two controls of capacity. With `bottoms_per_task` above 1, task t has as many bottoms behind a
    gate of its own, sum_i g_t(x_t)_i bottom_ti(x_t): STEM's experts without the other tasks. With
    `embedding_budget: stem`, the T tables of a field have together the size of STEM's T + 1.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: Count = 16,
        embedding_budget: Literal["table", "one", "stem"] = "table",
        bottoms_per_task: Count = 1,
        bottom_units: SomeWidths = (512, 512, 512),
        gate_units: Widths = (128, 64),
        tower_units: Widths = (128, 128),
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(schema)
        tasks = schema.num_tasks
        self.embeddings = EmbeddingBank(schema, embedding_dim, tasks, embedding_budget)
        width = self.embeddings.output_dim
        if bottoms_per_task == 1:
            self.bottoms = networks(tasks, width, bottom_units, dropout)
        else:
            self.bottoms = nn.ModuleList(
                Experts(bottoms_per_task, width, bottom_units, dropout) for _ in range(tasks)
            )
            self.gates = nn.ModuleList(
                Gate(width, gate_units, [task] * bottoms_per_task) for task in schema.tasks
            )
        self.bottoms_per_task = bottoms_per_task
        self.towers = towers(tasks, bottom_units[-1], tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        inputs = self.embeddings(fields)
        hidden = [bottom(x) for x, bottom in zip(inputs, self.bottoms, strict=True)]
        if self.bottoms_per_task > 1:
            hidden = [g(x, h) for g, x, h in zip(self.gates, inputs, hidden, strict=True)]
        return logits(self.towers, hidden)
