"""The tables of the comparable samples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from stembench.records.writing import write_text
from stembench.report import names
from stembench.report.figures.style import save, style
from stembench.report.results import records, unique
from stembench.report.sections.comparable import (
    MARKS,
    by_bucket,
    read_table,
    sensitivity,
    setting_name,
    signed_number,
    styles,
)


def write_comparable(results: Path, reference: str) -> list[Path]:
    """Write tables/comparable.md and the figures comparable and comparable_sensitivity.

    results: results/<suite>; reference: the model drawn in its own colour.
    """
    table = read_table(results / "tables" / "comparable.csv")
    other = read_table(results / "tables" / "comparable_sensitivity.csv")
    paths = [write_text(results / "tables" / "comparable.md", to_markdown(table, other))]
    colours = styles(table, reference)
    for name, figure in (
        ("comparable", by_bucket(table, colours)),
        ("comparable_sensitivity", sensitivity(other, colours)),
    ):
        with style():
            paths += save(figure, results / "figures" / name)
    return paths


def to_markdown(table: pd.DataFrame, other: pd.DataFrame) -> str:
    """Gaps by bucket and the interaction contrast, then the same under other settings."""
    lines = ["# Transfer gap on comparable samples", ""]
    if len(table):
        first = records(table)[0]
        lines += [
            f"AUC of each model minus that of {names.model(first.baseline)}, mean over seeds, with "
            f"the standard error over seeds and users. Rows are sorted by the log-ratio of the two "
            f"tasks' training positives ({setting_name(first)}): a = heavy in the first task, "
            f"b = heavy in the second, none = no training positive. Interaction: gap on comparable "
            f"rows minus gap on the other rows with a ratio. ↓ negative, ↑ positive transfer at "
            f"adjusted p below alpha (Holm over the buckets, pairs and tasks of a model); few: not "
            f"tested, as fewer than ten users, positives or negatives are in the bucket.",
            "",
        ]
    for metric in unique(table["metric"]):
        for dataset in unique(table["dataset"]):
            rows = table[(table["metric"] == metric) & (table["dataset"] == dataset)]
            lines += [f"## {names.dataset(dataset)}, {names.metric(metric)}", ""]
            lines += [*_grid(rows), ""]
    lines += ["## Sensitivity: comparable bucket and interaction, AUC", ""]
    header = "| Data set | Pair | Task | Model | Setting | comparable | interaction |"
    lines += [header, "| --- | --- | --- | --- | --- | ---: | ---: |"]
    keys = ["dataset", "task_a", "task_b", "task", "model", "definition", "buckets", "smoothing"]
    for _, rows in other.groupby(keys, sort=False):
        found = {row.bucket: row for row in records(rows)}
        row = next(iter(found.values()))
        cells = [_cell(found[name]) for name in ("comparable", "interaction") if name in found]
        lines.append(
            f"| {names.dataset(row.dataset)} | {_pair(row)} | {names.task(row.task)} | "
            f"{names.model(row.model)} | {setting_name(row)} | {' | '.join(cells)} |"
        )
    return "\n".join(lines) + "\n"


def _grid(rows: pd.DataFrame) -> list[str]:
    buckets = unique(rows["bucket"])
    header = ["Pair", "Task", "Model", *buckets]
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * 3}{' ---: |' * len(buckets)}"]
    for _, mine in rows.groupby(["task_a", "task_b", "task", "model"], sort=False):
        found = {row.bucket: row for row in records(mine)}
        row = next(iter(found.values()))
        cells = [_cell(found[name]) if name in found else "" for name in buckets]
        start = [_pair(row), names.task(row.task), names.model(row.model)]
        lines.append(f"| {' | '.join([*start, *cells])} |")
    return lines


def _cell(row: Any) -> str:
    if not math.isfinite(row.delta):
        return "missing"
    return f"{signed_number(row.delta)} ± {row.se_total:.4f}{MARKS[row.verdict]}"


def _pair(row: Any) -> str:
    return f"{names.task(row.task_a)} / {names.task(row.task_b)}"
