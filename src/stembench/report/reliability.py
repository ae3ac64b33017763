"""Calibration in the report: the reliability diagram, and error and ratio by model and task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.lines import Line2D

from stembench.report import names
from stembench.report.content import number
from stembench.report.figures import grid, legend, model_styles, say, style
from stembench.report.inputs import Results, records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The row of calibration.csv that is of all bins.
ALL = "all"
CAPTION = (
    "Share of positives against the mean predicted probability in ten bins of equal size, test "
    "rows, mean over seeds. On the diagonal predictions are right; below it they are too high."
)
NOTE = (
    "The ratio is predicted / observed positives over all test rows: 1 is best. The error is the "
    "mean distance from the diagonal over ten bins of equal size (expected calibration error): 0 "
    "is best, and unlike the ratio it cannot cancel. Both are means over seeds, and not tested."
)


def curves(results: Results) -> Figure:
    """The reliability diagram: a panel a data set and task, a line a model."""
    table = results.calibration[results.calibration["bin"] != ALL]
    models = list(dict.fromkeys(m for d in results.datasets for m in results.models(d)))
    styles = model_styles(models, results.reference)
    with style():
        figure, panels = grid(results, width=3.1, height=2.7, extra=0.8)
        for (dataset, task), axes in panels.items():
            mine = table[(table["dataset"] == dataset) & (table["task"] == task)]
            if not len(mine):
                say(axes, "missing: no calibration.csv")
                axes.set(xticks=[], yticks=[])
                continue
            top = 1.05 * float(mine[["predicted", "observed"]].to_numpy().max())
            axes.plot([0, top], [0, top], color="black", linewidth=0.8)
            absent = []
            for model in results.models(dataset):
                part = mine[mine["model"] == model]
                if len(part):
                    axes.plot(part["predicted"], part["observed"], marker=".", ms=3.5,
                              **(styles[model] | {"linewidth": 1.2}))  # fmt: skip
                else:
                    absent.append(names.model(model))
            if absent:
                axes.text(0.98, 0.03, f"missing: {', '.join(absent)}", fontsize=7.5, ha="right",
                          transform=axes.transAxes, color="#5F5F5F", style="italic")  # fmt: skip
            axes.set(xlim=(0, top), ylim=(0, top))
            axes.grid(color="#E3E3E3", linewidth=0.6)
        figure.supxlabel("mean predicted probability", fontsize=9)
        figure.supylabel("share of positives", fontsize=9)
        handles: list[Any] = [
            Line2D([], [], label=names.model(model), **styles[model]) for model in models
        ]
        legend(figure, handles, columns=min(6, max(1, len(handles))))
    return figure


def header(results: Results, dataset: str) -> list[str]:
    """Column titles of a data set's table."""
    tasks = [names.task(task) for task in results.tasks(dataset)]
    return ["Model", *(f"{task} {what}" for task in tasks for what in ("ratio", "error"))]


def rows(results: Results, dataset: str) -> list[list[str]]:
    """A row a model: ratio and error of each task, `missing` where there is none."""
    whole = results.calibration
    whole = whole[(whole["dataset"] == dataset) & (whole["bin"] == ALL)]
    errors = {(row.model, row.task): float(row.gap) for row in records(whole)}
    ratios = _ratios(results.metrics, dataset)
    lines = []
    for model in results.models(dataset):
        cells = [names.model(model)]
        for task in results.tasks(dataset):
            for found, decimals in ((ratios, 3), (errors, 4)):
                value = found.get((model, task), float("nan"))
                cells.append("missing" if value != value else number(value, decimals))
        lines.append(cells)
    return lines


def _ratios(metrics: pd.DataFrame, dataset: str) -> dict[tuple[str, str], float]:
    mine = metrics[(metrics["dataset"] == dataset) & (metrics["metric"] == "calibration")]
    return {(row.model, row.task): float(row.mean) for row in records(mine)}
