"""Which parameters the tasks share, found by asking autograd; and one backward pass per task.

No model declares it: a parameter is shared when the losses of at least two tasks reach it in the
graph, which follows every detach, gate and task-specific branch by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, _engine_run_backward

from stembench.models.embeddings import EmbeddingBank
from stembench.objectives.base import Losses, task_bce


class TaskBackward:
    """The backward pass of each task's loss alone, through one forward pass.

    Logits (B, T) are T columns put side by side, so that the loss of one task would flow through
    all towers, as zeros through those of the others: T times their work, and a graph in which each
    task reaches everything. So a pass starts at the task's own column, at the edge below the
    concatenation. Where the model ends in something else, or has losses of its own, it starts at
    the loss, and zeros count as not reached (`exact` is False).
    """

    def __init__(self, losses: Losses, logits: Tensor, labels: Tensor) -> None:
        self.losses = losses(logits, labels)
        edges = _columns(logits) if losses is task_bce else None
        self.exact = edges is not None
        self._starts: list[tuple[Any, Tensor]]
        if edges is None:
            self._starts = [(loss, torch.ones_like(loss)) for loss in self.losses.unbind()]
            return
        (slopes,) = torch.autograd.grad(self.losses.sum(), logits, retain_graph=True)
        starts = zip(edges, torch.split(slopes, 1, dim=1), strict=True)
        self._starts = [(edge, slope.to(_dtype(edge))) for edge, slope in starts]

    def gradients(self, task: int, inputs: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Gradient of one task's loss at each input, None where it does not reach."""
        start, slope = self._starts[task]
        # As torch.autograd.grad, see `accumulate`.
        found = _engine_run_backward(
            (start,), (slope,), True, False, tuple(inputs), allow_unreachable=True,
            accumulate_grad=False,
        )  # fmt: skip
        if self.exact:
            return found
        return tuple(g if g is not None and bool(g.any()) else None for g in found)


def accumulate(ends: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """Carry gradients at `ends` on to the leaves, and free the graph.

    As torch.autograd.backward, which imports sympy to compare shapes: .4 s of each cell.
    """
    _engine_run_backward(
        tuple(ends), tuple(gradients), False, False, (), allow_unreachable=True,
        accumulate_grad=True,
    )  # fmt: skip


def _columns(logits: Tensor) -> list[GradientEdge] | None:
    """The edges below a concatenation of T columns (B, 1), None for any other end of a model."""
    node: Any = logits.grad_fn
    if node is not None and node.name() == "ToCopyBackward0":  # from a lower precision
        node = node.next_functions[0][0]
    if node is None or node.name() != "CatBackward0":
        return None
    edges = [GradientEdge(function, index) for function, index in node.next_functions]
    known = all(edge.node is not None for edge in edges)
    side_by_side = len(edges) == logits.shape[1] and node._saved_dim in (1, 2**64 - 1)
    return edges if known and side_by_side else None


def _dtype(edge: GradientEdge) -> torch.dtype:
    """Type of the gradient that flows into an edge."""
    node: Any = edge.node
    found: torch.dtype = node._input_metadata[edge.output_nr].dtype
    return found


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
    """Try each task's loss on some rows (b, C); leaves model and random streams as they were."""
    tables = [m.weight for m in model.modules() if isinstance(m, EmbeddingBank)]
    known = {id(table) for table in tables}
    dense = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    training = model.training
    model.eval()  # no dropout mask is drawn, no running mean moves
    backward = TaskBackward(losses, model(fields), _alternating(fields, tasks))
    found = [backward.gradients(t, dense) for t in range(tasks)]
    model.train(training)
    reached = [[gradients[i] is not None for gradients in found] for i in range(len(dense))]
    return Reach(
        shared=[p for p, by in zip(dense, reached, strict=True) if sum(by) > 1],
        own=[
            [p for p, by in zip(dense, reached, strict=True) if by[t] and sum(by) == 1]
            for t in range(tasks)
        ],
        tables=tables,
    )


def _alternating(fields: Tensor, tasks: int) -> Tensor:
    """Labels (b, T), half of them positive, so that no loss is flat."""
    rows = torch.arange(len(fields), device=fields.device) % 2
    return rows.float().unsqueeze(1).expand(-1, tasks)


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
    """By place of a table, the tasks whose losses reach it; `fields` (b, C) are some rows."""
    with torch.enable_grad():
        with looked_up(model) as found:
            backward = TaskBackward(losses, model(fields), _alternating(fields, len(tasks)))
        vectors = [vector for _, vector in found]
        result: dict[tuple[str, int], set[str]] = {place: set() for place, _ in found}
        for t, task in enumerate(tasks):
            for (place, _), gradient in zip(found, backward.gradients(t, vectors), strict=True):
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
