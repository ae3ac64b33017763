"""A plain implementation to measure against: what the code released with STEM does in each step.

Written from the description of that code, none of which runs on current libraries: a table per
field and a lookup each, batches collated row by row by a DataLoader in the same process, the L2
norm of whole tables inside autograd, Adam without fusion, `.item()` in every step, and a shared
gate in the last layer that is computed and never used. Otherwise the models of stembench.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from stembench.data.schema import Schema

CPU = torch.device("cpu")

#: Widths and numbers released with the paper.
EXPERT, GATE, TOWER, SHARED, SPECIFIC, DIM = (512, 512, 512), (128, 64), (128, 64), 8, 1, 16


class Rows(Dataset[tuple[Any, Any]]):
    """One row at a time, as numpy arrays."""

    def __init__(self, fields: np.ndarray, labels: np.ndarray) -> None:
        self.fields, self.labels = fields, labels

    def __len__(self) -> int:
        """Rows."""
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        """Ids (C,) and labels (T,)."""
        return self.fields[row], self.labels[row]


def mlp(inputs: int, units: tuple[int, ...], last: int | None = None) -> nn.Sequential:
    """Linear and ReLU by turns."""
    layers: list[nn.Module] = []
    for width in units:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, *([nn.Linear(inputs, last)] if last else []))


class Plain(nn.Module):
    """Shared-Bottom, MMoE, PLE or STEM with one layer, by name."""

    def __init__(self, schema: Schema, kind: str) -> None:
        super().__init__()
        self.kind, tasks = kind, schema.num_tasks
        width = DIM * (tasks + 1 if kind == "stem" else 1)
        self.tables = nn.ModuleList(nn.Embedding(f.size, width) for f in schema.fields)
        inputs = DIM * len(schema.fields)
        count = 1 if kind == "shared_bottom" else SHARED
        self.shared = nn.ModuleList(mlp(inputs, EXPERT) for _ in range(count))
        own = SPECIFIC if kind in ("ple", "stem") else 0
        self.own = nn.ModuleList(
            nn.ModuleList(mlp(inputs, EXPERT) for _ in range(own)) for _ in range(tasks)
        )
        seen = {"shared_bottom": 0, "mmoe": SHARED, "ple": SHARED + own}.get(
            kind, SHARED + own * tasks
        )
        gates = tasks if seen else 0
        self.gates = nn.ModuleList(mlp(inputs, GATE, seen) for _ in range(gates))
        if kind in ("ple", "stem"):  # never used
            self.shared_gate = mlp(inputs, GATE, SHARED + (own * tasks if kind == "stem" else 0))
        self.towers = nn.ModuleList(mlp(EXPERT[-1], TOWER, 1) for _ in range(tasks))

    def forward(self, fields: Tensor) -> Tensor:
        """Ids (B, F) to logits (B, T)."""
        vectors = torch.stack([table(fields[:, i]) for i, table in enumerate(self.tables)], dim=1)
        tasks = len(self.towers)
        parts = [part.flatten(1) for part in vectors.split(DIM, dim=2)]  # T and the shared one
        inputs = parts[:tasks] if self.kind == "stem" else parts * tasks
        common = [expert(parts[-1]) for expert in self.shared]
        own = [[e(x) for e in experts] for experts, x in zip(self.own, inputs, strict=True)]
        logits = []
        for t, tower in enumerate(self.towers):
            if not len(self.gates):
                logits.append(tower(common[0]))
                continue
            outputs, x = own[t] + common, inputs[t]
            if self.kind == "stem":
                mixed = [[o if u == t else o.detach() for o in own[u]] for u in range(tasks)]
                outputs, x = [*chain(*mixed), *common], inputs[t] + parts[-1]
            weights = self.gates[t](x).softmax(1).unsqueeze(2)
            logits.append(tower((torch.stack(outputs, dim=1) * weights).sum(1)))
        if self.kind in ("ple", "stem"):
            outputs = [*chain(*own), *common] if self.kind == "stem" else common
            weights = self.shared_gate(parts[-1]).softmax(1).unsqueeze(2)
            (torch.stack(outputs, dim=1) * weights).sum(1)
        return torch.cat(logits, dim=1)


def steps(
    schema: Schema,
    kind: str,
    fields: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
    device: torch.device = CPU,
) -> Iterator[Callable[[], None]]:
    """One epoch: a callable a step, which draws its batch and trains on it."""
    model = Plain(schema, kind).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = iter(DataLoader(Rows(fields, labels), batch_size, shuffle=True))

    def step() -> None:
        x, y = (part.to(device) for part in next(loader))
        optimizer.zero_grad()
        logits = model(x)
        loss = sum(
            nn.functional.binary_cross_entropy(logits[:, t].sigmoid(), y[:, t].float())
            for t in range(y.shape[1])
        )
        loss = loss + 0.5e-6 * sum(table.weight.norm(2) ** 2 for table in model.tables)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        loss.item()

    for _ in range(len(labels) // batch_size):
        yield step
