"""Read what `stembench compare` wrote: results/<suite>/tables/*.csv and inputs.json."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from stembench.errors import StembenchError

#: Columns that the report reads: text, and numbers (NaN where a value is missing).
_COLUMNS: dict[str, tuple[str, str]] = {
    "cells": ("dataset model seed status", ""),
    "runs": ("dataset model seed part task metric", "value"),
    "metrics": ("dataset task metric model missing_seeds", "n_seeds n_expected mean sd rank"),
    "oracle": ("dataset task metric passed_by", "value"),
    "comparison": (
        "dataset task metric bucket model_a model_b family verdict",
        "n_seeds n_users n_rows n_pos delta se_seed se_user se_total df ci_lo ci_hi p_total"
        " p_seed p_adj p_tost",
    ),
    "cost": (
        "dataset model",
        "n_seeds parameters_embedding parameters_dense parameters_total fit_s total_s"
        " samples_per_s epochs_run best_epoch peak_memory_mb",
    ),
    "factors": (
        "dataset task metric design effect contrast models family",
        "n_seeds delta se_seed se_user se_total df ci_lo ci_hi p_total p_seed p_adj",
    ),
}
#: Tables that a suite has only if its runs hold what they are of.
_OPTIONAL: dict[str, tuple[str, str]] = {
    "selection": (
        "dataset task metric model",
        "n_seeds epoch_mean epoch_task mean_mean sd_mean mean_task sd_task delta sd_delta",
    ),
    "selection_comparison": (
        "selection dataset task metric model_a model_b verdict",
        "n_seeds delta ci_lo ci_hi p_adj",
    ),
    "diagnostics": ("dataset model quantity task source", "n_seeds mean sd"),
    "calibration": ("dataset task model bin", "n_seeds n_rows predicted observed sd_observed gap"),
}
_KEYS = (
    "suite command complete n_cells n_ok not_ok inputs_sha256 splits seeds reference alpha margin"
)


@dataclass(frozen=True)
class Results:
    """The tables of one suite; names as in the CSV files, text columns str, the rest float64.

    Tables that a suite may lack are then empty.
    """

    root: Path
    inputs: dict[str, Any]
    cells: pd.DataFrame
    runs: pd.DataFrame
    metrics: pd.DataFrame
    oracle: pd.DataFrame
    comparison: pd.DataFrame
    cost: pd.DataFrame
    factors: pd.DataFrame
    selection: pd.DataFrame
    selection_comparison: pd.DataFrame
    diagnostics: pd.DataFrame
    calibration: pd.DataFrame

    @property
    def suite(self) -> str:
        return str(self.inputs["suite"])

    @property
    def reference(self) -> str:
        return str(self.inputs["reference"])

    @property
    def alpha(self) -> float:
        return float(self.inputs["alpha"])

    @property
    def margin(self) -> float:
        return float(self.inputs["margin"])

    @property
    def datasets(self) -> list[str]:
        """In the suite's order, those without any run included."""
        return unique(self.cells["dataset"])

    def models(self, dataset: str) -> list[str]:
        """Models of a data set in the suite's order, those without any run included."""
        return unique(self.cells.loc[self.cells["dataset"] == dataset, "model"])

    def tasks(self, dataset: str) -> list[str]:
        """Tasks of a data set; empty where no run tells them."""
        return unique(self.metrics.loc[self.metrics["dataset"] == dataset, "task"])

    @cached_property
    def main_comparison(self) -> pd.DataFrame:
        """Reference against every other model of the suite: AUC over all test rows."""
        return self.comparison_on("all")

    @cached_property
    def run_values(self) -> dict[tuple[str, str, str], dict[tuple[str, str], float]]:
        """Test metrics by run: (data set, model, seed) -> (task, metric) -> value."""
        found: dict[tuple[str, str, str], dict[tuple[str, str], float]] = {}
        for row in records(self.runs[self.runs["part"] == "test"]):
            mine = found.setdefault((row.dataset, row.model, row.seed), {})
            mine[row.task, row.metric] = row.value
        return found

    def has_unbiased(self, dataset: str) -> bool:
        """Whether a data set was also evaluated on randomly exposed items."""
        mine = self.metrics[self.metrics["dataset"] == dataset]
        return bool((mine["metric"] == "unbiased_auc").any())

    def comparison_on(self, bucket: str) -> pd.DataFrame:
        """Reference against every other model by AUC, on `all` test rows or the part `unbiased`.

        One row per data set × task × other model, in the suite's order; what was not compared has
        NaN statistics and the verdict "missing".
        """
        table = self.comparison
        table = table[
            (table["metric"] == "auc")
            & (table["bucket"] == bucket)
            & (table["model_a"] == self.reference)
        ]
        wanted = [
            (dataset, task, model)
            for dataset in self.datasets
            if bucket == "all" or self.has_unbiased(dataset)
            for task in self.tasks(dataset)
            for model in self.models(dataset)
            if model != self.reference
        ]
        keys = ["dataset", "task", "model_b"]
        full = pd.DataFrame(wanted, columns=keys, dtype=str).merge(table, on=keys, how="left")
        return full.fillna({"verdict": "missing", "family": ""})

    @property
    def passed(self) -> list[tuple[str, str, list[str]]]:
        """(dataset, task, models) where models have a higher AUC than the true probabilities."""
        rows = self.oracle[(self.oracle["metric"] == "auc") & (self.oracle["passed_by"] != "")]
        return [(r.dataset, r.task, r.passed_by.split(";")) for r in records(rows)]


def records(table: pd.DataFrame) -> list[Any]:
    """Rows as named tuples."""
    return list(table.itertuples(index=False))


def unique(values: Iterable[Any]) -> list[str]:
    """Distinct values in order of first appearance."""
    return [str(value) for value in dict.fromkeys(values)]


def _remedy(root: Path) -> str:
    return f"run `stembench compare --suite {root.name}` first"


def _read_csv(path: Path, text: list[str], numbers: list[str], remedy: str) -> pd.DataFrame:
    # All as text first: pandas would read a seed list "76" as the number 76.0, and a model
    # called "null" as missing.
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise StembenchError(f"{path} is not there: {remedy}") from None
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise StembenchError(f"{path} cannot be read ({error}): {remedy}") from None
    absent = [name for name in (*text, *numbers) if name not in table.columns]
    if absent:
        raise StembenchError(f"{path} lacks the columns {', '.join(absent)}: {remedy}")
    for name in numbers:
        try:
            known = ~table[name].str.lower().isin(["", "nan"])
            table[name] = pd.to_numeric(table[name].where(known)).astype(float)
        except ValueError as error:
            raise StembenchError(f"{path}, column {name}: {error}; {remedy}") from None
    return table


def read_results(root: Path) -> Results:
    """Read the tables of `root` (results/<suite>).

    Raises StembenchError if a table is not there, unreadable or lacks a column.
    """
    folder, remedy = root / "tables", _remedy(root)
    path = folder / "inputs.json"
    try:
        inputs = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StembenchError(f"{path} is not there: {remedy}") from None
    except (ValueError, OSError) as error:
        raise StembenchError(f"{path} cannot be read ({error}): {remedy}") from None
    absent = [key for key in _KEYS.split() if key not in inputs]
    if absent:
        raise StembenchError(f"{path} lacks {', '.join(absent)}: {remedy}")
    tables = {
        name: _read_csv(folder / f"{name}.csv", text.split(), numbers.split(), remedy)
        for name, (text, numbers) in _COLUMNS.items()
    }
    for name, (text, numbers) in _OPTIONAL.items():
        there = (folder / f"{name}.csv").exists()
        tables[name] = (
            _read_csv(folder / f"{name}.csv", text.split(), numbers.split(), remedy)
            if there
            else pd.DataFrame(columns=[*text.split(), *numbers.split()])
        )
    return Results(root=root, inputs=inputs, **tables)
