"""What lies in runs/<dataset>/<model>/<seed>: run.json and history.csv, read for the report.

The tables name the sha256 of every run.json they were made from, so a file that has changed since
is told from the one that was measured.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stembench.report.results import Results, records

#: Why nothing of a cell's run is shown, besides the statuses of cells.csv.
NOT_HERE = "its files are not on this machine"
CHANGED = "its run.json is not the one that the tables were made from"


@dataclass(frozen=True)
class RunFile:
    """One cell: its status in cells.csv, and the run itself where it is there and the same.

    run: run.json, empty where it cannot be shown; why: then the reason, else empty; sha256: of
    run.json as the tables name it; curves: validation AUC (epoch, value) by task.
    """

    seed: str
    status: str
    sha256: str
    run: dict[str, Any] = field(default_factory=dict)
    why: str = ""
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def get(self, *keys: str, default: Any = None) -> Any:
        """An entry of run.json by its path of keys."""
        value: Any = self.run
        for key in keys:
            if not isinstance(value, dict) or key not in value:
                return default
            value = value[key]
        return value


def read_runs(results: Results, dataset: str, model: str) -> list[RunFile]:
    """The cells of a model on a data set, in the suite's order; never an error."""
    cells = results.cells
    mine = cells[(cells["dataset"] == dataset) & (cells["model"] == model)]
    known = results.inputs.get("runs", {})
    return [
        _read(
            results.root / "runs" / dataset / model / row.seed,
            (row.seed, row.status, str(known.get(f"{dataset}/{model}/{row.seed}", ""))),
        )
        for row in records(mine)
    ]


def _read(folder: Path, head: tuple[str, str, str]) -> RunFile:
    _, status, sha256 = head
    if status != "ok":
        return RunFile(*head)
    try:
        content = (folder / "run.json").read_bytes()
        run = json.loads(content)
    except (OSError, ValueError):
        return RunFile(*head, why=NOT_HERE)
    if hashlib.sha256(content).hexdigest() != sha256 or not isinstance(run, dict):
        return RunFile(*head, why=CHANGED)
    tasks = [str(task) for task in run.get("tasks", [])]
    return RunFile(*head, run=run, curves=_curves(folder / "history.csv", tasks))


def _curves(path: Path, tasks: list[str]) -> dict[str, list[tuple[float, float]]]:
    """Validation AUC by epoch of each task; tasks without any are left out."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return {}
    found: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        for task in tasks:
            try:
                point = (float(line["epoch"]), float(line[f"valid_auc_{task}"]))
            except (KeyError, TypeError, ValueError):
                continue
            if all(map(math.isfinite, point)):
                found.setdefault(task, []).append(point)
    return found
