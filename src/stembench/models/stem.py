"""STEM-Net: Su et al., STEM: Unleashing the Power of Embeddings for Multi-task Recommendation,
AAAI 2024 (arXiv 2308.13537), and what it is made of, as arguments.

Each field has T task embeddings and a shared one; x_t and x_S are their concatenations. Task t owns
K1 experts on x_t; K2 shared experts see x_S. Gate t mixes the outputs of all T * K1 + K2 experts by
softmax(MLP_t(x_t + x_S)), those of the other tasks detached (all forward, task-specific backward).
A further layer has these mixtures as inputs, and for x_S that of a shared gate over all experts.

- embeddings: `both`; `shared`: x_t = x_S = x, tables tied; `task`: no x_S, shared experts see x_t.
- backward: `aftb`; `all`: nothing detached; `shared_detached`: the shared experts' outputs detached
  as well, so that these experts stay as they were drawn (they need no gradient).
- gate_input: `task_and_shared`, x_t + x_S (the released code); `task`, x_t (the paper's figure).
- isolation, with several layers: `released`: the shared gate detaches nothing, so the loss of t
  reaches the others' experts and tables below the last layer; `strict`: it detaches all task
  experts, and the loss of t reaches nothing of another task, however many layers there are.

The last layer's shared gate, computed and never trained in the released code, is not built.
Tables that the loss of t reaches: E_t and E_S, or those that there are; with backward `all`, or
with several layers and isolation `released`, all. With `shared`, `all` and `task` it is MMoE.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Literal

from torch import Tensor, nn

from stembench.data.schema import Schema
from stembench.errors import StembenchError
from stembench.models.base import Count, MultiTask, Rate, SomeWidths, Widths
from stembench.models.embeddings import EmbeddingBank
from stembench.models.experts import ExpertLayer
from stembench.models.layers import logits, towers


class STEM(MultiTask):
    """Shared and task-specific embeddings behind all-forward, task-specific-backward gates."""

    def __init__(
        self,
        schema: Schema,
        *,
        embedding_dim: Count = 16,
        embedding_budget: Literal["table", "one", "stem"] = "table",
        embeddings: Literal["both", "shared", "task"] = "both",
        backward: Literal["aftb", "all", "shared_detached"] = "aftb",
        gate_input: Literal["task_and_shared", "task"] = "task_and_shared",
        isolation: Literal["released", "strict"] = "released",
        num_layers: Count = 1,
        num_shared_experts: Count = 8,
        num_specific_experts: Count = 1,
        expert_units: SomeWidths = (512, 512, 512),
        gate_units: Widths = (128, 64),
        tower_units: Widths = (128, 64),
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__(schema)
        if backward == "all" and isolation == "strict":
            raise StembenchError("STEM: isolation strict has no meaning where backward is all")
        if (backward, gate_input) == ("shared_detached", "task") and num_layers > 1:
            raise StembenchError(
                "STEM: backward shared_detached with gate_input task trains no shared gate: use "
                "one layer or gate_input task_and_shared"
            )
        self.kind, self.backward, self.strict = embeddings, backward, isolation == "strict"
        self.gate_sum = gate_input == "task_and_shared"
        copies = {"both": schema.num_tasks + 1, "shared": 1, "task": schema.num_tasks}[embeddings]
        self.embeddings = EmbeddingBank(schema, embedding_dim, copies, embedding_budget)
        inputs = self.embeddings.output_dim
        sizes = (schema.tasks, num_shared_experts, num_specific_experts, expert_units, gate_units)
        self.layers = nn.ModuleList()
        for above in range(num_layers, 0, -1):
            layer = ExpertLayer(inputs, *sizes, dropout, "all", "all" if above > 1 else None)
            layer.shared.requires_grad_(backward != "shared_detached")
            self.layers.append(layer)
            inputs = expert_units[-1]
        self.towers = towers(schema.num_tasks, inputs, tower_units, dropout)

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, C) to logits (B, T)."""
        inputs = self.embeddings(fields)
        shared = inputs  # one for all tasks, or with embeddings `task` one for each
        if self.kind != "task":
            shared, inputs = inputs[-1:], inputs[:-1] or inputs * len(self.towers)
        for layer in self.layers:
            inputs, shared = self._mix(layer, inputs, shared)
        return logits(self.towers, inputs)

    def _mix(
        self, layer: Any, inputs: list[Tensor], shared: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """T task inputs and one or T shared ones, each (B, inputs), to the next layer's."""
        own = [group(x) for x, group in zip(inputs, layer.specific, strict=True)]
        stopped = [[output.detach() for output in group] for group in own]
        common = [layer.shared(x) for x in shared]
        if self.backward == "shared_detached":
            common = [[output.detach() for output in group] for group in common]
        outputs = []
        for t, (x, gate) in enumerate(zip(inputs, layer.gates, strict=True)):
            stream = t % len(shared)
            seen = own if self.backward == "all" else [*stopped[:t], own[t], *stopped[t + 1 :]]
            x = x + shared[stream] if self.gate_sum else x
            outputs.append(gate(x, [*chain(*seen), *common[stream]]))
        if layer.shared_sees is not None:
            seen = [*chain(*(stopped if self.strict else own))]
            shared = [layer.shared_gate(x, seen + common[i]) for i, x in enumerate(shared)]
        return outputs, shared
