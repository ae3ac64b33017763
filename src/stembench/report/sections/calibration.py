"""Calibration in the report: the reliability diagram, and error and ratio by model and task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from stembench.report import names
from stembench.report.figures.style import (
    grid,
    legend,
    model_styles,
    say,
    say_missing,
    signed,
    style,
)
from stembench.report.numbers import number
from stembench.report.results import Results, records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: The row of calibration.csv that is of all bins.
ALL = "all"
CAPTION = (
    "Share of positives less the mean predicted probability, in ten bins of equal size from low to "
    "high predictions; test rows, mean over seeds. This is the reliability diagram with its "
    "diagonal laid flat: on the line predictions are right, below it they are too high."
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
            axes.axhline(0, color="black", linewidth=0.8)
            absent = []
            for model in results.models(dataset):
                part = mine[mine["model"] == model]
                if len(part):
                    off = part["observed"] - part["predicted"]
                    look = styles[model] | {"linewidth": 1.3}
                    axes.plot(part["predicted"], off, marker=".", ms=3.5, **look)
                else:
                    absent.append(names.model(model))
            if absent:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
                say_missing(axes, absent, bbox=box)
            # An error of less than a hundredth must not fill the panel.
            lo, hi = axes.get_ylim()
            axes.set_ylim(min(lo, -0.01), max(hi, 0.01))
            axes.yaxis.set_major_formatter(FuncFormatter(signed))
            axes.grid(color="#E3E3E3", linewidth=0.6)
        figure.supxlabel("mean predicted probability", fontsize=9)
        figure.supylabel("share of positives − prediction", fontsize=9)
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
