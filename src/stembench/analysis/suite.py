"""Runs to tables: what was measured, how the reference model does against the others, at what cost.

Reads `results/<suite>/runs` and the test parts of `data/splits`; writes `results/<suite>/tables`
and `metrics.json`. The metrics are those that the runs recorded; only the differences between
models are computed here. The same inputs give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stembench.analysis import calibration as reliability
from stembench.analysis import factors
from stembench.analysis.runs import COST, LOSSES, Group, measure, number, read, require_complete
from stembench.analysis.selection import Extras
from stembench.errors import StembenchError
from stembench.metrics import METRICS, evaluate_task
from stembench.records.writing import write_text
from stembench.stats import ADJUSTMENTS, FAMILIES, Families, t_test, tost, two_way

#: The rows of metrics.csv on randomly exposed items: metric -> (part, the metric there).
UNBIASED = {f"unbiased_{metric}": ("unbiased", metric) for metric in ("auc", "gauc")}
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
        *("delta", "se_seed", "se_user", "se_total", "df", "ci_lo", "ci_hi", "p_total", "p_seed"),
        *("family", "p_adj", "p_tost", "verdict"),
    ),
    "cost": ("dataset", "model", "n_seeds", *COST),
    "factors": factors.COLUMNS,
    "calibration": reliability.COLUMNS,
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
    factors: pd.DataFrame
    calibration: pd.DataFrame
    inputs: dict[str, Any]
    summary: dict[str, dict[str, dict[str, float]]]


def compare(
    results: Path,
    splits: Path,
    expected: list[dict[str, Any]],
    reference: str,
    alpha: float,
    margin: float,
    partial: bool = False,
    designs: Mapping[str, factors.Effects] | None = None,
    protocol: dict[str, Any] | None = None,
    families: Families = FAMILIES,
) -> Tables:
    """Write the tables of a suite and return them.

    results: `results/<suite>`; splits: `data/splits`; expected: one dict a cell with dataset,
    model, seed and spec_sha256, in the suite's order; reference: the model compared with every
    other; alpha: level of the tests; margin: the AUC difference that does not matter; partial:
    make the tables of the cells that are ok, and name the others in cells.csv and inputs.json;
    designs: the effects asked of each factor design; protocol: what the tables tell of it;
    families: how the p values are adjusted.
    Raises StembenchError, before writing anything, if a cell is not ok or a split cannot be read
    (unless partial), and if a data set is not run with the reference.
    """
    groups = read(results, splits, expected, partial)
    for group in groups:
        if reference not in group.models:
            raise StembenchError(
                f"{group.dataset} is not run with the reference model {reference}: set "
                f"analysis.reference to one of {', '.join(group.models)}"
            )
    if not partial:
        require_complete(groups)

    rows: dict[str, Rows] = {name: [] for name in COLUMNS}
    extras = Extras(COLUMNS["comparison"])
    for group in groups:
        measure(group)
        if not partial:
            require_complete([group])
        metrics = _metrics(group)
        rows["cells"] += [{key: getattr(c, key) for key in COLUMNS["cells"]} for c in group.cells]
        rows["runs"] += _runs(group)
        rows["metrics"] += metrics
        rows["oracle"] += _oracle(group, metrics)
        for part in group.parts:
            rows["comparison"] += against_reference(group, reference, alpha, margin, part, families)
        rows["cost"] += _cost(group)
        rows["factors"] += factors.analyse(group, designs or {}, alpha, families)
        rows["calibration"] += reliability.calibration_rows(group)
        extras.add(
            group,
            lambda again: against_reference(again, reference, alpha, margin, families=families),
        )
        for cell in group.cells:
            cell.influences.clear()  # the next data set needs the memory
    frames = {name: pd.DataFrame(rows[name], columns=list(COLUMNS[name])) for name in COLUMNS}
    inputs = _inputs(results.name, groups)
    inputs |= {"reference": reference, "alpha": alpha, "margin": margin}
    inputs |= {"protocol": protocol or {"name": "equal"}}
    inputs["families"] = [
        {"of": of, "metric": metric, "name": family.name, "adjust": family.adjust}
        for (of, metric), family in families.items()
    ]
    tables = Tables(**frames, inputs=inputs, summary=_summary(rows["metrics"]))

    for name, frame in frames.items():
        text = frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")
        write_text(results / "tables" / f"{name}.csv", text)
    extras.write(results / "tables", write_text)
    write_text(results / "tables" / "inputs.json", json.dumps(tables.inputs, indent=1) + "\n")
    summary = json.dumps(tables.summary, indent=1, sort_keys=True) + "\n"
    write_text(results / "metrics.json", summary)
    return tables


def _runs(group: Group) -> Rows:
    return [
        {
            **{"dataset": cell.dataset, "model": cell.model, "seed": cell.seed, "part": part},
            **{"task": task, "metric": metric, "value": cell.metric(part, task, metric)},
        }
        for cell in group.sound()
        for part in ("valid", *group.parts)
        for task in group.tasks
        for metric in METRICS
    ]


def _metrics(group: Group) -> Rows:
    """Mean, SD and rank of the test metrics over the seeds, and the seeds that are missing.

    Those on randomly exposed items follow as rows with metrics of their own, see UNBIASED.
    """
    places = {metric: ("test", metric) for metric in LOSSES}
    if "unbiased" in group.parts:
        places |= UNBIASED
    rows: Rows = []
    for task in group.tasks:
        for metric, (part, name) in places.items():
            block: Rows = []
            losses: list[float] = []
            for model in group.models:
                cells = [cell for cell in group.cells if cell.model == model]
                lacking = [str(cell.seed) for cell in cells if cell.status != "ok"]
                runs = group.sound(model)
                values = [cell.metric(part, task, name) for cell in runs]
                mean, sd = _mean_sd(values)
                losses.append(_mean_sd(map(LOSSES[name], values))[0])
                row: dict[str, Any] = {"dataset": group.dataset, "task": task, "metric": metric}
                row |= {"model": model, "n_seeds": len(runs), "n_expected": len(cells)}
                block.append(row | {"missing_seeds": ";".join(lacking), "mean": mean, "sd": sd})
            for row, rank in zip(block, pd.Series(losses).rank(method="min"), strict=True):
                row["rank"] = rank
            rows += block
    return rows


def _oracle(group: Group, metrics: Rows) -> Rows:
    """Metrics of the true probabilities, and the models that pass them: a fault, to be shown."""
    test = group.parts.get("test")
    if test is None or test.probabilities is None:
        return []
    rows: Rows = []
    for t, task in enumerate(group.tasks):
        # The logits of 0 and 1 are infinite: stay one step inside.
        p = np.clip(test.probabilities[:, t], 1e-300, 1 - 2**-53)
        logits = np.log(p) - np.log1p(-p)
        values = evaluate_task(test.labels[:, t], logits, test.users)
        passing = [
            row["model"]
            for row in metrics
            if row["task"] == task
            and row["metric"] == "auc"
            and row["mean"] > number(values["auc"])
        ]
        for metric in LOSSES:
            row: dict[str, Any] = {"dataset": group.dataset, "task": task, "metric": metric}
            row |= {"value": number(values[metric])}
            rows.append(row | {"passed_by": ";".join(passing) if metric == "auc" else ""})
    return rows


def against_reference(
    group: Group,
    reference: str,
    alpha: float,
    margin: float,
    part: str = "test",
    families: Families = FAMILIES,
) -> Rows:
    """The reference against every other model on each task of a part, one family of tests."""
    rows_of, family = group.parts[part], families[part, "auc"]
    rows: Rows = []
    for t, task in enumerate(group.tasks):
        labels = rows_of.labels[:, t]
        common: dict[str, Any] = {"dataset": group.dataset, "task": task}
        common |= {"metric": "auc", "model_a": reference}
        common |= {"bucket": "all" if part == "test" else part}
        common |= {"n_users": len(np.unique(rows_of.users)), "n_rows": len(labels)}
        common |= {"n_pos": int(labels.sum()), "family": f"{family.name}:{group.dataset}"}
        for other in group.models:
            if other != reference:
                pair = _pair(group, part, t, (reference, other), alpha, margin)
                rows.append(common | {"model_b": other} | pair)
    adjusted = ADJUSTMENTS[family.adjust]([row["p_total"] for row in rows])
    for row, p_adj in zip(rows, adjusted, strict=True):
        row["p_adj"] = p_adj
        row["verdict"] = verdict(row["delta"], p_adj, row["p_tost"], alpha)
    return rows


def _pair(
    group: Group, part: str, t: int, models: tuple[str, str], alpha: float, margin: float
) -> dict[str, float]:
    """Statistics of AUC(a) - AUC(b) over the seeds that both have, NaN below two seeds."""
    task = group.tasks[t]
    a, b = ({cell.seed: cell for cell in group.sound(model)} for model in models)
    seeds = [seed for seed in a if seed in b]
    row: dict[str, float] = {"n_seeds": len(seeds)}
    for side, cells in (("a", a), ("b", b)):
        mean, sd = _mean_sd(cells[seed].metric(part, task, "auc") for seed in seeds)
        row |= {f"mean_{side}": mean, f"sd_{side}": sd}
    if len(seeds) < 2:
        return row | dict.fromkeys(("delta", "p_total", "p_tost"), math.nan)
    differences = [a[seed].influences[part][t] - b[seed].influences[part][t] for seed in seeds]
    difference = np.stack(differences)
    test = two_way(difference, alpha)
    row |= {"delta": test.mean, "se_seed": test.se_seed, "se_user": test.se_user}
    row |= {"se_total": test.se_total, "df": test.df, "ci_lo": test.ci_lo, "ci_hi": test.ci_hi}
    row |= {"p_total": test.p, "p_seed": t_test(test.mean, test.se_seed, len(seeds) - 1)}
    return row | {"p_tost": tost(test.mean, test.se_total, test.df, margin)}


def verdict(delta: float, p_adj: float, p_tost: float, alpha: float) -> str:
    """What a row says of the reference; delta > 0 speaks for it, NaN p_adj is a test not made."""
    if math.isnan(p_adj):
        return "missing"
    if p_adj < alpha:
        return "better" if delta > 0 else "worse"
    return "equivalent" if p_tost < alpha else "inconclusive"


def _cost(group: Group) -> Rows:
    rows: Rows = []
    for model in group.models:
        runs = group.sound(model)
        row: dict[str, Any] = {"dataset": group.dataset, "model": model, "n_seeds": len(runs)}
        rows.append(row | {key: _mean_sd(cell.cost(key) for cell in runs)[0] for key in COST})
    return rows


def _inputs(suite: str, groups: list[Group]) -> dict[str, Any]:
    """What the tables were made from; `inputs_sha256` changes with any run."""
    cells = [cell for group in groups for cell in group.cells]
    runs = {cell.id: cell.run_sha256 for cell in cells if cell.status == "ok"}
    not_ok = [
        {key: getattr(cell, key) for key in ("dataset", "model", "seed", "status")}
        for cell in cells
        if cell.status != "ok"
    ]
    manifests = {group.dataset: group.split.manifest for group in groups if group.split}
    return {
        "suite": suite,
        "command": f"stembench compare --suite {suite}",
        "complete": not not_ok,
        "n_cells": len(cells),
        "n_ok": len(runs),
        "not_ok": not_ok,
        "inputs_sha256": hashlib.sha256(json.dumps(sorted(runs.items())).encode()).hexdigest(),
        "runs": runs,
        "splits": {
            dataset: {key: manifest[key] for key in ("split", "sha256", "rows")}
            for dataset, manifest in manifests.items()
        },
        "seeds": list(dict.fromkeys(cell.seed for cell in cells)),
    }


def _summary(metrics: Rows) -> dict[str, dict[str, dict[str, float]]]:
    """{data set: {task: {model: mean test AUC}}}, models without a run left out."""
    summary: dict[str, dict[str, dict[str, float]]] = {}
    for row in metrics:
        if row["metric"] == "auc" and not math.isnan(row["mean"]):
            tasks = summary.setdefault(row["dataset"], {})
            tasks.setdefault(row["task"], {})[row["model"]] = round(row["mean"], 6)
    return summary


def _mean_sd(values: Iterable[float]) -> tuple[float, float]:
    """Mean and SD (ddof 1) over seeds; NaN for none, and the SD also for one."""
    x = np.fromiter(values, np.float64)
    mean = float(x.mean()) if len(x) else math.nan
    return mean, float(x.std(ddof=1)) if len(x) > 1 else math.nan
