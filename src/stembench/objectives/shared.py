"""Which parameters the tasks share, found by asking autograd; and the looked-up embeddings.

No model declares it: a parameter is shared when the losses of at least two tasks reach it in the
graph, which follows every detach, gate and task-specific branch by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stembench.models.layers import EmbeddingBank
from stembench.objectives.base import Losses


@dataclass(frozen=True)
class Reach:
    """Parameters of a model by who reaches them.

    shared: dense ones that at least two tasks reach; own: by task, the dense ones that it alone
    reaches; tables: those of the embedding banks, whoever reaches them.
    """

    shared: list[nn.Parameter]
    own: list[list[nn.Parameter]]
    tables: list[nn.Parameter]


def reach(model: nn.Module, losses: Losses, fields: Tensor, tasks: int) -> Reach:
    """Try each task's loss on a few rows (b, C); leaves model and random streams as they were."""
    tables = [m.weight for m in model.modules() if isinstance(m, EmbeddingBank)]
    known = {id(table) for table in tables}
    dense = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    training = model.training
    model.eval()  # no dropout mask is drawn, no running mean moves
    values = losses(model(fields), torch.zeros(len(fields), tasks, device=fields.device))
    found = [
        torch.autograd.grad(values[t], dense, retain_graph=True, allow_unused=True)
        for t in range(tasks)
    ]
    model.train(training)
    reached = [[gradients[i] is not None for gradients in found] for i in range(len(dense))]
    return Reach(
        shared=[p for p, tasks_of in zip(dense, reached, strict=True) if sum(tasks_of) > 1],
        own=[
            [p for p, by in zip(dense, reached, strict=True) if by[t] and sum(by) == 1]
            for t in range(tasks)
        ],
        tables=tables,
    )


#: A looked-up embedding (b, F * d) with its place: the bank's module name, the copy's number.
LookedUp = tuple[tuple[str, int], Tensor]


@contextmanager
def looked_up(model: nn.Module) -> Iterator[list[LookedUp]]:
    """Collects what the embedding banks return in forward passes inside."""
    found: list[LookedUp] = []

    def keep(name: str, outputs: list[Tensor]) -> None:
        found.extend(((name, copy), output) for copy, output in enumerate(outputs))

    hooks = [
        module.register_forward_hook(lambda _, __, outputs, name=name: keep(name, outputs))
        for name, module in model.named_modules()
        if isinstance(module, EmbeddingBank)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def readers(
    model: nn.Module, losses: Losses, fields: Tensor, tasks: tuple[str, ...]
) -> dict[tuple[str, int], set[str]]:
    """By place of a table, the tasks whose losses reach it; `fields` (b, C) are a few rows."""
    with torch.enable_grad():
        with looked_up(model) as found:
            values = losses(model(fields), torch.zeros(len(fields), len(tasks)).to(fields.device))
        vectors = [vector for _, vector in found]
        result: dict[tuple[str, int], set[str]] = {place: set() for place, _ in found}
        for t, task in enumerate(tasks):
            reached = torch.autograd.grad(values[t], vectors, retain_graph=True, allow_unused=True)
            for (place, _), gradient in zip(found, reached, strict=True):
                if gradient is not None:
                    result[place].add(task)
    return result


def flat(gradients: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    """One vector of a task's gradients, zero where it does not reach."""
    return torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).flatten()
            for g, p in zip(gradients, like, strict=True)
        ]
    )
