"""Experts, gates and their layers, as MMoE, PLE and STEM combine them.

Shapes: B rows, h expert width, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from stembench.models.layers import MLP


class Gate(nn.Module):
    """Mixture weights over experts: softmax(MLP(x)), no dropout.

    `sources` names for each expert whose it is: a task, or "shared". With `record` set, the last
    forward's weights stay in `weights` (B, experts), detached.
    """

    def __init__(self, inputs: int, units: Sequence[int], sources: Sequence[str]) -> None:
        super().__init__()
        self.sources = list(sources)
        self.mlp = MLP(inputs, units, outputs=len(sources))
        self.record = False
        self.weights: Tensor | None = None

    def forward(self, x: Tensor, outputs: Sequence[Tensor] | Tensor) -> Tensor:
        """Sum of the expert outputs (each (B, h), or stacked (B, experts, h)) by the gate of x."""
        weights = self.mlp(x).softmax(dim=-1)  # (B, experts)
        if self.record:
            self.weights = weights.detach()
        if isinstance(outputs, Tensor):
            outputs = outputs.unbind(1)
        mixed: Tensor = _Mixture.apply(  # type: ignore[no-untyped-call]
            weights.to(outputs[0].dtype), *outputs
        )
        return mixed


class _Mixture(torch.autograd.Function):
    """sum_e w_e o_e, expert by expert: as one batched product the outputs (B, experts, h) would be
    copied together, and their gradients apart again, which costs more than the sums."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, *outputs: Tensor) -> Tensor:
        """weights (B, experts) and each expert's output (B, h) to (B, h)."""
        ctx.save_for_backward(weights, *outputs)
        total = weights[:, :1] * outputs[0]
        for e, output in enumerate(outputs[1:], 1):
            total.addcmul_(weights[:, e : e + 1], output)
        return total

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of the mixture (B, h) to those of the weights and of each output."""
        weights, *outputs = ctx.saved_tensors
        to_weights, *wanted = ctx.needs_input_grad
        found = [weights[:, e : e + 1] * slope if wants else None for e, wants in enumerate(wanted)]
        if not to_weights:
            return None, *found
        return torch.stack([(slope * output).sum(1) for output in outputs], dim=1), *found


class Experts(nn.ModuleList):
    """`count` expert networks of one shape, all on the same input."""

    def __init__(self, count: int, inputs: int, units: Sequence[int], dropout: float) -> None:
        super().__init__(MLP(inputs, units, dropout=dropout) for _ in range(count))

    def forward(self, x: Tensor) -> list[Tensor]:
        """x (B, inputs) to one (B, units[-1]) per expert."""
        return [expert(x) for expert in self]


class ExpertLayer(nn.Module):
    """The parts of one layer of PLE or STEM: shared experts, and experts and a gate per task.

    `tasks_see`: whether gate t weighs the task's own and the shared experts or those of all tasks.
    `shared_sees`: what the shared gate weighs, which feeds the next layer's shared experts; None in
    the last layer, where there is no next one and so no shared gate.
    """

    def __init__(
        self,
        inputs: int,
        tasks: Sequence[str],
        num_shared: int,
        num_specific: int,
        expert_units: Sequence[int],
        gate_units: Sequence[int],
        dropout: float,
        tasks_see: Literal["own", "all"],
        shared_sees: Literal["all", "shared"] | None,
    ) -> None:
        super().__init__()
        self.shared = Experts(num_shared, inputs, expert_units, dropout)
        self.specific = nn.ModuleList(
            Experts(num_specific, inputs, expert_units, dropout) for _ in tasks
        )
        own, common = {task: [task] * num_specific for task in tasks}, ["shared"] * num_shared
        every = [*chain(*own.values()), *common]
        self.gates = nn.ModuleList(
            Gate(inputs, gate_units, every if tasks_see == "all" else own[task] + common)
            for task in tasks
        )
        self.shared_sees = shared_sees
        if shared_sees is not None:
            self.shared_gate = Gate(inputs, gate_units, every if shared_sees == "all" else common)


class Extraction(ExpertLayer):
    """One extraction layer of PLE (section 4.2): gate t mixes own and shared experts by x_t."""

    def forward(self, inputs: Sequence[Tensor], shared: Tensor) -> tuple[list[Tensor], Tensor]:
        """T task inputs and the shared input, each (B, inputs), to those of the next layer."""
        common = self.shared(shared)
        own = [group(x) for x, group in zip(inputs, self.specific, strict=True)]
        outputs = [
            gate(x, mine + common) for x, gate, mine in zip(inputs, self.gates, own, strict=True)
        ]
        if self.shared_sees == "all":
            shared = self.shared_gate(shared, [*chain(*own), *common])
        elif self.shared_sees == "shared":
            shared = self.shared_gate(shared, common)
        return outputs, shared


class Extractions(nn.ModuleList):
    """Extraction layers one upon the other, as in PLE; with one it is CGC."""

    def __init__(
        self,
        inputs: int,
        tasks: Sequence[str],
        num_layers: int,
        num_shared: int,
        num_specific: int,
        expert_units: Sequence[int],
        gate_units: Sequence[int],
        dropout: float,
        shared_sees: Literal["all", "shared"],
    ) -> None:
        super().__init__()
        for index in range(num_layers):
            last = index == num_layers - 1
            sizes = (inputs, tasks, num_shared, num_specific, expert_units, gate_units, dropout)
            self.append(Extraction(*sizes, "own", None if last else shared_sees))
            inputs = expert_units[-1]

    def forward(self, inputs: Sequence[Tensor], shared: Tensor) -> list[Tensor]:
        """T task inputs and the shared input, each (B, inputs), to one (B, h) per task."""
        for layer in self:
            inputs, shared = layer(inputs, shared)
        return list(inputs)
