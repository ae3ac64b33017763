"""What explains a result: gates, conflict of gradients, collapse of embeddings, cost.

Looked at from beside the training: a few fixed training batches (rows drawn from the run's
`diagnostics` stream), the model in evaluation mode, gradients taken without touching `.grad`. No
random stream and no weight moves, so that a run's weights are the same bits with and without.
"""

from __future__ import annotations

import csv
import math
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from stembench.data.batches import Batches, stream
from stembench.data.schema import Schema
from stembench.models.embeddings import EmbeddingBank
from stembench.models.experts import Gate
from stembench.models.linear import ONEDNN
from stembench.objectives import Objective, losses_of
from stembench.objectives.shared import TaskBackward, looked_up, reach, readers
from stembench.training.selection import Choice

#: Fixed training batches, and the most rows of one.
BATCHES, ROWS = 2, 512
_ROWS_AT_A_TIME = 2**16
COLUMNS = ("epoch", "quantity", "task", "source", "value")

#: A line of diagnostics.csv: quantity, task, source, value.
Line = tuple[str, str, str, float]


class Diagnostics:
    """Follows one training; `epoch` at the end of each epoch, `summary` after the last.

    diagnostics.csv, one value a line (epoch, quantity, task, source, value):
    - gate: mean weight over the rows that the gate `task` (a task's name, or the module's where
      gate and task are not one to one) gives to all experts of `source` together;
    - cosine_dense: mean over the batches of the cosine between the gradients of the losses of
      `task` and `source` on the dense parameters that both reach;
    - cosine_embedding: the same on the looked-up embeddings (B, F * d) that both reach.
    """

    def __init__(
        self, schema: Schema, model: nn.Module, batches: Batches, seed: int, path: Path
    ) -> None:
        self.seconds = 0.0
        self._schema, self._path = schema, path
        self._model: Any = model  # asked for gate_sources, which few modules have
        rows = min(ROWS, batches.batch_size)
        draw = torch.randperm(len(batches.labels), generator=stream(seed, "diagnostics"))
        chosen = draw[: BATCHES * rows].to(batches.fields.device)
        self._batches = [
            (batches.fields[part], batches.labels[part].float())
            for part in torch.split(chosen, rows)
        ]
        self._losses = losses_of(model)
        self._shared: list[nn.Parameter] | None = None
        if self._losses is not None:
            few = self._batches[0][0][:64]
            self._shared = reach(model, self._losses, few, schema.num_tasks).shared
        self._gates: dict[str, Any] = {
            name: gate for name, gate in model.named_modules() if isinstance(gate, Gate)
        }
        self._found: dict[int, list[Line]] = {}
        with path.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(COLUMNS)

    def epoch(self, epoch: int) -> None:
        """Look at the weights as they are after an epoch (1-based)."""
        begun = time.perf_counter()
        training = self._model.training
        self._model.eval()
        for gate in self._gates.values():
            gate.record = True
        shares: list[dict[tuple[str, str], float]] = []
        cosines: list[dict[tuple[str, str, str], float]] = []
        for fields, labels in self._batches:
            cosines.append(self._cosines(fields, labels))
            shares.append(self._gate_shares())
        for gate in self._gates.values():
            gate.record, gate.weights = False, None
        self._model.train(training)
        lines = [("gate", *key, value) for key, value in _mean(shares).items()]
        lines += [(*key, value) for key, value in _mean(cosines).items()]
        self._found[epoch] = lines
        with self._path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows((epoch, *line[:-1], repr(line[-1])) for line in lines)
        self.seconds += time.perf_counter() - begun

    def summary(self, choice: Choice, objective: Objective, optimizer_bytes: int) -> dict[str, Any]:
        """For run.json: the lines of the chosen epoch and what is measured once.

        With one checkpoint a task, a task's gate is that of its own epoch, cosines and abundance
        are those of the last one, whose weights the model must hold. Uses the objective for one
        more step's gradients, so the training must be over.
        """
        begun = time.perf_counter()
        epochs = dict(zip(self._schema.tasks, choice.epochs, strict=True))
        found: dict[str, dict[str, dict[str, float]]] = {}
        for epoch in sorted(set(choice.epochs)):
            for quantity, task, source, value in self._found[epoch]:
                gate = quantity == "gate"
                if epoch == (epochs.get(task, choice.best_epoch) if gate else choice.best_epoch):
                    found.setdefault(quantity, {}).setdefault(task, {})[source] = value
        summary = found | {
            "abundance": self._abundances(),
            "memory_bytes": {
                "parameters": sum(_bytes(p) for p in self._model.parameters()),
                "optimizer": optimizer_bytes,
                "objective": objective.state_bytes(),
            },
            "flops_per_sample": self._flops(objective),
            "rows": sum(len(labels) for _, labels in self._batches),
        }
        self.seconds += time.perf_counter() - begun
        return summary | {"seconds": self.seconds}

    def _gate_shares(self) -> dict[tuple[str, str], float]:
        """Mean weight by (task of the gate, source), of the last forward pass."""
        if not hasattr(self._model, "gate_sources"):
            return {}
        sources: dict[str, list[str]] = self._model.gate_sources
        shares: dict[tuple[str, str], float] = {}
        for name, gate in self._gates.items():
            if gate.weights is None or name not in sources:
                continue  # not used in the forward pass, or without experts to name
            label = self._task_of(name)
            for source, share in zip(sources[name], gate.weights.mean(0).tolist(), strict=True):
                shares[label, source] = shares.get((label, source), 0.0) + share
        return shares

    def _task_of(self, name: str) -> str:
        """`gates.1` is the gate of task 1 where its list has one gate a task and no namesake."""
        parent, _, index = name.rpartition(".")
        brothers = [n for n in self._gates if n.rpartition(".")[0] == parent]
        lists = {n.rpartition(".")[0] for n in self._gates if n.rpartition(".")[2].isdigit()}
        alone = len(lists) == 1 and len(brothers) == self._schema.num_tasks
        return self._schema.tasks[int(index)] if alone and index.isdigit() else name

    def _cosines(self, fields: Tensor, labels: Tensor) -> dict[tuple[str, str, str], float]:
        """(quantity, task, other task) to cosine; only a forward pass where it has no meaning."""
        tasks = self._schema.tasks
        if self._losses is None or self._shared is None or len(tasks) < 2:
            with torch.no_grad():
                self._model(fields)
            return {}
        with looked_up(self._model) as found_up:
            backward = TaskBackward(self._losses, self._model(fields), labels)
        wanted, count = [*self._shared, *(vector for _, vector in found_up)], len(self._shared)
        by_task = [backward.gradients(t, wanted) for t in range(len(tasks))]
        found = {}
        for quantity, part in (("dense", slice(count)), ("embedding", slice(count, None))):
            for a, b in combinations(range(len(tasks)), 2):
                value = _cosine(by_task[a][part], by_task[b][part])
                if value is not None:
                    found[f"cosine_{quantity}", tasks[a], tasks[b]] = value
        return found

    @torch.no_grad()
    def _abundances(self) -> dict[str, dict[str, float]]:
        """Information abundance by table and field: Guo et al., On the Embedding Collapse when
        Scaling up Recommendation Models, ICML 2024, definition 1.

        sum(s) / max(s) of the singular values s of a field's table (rows, d): 1 where all rows lie
        on a line, d where they fill the space evenly. A table is named by the task whose loss alone
        reaches it, or `shared`.
        """
        found: dict[str, dict[str, float]] = {}
        banks = {n: m for n, m in self._model.named_modules() if isinstance(m, EmbeddingBank)}
        owners: dict[tuple[str, int], set[str]] = {}
        if self._losses is not None:
            few = self._batches[0][0][:64]
            owners = readers(self._model, self._losses, few, self._schema.tasks)
        for name, bank in banks.items():
            sizes = {field.name: field.size for field in self._schema.fields}
            if sum(sizes.values()) != len(bank.weight):
                sizes = {"all": len(bank.weight)}  # a bank of its own making
            for copy in range(bank.copies):
                columns = bank.weight[:, copy * bank.dim : (copy + 1) * bank.dim]
                tasks = owners.get((name, copy), set())
                label = next(iter(tasks)) if len(tasks) == 1 else "shared"
                label = label if len(banks) == 1 else f"{name} {label}"
                if label in found:
                    label += f" {copy}"
                found[label] = {
                    field: abundance(table)
                    for field, table in zip(
                        sizes, torch.split(columns, list(sizes.values())), strict=True
                    )
                }
        return found

    def _flops(self, objective: Objective) -> dict[str, float]:
        """Floating point operations per sample of matrix products (the lookup has none): `forward`
        in prediction, `step` for the gradients of one training step under the objective."""
        fields, labels = self._batches[0]
        with Flops() as counter, torch.no_grad():
            self._model(fields)
        forward = counter.total
        with Flops() as counter:
            objective.backward(fields, labels)
            objective.after_step(fields, labels)
        self._model.zero_grad(set_to_none=True)
        return {"forward": forward / len(fields), "step": counter.total / len(fields)}


class Flops(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts floating point operations inside, by torch's formulas of its operators.

    Theirs (torch.utils.flop_counter.FlopCounterMode) loads the compiler, a second of every cell.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled, so that there is nothing to skip

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        elif func.name() == ONEDNN:  # a (p, q) by b (r, q)
            self.total += 2 * args[0].numel() * len(args[1])
        return out


def abundance(table: Tensor) -> float:
    """Sum of the singular values of a table (rows, d) over the largest; 0 for a table of zeros.

    From the eigenvalues of the d x d product, so that 10^8 rows cost one pass; in float64.
    """
    parts = (part.double() for part in torch.split(table, _ROWS_AT_A_TIME))
    square = torch.stack([part.T @ part for part in parts]).sum(0)
    values = torch.linalg.eigvalsh(square).clamp(min=0).sqrt()
    largest = values.max().item()
    return values.sum().item() / largest if largest > 0 else 0.0


def _cosine(a: tuple[Tensor | None, ...], b: tuple[Tensor | None, ...]) -> float | None:
    """Between two tasks' gradients where both are there; None where they share nothing or one is
    zero."""
    both = [
        (x.flatten(), y.flatten())
        for x, y in zip(a, b, strict=True)
        if x is not None and y is not None
    ]
    inner = sum((x @ y).item() for x, y in both)
    length = math.sqrt(sum((x @ x).item() for x, _ in both) * sum((y @ y).item() for _, y in both))
    return inner / length if length > 0 else None


def _mean(found: list[dict[Any, float]]) -> dict[Any, float]:
    """By key, over those that have it."""
    keys = dict.fromkeys(key for one in found for key in one)
    return {
        key: sum(values) / len(values)
        for key in keys
        for values in ([one[key] for one in found if key in one],)
    }


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
