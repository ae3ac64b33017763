"""What training, objectives and diagnostics may ask of any architecture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from stembench.data.schema import Schema
from stembench.errors import StembenchError
from stembench.models.embeddings import EmbeddingBank
from stembench.models.experts import Gate

#: Types of constructor arguments, read from the source by params.signatures.
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Widths = Sequence[Count]
SomeWidths = Annotated[Widths, Field(min_length=1)]


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

    @property
    def gate_sources(self) -> dict[str, list[str]]:
        """Per gate, by its module name, where each of the experts that it weighs comes from."""
        return {name: m.sources for name, m in self.named_modules() if isinstance(m, Gate)}


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


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Trainable numbers in embedding tables and elsewhere."""
    tables = [m.weight for m in model.modules() if isinstance(m, EmbeddingBank)]
    embedding = sum(table.numel() for table in tables)
    total = sum(parameter.numel() for parameter in model.parameters())
    return {"embedding": embedding, "dense": total - embedding, "total": total}
