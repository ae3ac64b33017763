"""What a model costs, and what quality that buys: a table, and a figure of AUC against cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from stembench.report import names
from stembench.report.figures.style import COLOURS, REFERENCE, legend, say, style
from stembench.report.results import Results, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Column of cost.csv, its title, decimals shown.
COLUMNS = (
    ("parameters_embedding", "embedding parameters", 0),
    ("parameters_dense", "dense parameters", 0),
    ("fit_s", "fit, s", 1),
    ("total_s", "total, s", 1),
    ("samples_per_s", "samples / s", 0),
    ("epochs_run", "epochs", 1),
    ("best_epoch", "best epoch", 1),
    ("peak_memory_mb", "peak memory, MB", 0),
)
HEADER = ["Data set", "Model", "seeds", *(title for _, title, _ in COLUMNS)]
NOTE = "Means over seeds, on the machine that ran them: compare within a data set."
CAPTION = (
    "Mean test AUC over tasks and seeds against seconds of training a run, parameters and peak "
    "memory of the process, each on a logarithmic scale. Up and to the left is better."
)
#: Column of cost.csv -> the axis of a panel.
_AXES = (
    ("fit_s", "seconds of training"),
    ("parameters_total", "parameters"),
    ("peak_memory_mb", "peak memory, MB"),
)
_MARKERS = "osD^vP<>Xdph8"


def rows(results: Results) -> list[list[str]]:
    """A row a model of each data set, as text; `missing` where no run of it counts."""
    found = {(row.dataset, row.model): row for row in records(results.cost)}
    lines = []
    for dataset in results.datasets:
        for model in results.models(dataset):
            row = found.get((dataset, model))
            seeds = int(row.n_seeds) if row is not None and math.isfinite(row.n_seeds) else 0
            shown = ["missing"] * len(COLUMNS)
            if row is not None and seeds:
                values = [getattr(row, name) for name, *_ in COLUMNS]
                shown = [
                    f"{value:,.{decimals}f}" if math.isfinite(value) else "n/a"
                    for value, (*_, decimals) in zip(values, COLUMNS, strict=True)
                ]
            lines.append([names.dataset(dataset), names.model(model), str(seeds), *shown])
    return lines


def quality(results: Results, dataset: str) -> dict[str, float]:
    """Mean test AUC over the tasks by model, of the models that have every task."""
    table = results.metrics
    table = table[(table["dataset"] == dataset) & (table["metric"] == "auc")]
    wide = table.pivot(index="model", columns="task", values="mean").dropna()
    return {str(model): float(value) for model, value in wide.mean(axis=1).items()}


def scatter(results: Results) -> Figure:
    """A row a data set, a panel a kind of cost, a point a model."""
    models = list(dict.fromkeys(m for d in results.datasets for m in results.models(d)))
    others = [model for model in models if model != results.reference]
    looks: dict[str, dict[str, Any]] = {
        model: {"color": COLOURS[i % len(COLOURS)], "marker": _MARKERS[i % len(_MARKERS)]}
        for i, model in enumerate(others)
    }
    looks[results.reference] = {"color": REFERENCE, "marker": "*", "markersize": 10}
    costs = {(row.dataset, row.model): row for row in records(results.cost)}
    datasets = results.datasets or [""]
    with style():
        figure, axes = plt.subplots(
            len(datasets),
            len(_AXES),
            figsize=(3.1 * len(_AXES) + 0.6, 2.5 * len(datasets) + 0.9),
            layout="constrained",
            squeeze=False,
        )
        for i, dataset in enumerate(datasets):
            aucs = quality(results, dataset)
            for j, (column, title) in enumerate(_AXES):
                points = {
                    model: (float(getattr(costs[dataset, model], column)), auc)
                    for model, auc in aucs.items()
                    if (dataset, model) in costs
                }
                _panel(axes[i, j], points, looks)
                axes[i, j].set_xlabel(title, fontsize=8.5)
                if j == 0:
                    axes[i, j].set_title(names.dataset(dataset), loc="left")
                    axes[i, j].set_ylabel("mean test AUC")
        handles = [
            Line2D([], [], linestyle="", markersize=5.5, label=names.model(model))
            for model in models
        ]
        for handle, model in zip(handles, models, strict=True):
            handle.set(**looks[model])
        legend(figure, handles, columns=min(6, max(1, len(handles))))
    return figure


def _panel(
    axes: Axes, points: dict[str, tuple[float, float]], looks: dict[str, dict[str, Any]]
) -> None:
    known = {m: p for m, p in points.items() if math.isfinite(p[0]) and p[0] > 0}
    if not known:
        say(axes, "missing: not measured")
        axes.set(xticks=[], yticks=[])
        return
    for model, (x, y) in known.items():
        axes.plot(x, y, linestyle="", **({"markersize": 5.5, "alpha": 0.9} | looks[model]))
    axes.set_xscale("log")
    lo, hi = min(p[0] for p in known.values()), max(p[0] for p in known.values())
    # Never less than a factor of 2, so that equal costs are not drawn far apart.
    middle, half = math.sqrt(lo * hi), max(math.sqrt(hi / lo) * 1.12, math.sqrt(2))
    axes.set_xlim(middle / half, middle * half)
    marks = (1.0,) if half > 10**0.75 else (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
    axes.xaxis.set_major_locator(LogLocator(subs=marks))
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(color="#E3E3E3", linewidth=0.6)
    axes.set_axisbelow(True)


def _short(x: float, _: int | None = None) -> str:
    """1.5M, 20k, 300."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= unit:
            return f"{x / unit:.3g}{letter}"
    return f"{x:.3g}"
