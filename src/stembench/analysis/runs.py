"""The runs of a suite as the comparison reads them: which are sound, and what they measured.

A cell is one (data set, model, seed) of the suite. Its status is ok, missing (no run.json), stale
(made with another spec), wrong_split (made on other data) or damaged (its files are not those that
run.json describes).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stembench.data.directory import Part, SplitDirectory
from stembench.errors import StembenchError
from stembench.metrics import METRICS
from stembench.stats import user_influence

#: Cost of a run: column of the table -> keys in run.json.
COST = {
    "parameters_embedding": ("parameters", "embedding"),
    "parameters_dense": ("parameters", "dense"),
    "parameters_total": ("parameters", "total"),
    "fit_s": ("timing", "fit_s"),
    "total_s": ("timing", "total_s"),
    "samples_per_s": ("timing", "samples_per_s"),
    "epochs_run": ("epochs_run",),
    "best_epoch": ("best_epoch",),
    "peak_memory_mb": ("peak_memory_mb",),
}
#: Metrics by which models are ranked, by the mean over seeds of what is to be small. A model whose
#: seeds miscalibrate to both sides is not well calibrated, so it is each seed's distance from 1.
LOSSES: dict[str, Callable[[float], float]] = {
    "auc": lambda value: -value,
    "gauc": lambda value: -value,
    "logloss": lambda value: value,
    "calibration": lambda value: abs(value - 1),
}


@dataclass
class Cell:
    """One expected run.

    run: its run.json, checked where the status is ok; run_sha256: the sha256 of that file, empty if
    there is none; influences: by part, (T, G), see `stats.user_influence`, filled by `measure`;
    logits: file of the test logits that the metrics are of.
    """

    dataset: str
    model: str
    seed: int
    spec_sha256: str
    path: Path
    status: str = "missing"
    run_sha256: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    influences: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    logits: str = "test_logits.npy"

    @property
    def id(self) -> str:
        return f"{self.dataset}/{self.model}/{self.seed}"

    def metric(self, part: str, task: str, metric: str) -> float:
        """A metric that the run recorded, NaN where it was undefined."""
        return number(self.run["metrics"][part][task][metric])

    def cost(self, column: str) -> float:
        """An entry of COST, NaN where it was not measured."""
        value: Any = self.run
        for key in COST[column]:
            value = value[key]
        return number(value)


@dataclass
class Group:
    """The cells of one data set, and the parts they are compared on: test, and any unbiased one.

    No split and no parts if partial tables lack it.
    """

    dataset: str
    cells: list[Cell]
    split: SplitDirectory | None = None
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.split.schema.tasks if self.split else ()

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(cell.model for cell in self.cells))

    def sound(self, model: str | None = None) -> list[Cell]:
        """The cells that are ok, of one model or of all, in the suite's order."""
        return [cell for cell in self.cells if cell.status == "ok" and model in (None, cell.model)]


def read(results: Path, splits: Path, expected: list[dict[str, Any]], partial: bool) -> list[Group]:
    """Find the expected cells and check them, all but their AUCs; one group a data set.

    Arguments as `compare.compare`. Raises StembenchError if a split cannot be read; in partial
    tables its runs are taken for wrong_split instead.
    """
    groups: dict[str, Group] = {}
    for entry in expected:
        dataset, model, seed = entry["dataset"], entry["model"], int(entry["seed"])
        path = results / "runs" / dataset / model / str(seed)
        group = groups.setdefault(dataset, Group(dataset, []))
        group.cells.append(Cell(dataset, model, seed, entry["spec_sha256"], path))
    for group in groups.values():
        try:
            split = SplitDirectory(splits / group.dataset)
            group.parts["test"], group.split = split.part("test"), split
            if split.has_unbiased:
                group.parts["unbiased"] = split.part("unbiased")
        except StembenchError:
            if not partial:
                raise
        for cell in group.cells:
            cell.status = _status(cell, group)
    return list(groups.values())


def rules(cell: Cell) -> list[str]:
    """The selection rules that a sound run was read by, its suite's own first."""
    found = list(cell.run.get("selection", {}))
    own = cell.run["spec"]["train"]["select"]["over"] if found else ""
    return sorted(found, key=lambda rule: rule != own)


def read_by(group: Group, rule: str) -> Group:
    """The same group with the sound runs' metrics and logits by a rule that all were read by.

    Of the test part alone: the unbiased one is read by the suite's own rule only.
    """
    cells = []
    for cell in group.cells:
        if cell.status == "ok":
            run = cell.run | {"metrics": cell.run["selection"][rule]["metrics"]}
            own = rules(cell)[0] == rule
            name = "test_logits.npy" if own else f"test_logits_{rule}.npy"
            cell = replace(cell, run=run, logits=name, influences={})
        cells.append(cell)
    return replace(group, cells=cells, parts={"test": group.parts["test"]})


def measure(group: Group) -> None:
    """Fill the influences of the sound cells; one whose logits give another AUC is damaged.

    One run's logits are in memory at a time.
    """
    for cell in group.sound():
        for name, part in group.parts.items():
            influence = _influence(cell, name, part, group.tasks)
            if influence is None:
                cell.status = "damaged"
                break
            cell.influences[name] = influence


def require_complete(groups: list[Group]) -> None:
    """Raise StembenchError, naming the first 10, if cells are not ok."""
    cells = [cell for group in groups for cell in group.cells]
    bad = [f"{cell.id} ({cell.status})" for cell in cells if cell.status != "ok"]
    if bad:
        more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
        raise StembenchError(
            f"{len(bad)} of {len(cells)} cells are not ready: {', '.join(bad[:10])}{more}. "
            "Delete the run directories of damaged cells, then run `snakemake --cores N`"
        )


def number(value: Any) -> float:
    """A JSON number as float, null as NaN. Raises TypeError for anything else."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"not a number: {value!r}")
    return float(value)


def _status(cell: Cell, group: Group) -> str:
    """Check run.json against the suite, the split and the files beside it."""
    try:
        content = (cell.path / "run.json").read_bytes()
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "damaged"
    cell.run_sha256 = hashlib.sha256(content).hexdigest()
    try:
        cell.run = json.loads(content)
        if cell.run["spec_sha256"] != cell.spec_sha256:
            return "stale"
        if group.split is None or cell.run["data"]["sha256"] != group.split.manifest["sha256"]:
            return "wrong_split"
        logits = {f"{part}_logits.npy" for part in group.parts}
        for name in {"history.csv"} | logits | set(cell.run["files"]):
            with (cell.path / Path(name).name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != cell.run["files"][name]:
                    return "damaged"
        # Whatever the tables need must be there, so that they cannot fail halfway.
        for part in ("valid", *group.parts):
            for task in group.tasks:
                for metric in METRICS:
                    cell.metric(part, task, metric)
        for rule in rules(cell):
            reading = cell.run["selection"][rule]
            for task in group.tasks:
                number(reading["epochs"][task])
                for metric in METRICS:
                    number(reading["metrics"]["test"][task][metric])
        for column in COST:
            cell.cost(column)
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged"
    return "ok"


def _influence(
    cell: Cell, name: str, part: Part, tasks: tuple[str, ...]
) -> NDArray[np.float64] | None:
    """(T, G), or None if the logits cannot be read or are not those that run.json reports."""
    labels, users = part.labels, part.users
    file = cell.logits if name == "test" else f"{name}_logits.npy"
    try:
        logits = np.load(cell.path / file, mmap_mode="r", allow_pickle=False)
        if logits.dtype != np.float32 or logits.shape != labels.shape:
            return None
        measured = [user_influence(labels[:, t], z, users) for t, z in enumerate(logits.T)]
    except (OSError, ValueError, StembenchError):
        return None
    recorded = [cell.metric(name, task, "auc") for task in tasks]
    if not np.allclose([auc for auc, _ in measured], recorded, rtol=0, atol=1e-9):
        return None
    return np.stack([influence for _, influence in measured])
