"""Runs to tables: what was measured, how the reference model does against the others, at what cost.

Reads `results/<suite>/runs` and the test parts of `data/splits`; writes `results/<suite>/tables`
and `metrics.json`. One run's logits are in memory at a time; what stays is one number a user for
every run and task. The same inputs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from stembench.data.splits import Part, SplitDirectory
from stembench.errors import StembenchError
from stembench.metrics import METRICS, evaluate_task
from stembench.stats import holm, t_test, tost, two_way, user_influence

#: Metrics that tell models apart.
RANKED = ("auc", "gauc", "logloss", "calibration")
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
TESTED = ("delta", "se_seed", "se_user", "se_total", "df", "ci_lo", "ci_hi", "p_total", "p_seed")
COLUMNS: dict[str, tuple[str, ...]] = {
    "cells": ("dataset", "model", "seed", "status", "run_sha256"),
    "runs": ("dataset", "model", "seed", "part", "task", "metric", "value"),
    "metrics": (
        *("dataset", "task", "metric", "model", "n_seeds", "n_expected", "missing_seeds"),
        *("mean", "sd", "rank"),
    ),
    "oracle": ("dataset", "task", "metric", "value", "passed_by"),
    "comparison": (
        *("dataset", "task", "metric", "bucket", "model_a", "model_b"),
        *("n_seeds", "n_users", "n_rows", "n_pos", "mean_a", "sd_a", "mean_b", "sd_b"),
        *(*TESTED, "family", "p_adj", "p_tost", "verdict"),
    ),
    "cost": ("dataset", "model", "n_seeds", *COST),
}

Rows = list[dict[str, Any]]


class Tables(NamedTuple):
    """The tables as written, and the contents of inputs.json and metrics.json."""

    cells: pd.DataFrame
    runs: pd.DataFrame
    metrics: pd.DataFrame
    oracle: pd.DataFrame
    comparison: pd.DataFrame
    cost: pd.DataFrame
    inputs: dict[str, Any]
    summary: dict[str, dict[str, dict[str, float]]]


@dataclass
class _Cell:
    """One expected run; `run` is run.json and `influence` (T, G) where the status is ok."""

    dataset: str
    model: str
    seed: int
    spec_sha256: str
    path: Path
    status: str = "missing"
    run_sha256: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    influence: NDArray[np.float64] | None = None

    @property
    def id(self) -> str:
        return f"{self.dataset}/{self.model}/{self.seed}"

    def value(self, task: str, metric: str, part: str = "test") -> float:
        return _number(self.run["metrics"][part][task][metric])


@dataclass
class _Group:
    """The cells of one data set, and its test part if the split can be read."""

    dataset: str
    cells: list[_Cell]
    split: SplitDirectory | None = None
    test: Part | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.split.schema.tasks if self.split else ()

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(cell.model for cell in self.cells))

    def of(self, model: str) -> list[_Cell]:
        """The model's sound runs, in the suite's order of seeds."""
        return [cell for cell in self.cells if cell.model == model and cell.status == "ok"]


def compare(
    results: Path,
    splits: Path,
    expected: list[dict[str, Any]],
    reference: str,
    alpha: float,
    margin: float,
    partial: bool = False,
) -> Tables:
    """Write the tables of a suite and return them.

    results: `results/<suite>`; splits: `data/splits`; expected: one dict a cell with dataset,
    model, seed and spec_sha256, in the suite's order; reference: the model compared with every
    other; alpha: level of the tests; margin: AUC difference that does not matter.
    A cell is ok, missing, stale (another spec), wrong_split (other data) or damaged. Raises
    StembenchError, before writing anything, if a cell is not ok and `partial` is false, if the
    reference is not among the models, or if a split cannot be read.
    """
    groups = [
        _Group(name, [_cell(results, entry) for entry in expected if entry["dataset"] == name])
        for name in dict.fromkeys(entry["dataset"] for entry in expected)
    ]
    for group in groups:
        if reference not in group.models:
            raise StembenchError(
                f"{group.dataset} is not run with the reference model {reference}: set "
                f"analysis.reference to one of {', '.join(group.models)}"
            )
        _open_split(group, splits, partial)
        for cell in group.cells:
            cell.status = _status(cell, group)
    cells = [cell for group in groups for cell in group.cells]
    _require_complete(cells, partial)

    rows: dict[str, Rows] = {name: [] for name in COLUMNS}
    for group in groups:
        for cell in group.cells:
            if cell.status == "ok":
                _measure(cell, group)
        # A run whose AUC is not that of its logits is found out only here.
        _require_complete(group.cells, partial)
        means = _metric_rows(group)
        rows["cells"] += [{key: getattr(c, key) for key in COLUMNS["cells"]} for c in group.cells]
        rows["runs"] += _run_rows(group)
        rows["metrics"] += means
        rows["oracle"] += _oracle_rows(group, means)
        rows["comparison"] += _comparison_rows(group, reference, alpha, margin)
        rows["cost"] += _cost_rows(group)
        for cell in group.cells:
            cell.influence = None
    frames = {name: pd.DataFrame(rows[name], columns=list(COLUMNS[name])) for name in COLUMNS}
    inputs = _inputs(results.name, groups)
    inputs |= {"reference": reference, "alpha": alpha, "margin": margin}
    tables = Tables(**frames, inputs=inputs, summary=_summary(rows["metrics"]))

    for name, frame in frames.items():
        text = frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")
        _write(results / "tables" / f"{name}.csv", text)
    _write(results / "tables" / "inputs.json", _json(tables.inputs))
    _write(results / "metrics.json", _json(tables.summary))
    return tables


def _cell(results: Path, entry: Mapping[str, Any]) -> _Cell:
    dataset, model, seed = entry["dataset"], entry["model"], int(entry["seed"])
    path = results / "runs" / dataset / model / str(seed)
    return _Cell(dataset, model, seed, entry["spec_sha256"], path)


def _open_split(group: _Group, splits: Path, partial: bool) -> None:
    """Map the test part. A split that cannot be read is an error, or no split in partial tables."""
    try:
        split = SplitDirectory(splits / group.dataset)
        group.test, group.split = split.part("test"), split
    except StembenchError:
        if not partial:
            raise


def _status(cell: _Cell, group: _Group) -> str:
    """Check run.json against the suite, the split and the files beside it."""
    try:
        text = (cell.path / "run.json").read_bytes()
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "damaged"
    cell.run_sha256 = hashlib.sha256(text).hexdigest()
    try:
        cell.run = json.loads(text)
        if cell.run["spec_sha256"] != cell.spec_sha256:
            return "stale"
        if group.split is None or cell.run["data"]["sha256"] != group.split.manifest["sha256"]:
            return "wrong_split"
        for name in {"history.csv", "test_logits.npy"} | set(cell.run["files"]):
            with (cell.path / Path(name).name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != cell.run["files"][name]:
                    return "damaged"
        for part in ("valid", "test"):
            for task in group.tasks:
                for metric in METRICS:
                    cell.value(task, metric, part)
        for key in COST:
            _number(_dig(cell.run, COST[key]))
    except (OSError, ValueError, KeyError, TypeError):
        return "damaged"
    return "ok"


def _measure(cell: _Cell, group: _Group) -> None:
    """Fill the cell's influence (T, G); the cell is damaged if its logits give another AUC."""
    assert group.test is not None
    labels, users = group.test.labels, group.test.users
    try:
        logits = np.load(cell.path / "test_logits.npy", mmap_mode="r", allow_pickle=False)
        if logits.dtype != np.float32 or logits.shape != labels.shape:
            raise ValueError(f"test_logits.npy holds {logits.dtype} {logits.shape}")
        measured = [user_influence(labels[:, t], z, users) for t, z in enumerate(logits.T)]
    except (OSError, ValueError, StembenchError):
        cell.status = "damaged"
        return
    recorded = [cell.value(task, "auc") for task in group.tasks]
    if not np.allclose([auc for auc, _ in measured], recorded, rtol=0, atol=1e-9):
        cell.status = "damaged"
        return
    cell.influence = np.stack([influence for _, influence in measured])


def _require_complete(cells: list[_Cell], partial: bool) -> None:
    bad = [f"{cell.id} {cell.status}" for cell in cells if cell.status != "ok"]
    if bad and not partial:
        more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
        raise StembenchError(
            f"{len(bad)} of {len(cells)} cells are not ready: {', '.join(bad[:10])}{more}. "
            "Run `snakemake --cores N`, which makes what is missing; delete the directory of a "
            "damaged cell first"
        )


def _run_rows(group: _Group) -> Rows:
    return [
        {
            **{"dataset": cell.dataset, "model": cell.model, "seed": cell.seed, "part": part},
            **{"task": task, "metric": metric, "value": cell.value(task, metric, part)},
        }
        for cell in group.cells
        if cell.status == "ok"
        for part in ("valid", "test")
        for task in group.tasks
        for metric in METRICS
    ]


def _metric_rows(group: _Group) -> Rows:
    """Mean, SD and rank over the seeds of the test metrics."""
    rows: Rows = []
    for task in group.tasks:
        for metric in RANKED:
            block = []
            for model in group.models:
                runs = group.of(model)
                expected = [cell for cell in group.cells if cell.model == model]
                lacking = [str(cell.seed) for cell in expected if cell.status != "ok"]
                mean, sd = _mean_sd(cell.value(task, metric) for cell in runs)
                row = {"dataset": group.dataset, "task": task, "metric": metric, "model": model}
                row |= {"n_seeds": len(runs), "n_expected": len(expected)}
                block.append(row | {"missing_seeds": ";".join(lacking), "mean": mean, "sd": sd})
            means = pd.Series([row["mean"] for row in block])
            loss = {"logloss": means, "calibration": (means - 1).abs()}.get(metric, -means)
            for row, rank in zip(block, loss.rank(method="min"), strict=True):
                row["rank"] = rank
            rows += block
    return rows


def _oracle_rows(group: _Group, means: Rows) -> Rows:
    """Metrics of the true probabilities, and the models that pass them: a fault, to be shown."""
    if group.test is None or group.test.probabilities is None:
        return []
    rows: Rows = []
    for t, task in enumerate(group.tasks):
        # Closed at the ends, where the logit is infinite.
        p = np.clip(group.test.probabilities[:, t], 1e-300, 1 - 2**-53)
        logits = np.log(p) - np.log1p(-p)
        values = evaluate_task(group.test.labels[:, t], logits, group.test.users)
        for metric in RANKED:
            value = _number(values[metric])
            above = [
                row["model"]
                for row in means
                if metric == "auc" == row["metric"] and row["task"] == task and row["mean"] > value
            ]
            row = {"dataset": group.dataset, "task": task, "metric": metric, "value": value}
            rows.append(row | {"passed_by": ";".join(above)})
    return rows


def _comparison_rows(group: _Group, reference: str, alpha: float, margin: float) -> Rows:
    """The reference against every other model on each task, paired by seed, Holm over all rows."""
    rows: Rows = []
    for t, task in enumerate(group.tasks):
        for other in group.models:
            if other != reference:
                rows.append(_comparison_row(group, t, task, reference, other, margin))
    adjusted = holm([row["p_total"] for row in rows])
    for row, p in zip(rows, adjusted, strict=True):
        row |= {"family": f"F1:{group.dataset}", "p_adj": p}
        row["verdict"] = _verdict(row["delta"], p, row["p_tost"], alpha)
    return rows


def _comparison_row(
    group: _Group, t: int, task: str, model_a: str, model_b: str, margin: float, alpha: float = 0.05
) -> dict[str, Any]:
    assert group.test is not None
    of_a, of_b = ({cell.seed: cell for cell in group.of(model)} for model in (model_a, model_b))
    seeds = [seed for seed in of_a if seed in of_b]
    mean_a, sd_a = _mean_sd(of_a[seed].value(task, "auc") for seed in seeds)
    mean_b, sd_b = _mean_sd(of_b[seed].value(task, "auc") for seed in seeds)
    test = dict.fromkeys((*TESTED, "p_tost"), np.nan)
    if len(seeds) >= 2:
        d = np.stack([_row(of_a[seed], t) - _row(of_b[seed], t) for seed in seeds])
        r = two_way(d, alpha)
        values = (r.mean, r.se_seed, r.se_user, r.se_total, r.df, r.ci_lo, r.ci_hi, r.p)
        test = dict(zip(TESTED, values, strict=False))
        test["p_seed"] = t_test(r.mean, r.se_seed, len(seeds) - 1)
        test["p_tost"] = tost(r.mean, r.se_total, r.df, margin)
    labels = group.test.labels[:, t]
    return {
        **{"dataset": group.dataset, "task": task, "metric": "auc", "bucket": "all"},
        **{"model_a": model_a, "model_b": model_b, "n_seeds": len(seeds)},
        **{"n_users": len(np.unique(group.test.users)), "n_rows": len(labels)},
        **{"n_pos": int(labels.sum()), "mean_a": mean_a, "sd_a": sd_a},
        **{"mean_b": mean_b, "sd_b": sd_b, **test},
    }
