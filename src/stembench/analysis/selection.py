"""What runs hold beyond the main tables: the other selection rule's reading, and diagnostics.

Written as tables of their own, and only where there is something to write, so that a suite without
them has the same files as ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stembench.analysis.runs import Group, measure, number, read_by, rules

Rows = list[dict[str, Any]]

_METRICS = ("auc", "gauc", "logloss", "calibration")
COLUMNS: dict[str, tuple[str, ...]] = {
    # epoch_*: mean epoch of the checkpoint by which the task is read; delta: task minus mean,
    # paired by seed.
    "selection": (
        *("dataset", "task", "metric", "model", "n_seeds", "epoch_mean", "epoch_task"),
        *("mean_mean", "sd_mean", "mean_task", "sd_task", "delta", "sd_delta"),
    ),
    "selection_comparison": ("selection",),  # and those of comparison.csv
    # See stembench.training.diagnostics: gate and cosines at the chosen epoch; abundance by table
    # (`task`) and field (`source`); memory_bytes and flops_per_sample by `source`.
    "diagnostics": ("dataset", "model", "quantity", "task", "source", "n_seeds", "mean", "sd"),
}


class Extras:
    """Collects the rows group by group, then writes the tables that have any."""

    def __init__(self, comparison: Sequence[str]) -> None:
        self._columns = COLUMNS | {
            "selection_comparison": (*COLUMNS["selection_comparison"], *comparison)
        }
        self._rows: dict[str, Rows] = {name: [] for name in COLUMNS}

    def add(self, group: Group, compare: Callable[[Group], Rows]) -> None:
        """Take in a group whose influences are measured; `compare` makes its comparison rows."""
        self._rows["diagnostics"] += _diagnostics(group)
        if group.sound() and all(len(rules(cell)) > 1 for cell in group.sound()):
            self._rows["selection"] += _selection(group)
            for rule in ("mean", "task"):
                again = read_by(group, rule)
                measure(again)
                found = compare(again)
                self._rows["selection_comparison"] += [{"selection": rule} | row for row in found]

    def write(self, folder: Path, write: Callable[[Path, str], Path]) -> None:
        """Write tables/<name>.csv for each table with rows; an old one without is deleted."""
        for name, rows in self._rows.items():
            path = folder / f"{name}.csv"
            if rows:
                frame = pd.DataFrame(rows, columns=list(self._columns[name]))
                write(path, frame.to_csv(index=False, float_format="%.10g", lineterminator="\n"))
            else:
                path.unlink(missing_ok=True)


def _selection(group: Group) -> Rows:
    """Both readings of each model, task and metric."""
    rows: Rows = []
    for task in group.tasks:
        for metric in _METRICS:
            for model in group.models:
                cells = group.sound(model)
                row: dict[str, Any] = {"dataset": group.dataset, "task": task, "metric": metric}
                row |= {"model": model, "n_seeds": len(cells)}
                values = {}
                for rule in ("mean", "task"):
                    found = [cell.run["selection"][rule] for cell in cells]
                    values[rule] = [number(s["metrics"]["test"][task][metric]) for s in found]
                    row[f"epoch_{rule}"] = _mean_sd([float(s["epochs"][task]) for s in found])[0]
                    row[f"mean_{rule}"], row[f"sd_{rule}"] = _mean_sd(values[rule])
                differences = [b - a for a, b in zip(*values.values(), strict=True)]
                row["delta"], row["sd_delta"] = _mean_sd(differences)
                rows.append(row)
    return rows


def _diagnostics(group: Group) -> Rows:
    """Mean and SD over the seeds of whatever the runs hold, in the order of the first that does."""
    rows: Rows = []
    for model in group.models:
        found: dict[tuple[str, str, str], list[float]] = {}
        for cell in group.sound(model):
            for key, value in _flatten(cell.run.get("diagnostics") or {}):
                found.setdefault(key, []).append(number(value))
        for (quantity, task, source), values in found.items():
            mean, sd = _mean_sd(values)
            row: dict[str, Any] = {"dataset": group.dataset, "model": model, "quantity": quantity}
            row |= {"task": task, "source": source, "n_seeds": len(values), "mean": mean, "sd": sd}
            rows.append(row)
    return rows


def _flatten(diagnostics: dict[str, Any]) -> list[tuple[tuple[str, str, str], Any]]:
    found = []
    for quantity in ("gate", "cosine_dense", "cosine_embedding", "abundance"):
        for task, by_source in diagnostics.get(quantity, {}).items():
            found += [((quantity, task, source), value) for source, value in by_source.items()]
    for quantity in ("memory_bytes", "flops_per_sample"):
        by_name = diagnostics.get(quantity, {})
        found += [((quantity, "", name), value) for name, value in by_name.items()]
    return found


def _mean_sd(values: list[float]) -> tuple[float, float]:
    """Mean and SD (ddof 1) over seeds; NaN for none, and the SD also for one."""
    x = np.array(values, np.float64)
    mean = float(x.mean()) if len(x) else math.nan
    return mean, float(x.std(ddof=1)) if len(x) > 1 else math.nan
