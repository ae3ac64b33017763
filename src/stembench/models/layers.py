"""Building blocks shared by the architectures: base class, MLP, experts, gates, their layers.

Shapes: B rows, C columns of the field matrix, F fields, d embedding width, T tasks.
Linear layers start Xavier-normal with zero bias, as in the code released with STEM.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from stembench.data.schema import Schema
from stembench.errors import StembenchError
from stembench.models.embeddings import EmbeddingBank
from stembench.models.linear import Linear

__all__ = [
    "MLP",
    "BatchNorm",
    "EmbeddingBank",
    "ExpertLayer",
    "Experts",
    "Extractions",
    "Gate",
    "MultiTask",
    "linear",
    "logits",
    "networks",
    "require_nested",
    "task_bce",
    "towers",
]


class MultiTask(nn.Module):
    """An architecture: what training, objectives and diagnostics may ask of any of them.

    `requires_nested` and `required_tasks` are read from the source before anything runs, so they
    are written as literals in a subclass. `requires_nested`: labels must be a chain in the order of
    the tasks, a positive one implying that of the task before; a string names the constructor
    argument that makes it so where it is not zero. `required_tasks`: the only T that it takes.
    """

    requires_nested: bool | str = False
    required_tasks: int | None = None
    embeddings: EmbeddingBank

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        if self.required_tasks not in (None, schema.num_tasks):
            raise StembenchError(
                f"{type(self).__name__} is defined for {self.required_tasks} tasks, and "
                f"{schema.dataset} has {schema.num_tasks} ({', '.join(schema.tasks)})"
            )

    def shared_modules(self) -> Iterable[nn.Module]:
        """Modules besides the embeddings that the losses of several tasks train; none here."""
        return ()

    def shared_parameters(self) -> list[nn.Parameter]:
        """Dense parameters that the losses of several tasks train, embedding tables not counted.

        The parameters on which gradient methods compare the tasks; empty where tasks share none.
        """
        return [parameter for module in self.shared_modules() for parameter in module.parameters()]

    @property
    def gate_sources(self) -> dict[str, list[str]]:
        """Per gate, by its module name, where each of the experts that it weighs comes from."""
        return {name: m.sources for name, m in self.named_modules() if isinstance(m, Gate)}


class MLP(nn.Sequential):
    """Linear, ReLU, dropout for each width of `units`; with `outputs`, a last linear layer."""

    def __init__(
        self, inputs: int, units: Sequence[int], outputs: int | None = None, dropout: float = 0.0
    ) -> None:
        layers: list[nn.Module] = []
        for width in units:
            layers += [linear(inputs, width), nn.ReLU(inplace=True)]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            inputs = width
        if outputs is not None:
            layers.append(linear(inputs, outputs))
        super().__init__(*layers)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that takes the running statistics for a batch of one row.

    The last batch of an epoch may have one row, whose own statistics are undefined.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or len(x) > 1:
            return super().forward(x)
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


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

    def shared_modules(self) -> Iterable[nn.Module]:
        """What the losses of several tasks train.

        Below a shared gate over all experts these are all experts, and below that layer the gates
        too: a task's gate feeds its experts of the next layer.
        """
        layers: list[Any] = list(self)
        for layer, above in zip(layers, [*layers[1:], None], strict=True):
            yield layer.shared
            if layer.shared_sees == "all":
                yield layer.specific
            if layer.shared_sees is not None:
                yield layer.shared_gate
            if above is not None and above.shared_sees == "all":
                yield layer.gates

    def forward(self, inputs: Sequence[Tensor], shared: Tensor) -> list[Tensor]:
        """T task inputs and the shared input, each (B, inputs), to one (B, h) per task."""
        for layer in self:
            inputs, shared = layer(inputs, shared)
        return list(inputs)


def require_nested(model: nn.Module, schema: Schema, labels: NDArray[np.uint8]) -> None:
    """Check the training labels (N, T) of a model that requires nested tasks.

    Raises StembenchError when a label is positive and that of the task before is not.
    """
    if not getattr(model, "requires_nested", False):
        return
    for t in range(1, schema.num_tasks):
        rows = int((labels[:, t] > labels[:, t - 1]).sum())
        if rows:
            raise StembenchError(
                f"{type(model).__name__} needs nested tasks, and in {rows} training rows of "
                f"{schema.dataset} {schema.tasks[t]} is positive without {schema.tasks[t - 1]}"
            )


def networks(
    count: int, inputs: int, units: Sequence[int], dropout: float, outputs: int | None = None
) -> nn.ModuleList:
    """One network of that shape per task."""
    return nn.ModuleList(MLP(inputs, units, outputs, dropout) for _ in range(count))


def towers(count: int, inputs: int, units: Sequence[int], dropout: float) -> nn.ModuleList:
    """One tower per task, each ending in one logit."""
    return networks(count, inputs, units, dropout, outputs=1)


def logits(towers: nn.ModuleList, inputs: Sequence[Tensor]) -> Tensor:
    """Each task's tower on its own input (B, h): logits (B, T)."""
    return torch.cat([tower(x) for tower, x in zip(towers, inputs, strict=True)], dim=1)


def task_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross entropy of each task, (B, T) to (T,), for a model's own `task_losses`."""
    losses = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return losses.mean(0)


def linear(inputs: int, outputs: int) -> Linear:
    """A Xavier-normal linear layer with zero bias."""
    layer = Linear(inputs, outputs)
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
