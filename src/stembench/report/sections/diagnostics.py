"""What explains the results: gates, gradient cosines, embedding collapse, work and memory.

Figures of tables/diagnostics.csv and of runs/<dataset>/<model>/<seed>/diagnostics.csv.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from stembench.report import names
from stembench.report.figures.style import COLOURS, grid, legend, save, say, style
from stembench.report.results import Results, read_results, records, unique

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEADER = ["Data set", "Model", "FLOPs, forward", "FLOPs, step", "MB, parameters", "MB, optimiser",
          "MB, objective"]  # fmt: skip
CAPTIONS = {
    "gates": (
        "Gates",
        "Share of a gate's weight by whose experts it falls on, at the chosen epoch, mean over "
        "seeds and over fixed training rows. A gate that no task alone trains has its own name.",
    ),
    "cosines": (
        "Conflict of gradients",
        "Cosine between the gradients of two tasks' losses by epoch, mean over seeds, on fixed "
        "training rows: on the dense parameters that both reach (solid), and on the looked-up "
        "embeddings that both reach (dashed). Below 0 the tasks pull apart.",
    ),
    "abundance": (
        "Embedding collapse",
        "Information abundance, the sum of a table's singular values over the largest, at the "
        "chosen epoch: mean over fields and seeds. 1 is a table collapsed to a line; the most is "
        "its width. Tables are named by the one task whose loss reaches them, or shared.",
    ),
}


def rows(results: Results) -> list[list[str]]:
    """Formatted rows of the table of work and memory."""
    found = {
        (row.dataset, row.model, row.quantity, row.source): row.mean
        for row in records(results.diagnostics)
    }
    keys = [
        *(("flops_per_sample", name, 1.0, 0) for name in ("forward", "step")),
        *(("memory_bytes", name, 1e6, 3) for name in ("parameters", "optimizer", "objective")),
    ]
    lines = []
    for dataset in results.datasets:
        for model in results.models(dataset):
            values = [found.get((dataset, model, *key[:2])) for key in keys]
            if any(value is not None for value in values):
                shown = [
                    "n/a" if value is None else f"{value / unit:,.{decimals}f}"
                    for value, (_, _, unit, decimals) in zip(values, keys, strict=True)
                ]
                lines.append([names.dataset(dataset), names.model(model), *shown])
    return lines


def gates(results: Results) -> Figure:
    """A row of stacked bars a model: the gate of the panel's task, by source."""
    table = results.diagnostics
    table = table[table["quantity"] == "gate"]
    sources = sorted(set(table["source"]), key=lambda source: (source == "shared", source))
    colours = {source: COLOURS[i % len(COLOURS)] for i, source in enumerate(sources)}
    most = max([1, *table.groupby(["dataset", "model"])["task"].nunique().groupby("dataset").sum()])
    with style():
        figure, panels = grid(results, width=3.1, height=0.16 * most + 0.9, extra=0.9)
        for (dataset, task), axes in panels.items():
            mine = table[table["dataset"] == dataset]
            known = results.tasks(dataset)
            first = task == known[0]
            mine = mine[(mine["task"] == task) | (first & ~mine["task"].isin(known))]
            bars = [(m, g) for m in unique(mine["model"]) for g in unique(mine["task"])]
            bars = [b for b in bars if ((mine["model"] == b[0]) & (mine["task"] == b[1])).any()]
            if not bars:
                _nothing(axes, "no model has gates")
                continue
            for y, (model, gate) in enumerate(bars):
                left = 0.0
                part = mine[(mine["model"] == model) & (mine["task"] == gate)]
                for row in records(part):
                    axes.barh(y, row.mean, left=left, color=colours[row.source], height=0.75)
                    left += row.mean
            labels = [names.model(m) + ("" if g == task else f" {g}") for m, g in bars]
            axes.set_yticks(range(len(bars)), labels, fontsize=7.5)
            axes.set_ylim(len(bars) - 0.4, -0.6)
            axes.set_xlim(0, 1)
        figure.supxlabel("share of the gate's weight", fontsize=9)
        handles = [Patch(color=c, label=names.task(source)) for source, c in colours.items()]
        if handles:
            legend(figure, handles, columns=min(6, len(handles)))
    return figure


def cosines(results: Results) -> Figure:
    """Lines by epoch: a panel a data set and pair of tasks, a colour a model."""
    models = list(dict.fromkeys(m for d in results.datasets for m in results.models(d)))
    colours = {model: COLOURS[i % len(COLOURS)] for i, model in enumerate(models)}
    markers = {model: "osv^Dx*P"[(i // len(COLOURS)) % 8] for i, model in enumerate(models)}
    curves = {d: {m: _curves(results, d, m) for m in results.models(d)} for d in results.datasets}
    pairs = {
        dataset: unique(pair for by_model in curves[dataset].values() for _, pair in by_model)
        for dataset in results.datasets
    }
    columns, lines = max([1, *map(len, pairs.values())]), max(1, len(results.datasets))
    drawn: set[str] = set()
    with style():
        figure, grid_axes = plt.subplots(
            lines, columns, figsize=(max(7.0, 3.1 * columns + 0.6), 2.3 * lines + 1.0),
            layout="constrained", squeeze=False,
        )  # fmt: skip
        for i, dataset in enumerate(results.datasets):
            for j in range(columns):
                axes = grid_axes[i, j]
                if j >= len(pairs[dataset]):
                    axes.axis("off")
                    continue
                pair = pairs[dataset][j]
                a, b = pair.split("|")
                title = f"{names.dataset(dataset)} · {names.task(a)}, {names.task(b)}"
                axes.set_title(title, loc="left")
                axes.axhline(0, color="black", linewidth=0.8)
                axes.grid(color="#E3E3E3", linewidth=0.6)
                for model, by_kind in curves[dataset].items():
                    for kind, dashes in (("dense", "-"), ("embedding", "--")):
                        curve = by_kind.get((kind, pair))
                        if curve is not None:
                            axes.plot(
                                curve.index, curve, color=colours[model], linestyle=dashes,
                                marker=markers[model], ms=2.5, linewidth=1.3,
                            )  # fmt: skip
                            drawn.add(model)
        figure.supxlabel("epoch", fontsize=9)
        figure.supylabel("cosine", fontsize=9)
        handles: list[Any] = [
            Line2D([], [], color=colours[m], marker=markers[m], ms=3, label=names.model(m))
            for m in models
            if m in drawn
        ]
        handles.append(Line2D([], [], color="#5F5F5F", linestyle="-", label="dense"))
        handles.append(Line2D([], [], color="#5F5F5F", linestyle="--", label="embeddings"))
        legend(figure, handles, columns=min(5, len(handles)))
    return figure


def _curves(results: Results, dataset: str, model: str) -> dict[tuple[str, str], pd.Series[float]]:
    """(kind, `a|b`) to the mean over seeds by epoch, up to where the first seed stopped."""
    cells = results.cells
    mine = cells[(cells["dataset"] == dataset) & (cells["model"] == model)]
    found: dict[tuple[str, str], list[pd.Series[float]]] = {}
    for seed in mine.loc[mine["status"] == "ok", "seed"]:
        path = results.root / "runs" / dataset / model / seed / "diagnostics.csv"
        try:
            table = pd.read_csv(path, dtype={"task": str, "source": str}, keep_default_na=False)
            table = table[table["quantity"].str.startswith("cosine_")]
            table["value"] = pd.to_numeric(table["value"])
            for (quantity, a, b), part in table.groupby(["quantity", "task", "source"], sort=False):
                key = str(quantity).removeprefix("cosine_"), f"{a}|{b}"
                found.setdefault(key, []).append(part.set_index("epoch")["value"])
        except (OSError, ValueError, KeyError):
            continue  # as with learning curves: what cannot be read is left out
    return {key: pd.concat(curves, axis=1).dropna().mean(axis=1) for key, curves in found.items()}


def abundance(results: Results) -> Figure:
    """Bars by model and table, mean over the fields; a panel a data set."""
    table = results.diagnostics
    table = table[table["quantity"] == "abundance"]
    means = table.groupby(["dataset", "model", "task"], sort=False)["mean"].mean()
    lines = max(1, len(results.datasets))
    count = max([1, *means.groupby("dataset").size()])
    with style():
        figure, axes = plt.subplots(
            1, lines, figsize=(max(7.0, 3.6 * lines), 0.17 * count + 1.2),
            layout="constrained", squeeze=False,
        )  # fmt: skip
        for panel, dataset in zip(axes[0], results.datasets, strict=False):
            panel.set_title(names.dataset(dataset), loc="left")
            mine = means[means.index.get_level_values("dataset") == dataset]
            if not len(mine):
                _nothing(panel, "no diagnostics")
                continue
            labels = []
            models = unique(mine.index.get_level_values("model"))
            keys: Any = mine.index
            for y, ((_, model, owner), value) in enumerate(zip(keys, mine, strict=True)):
                panel.barh(y, value, color=COLOURS[models.index(model) % len(COLOURS)], height=0.75)
                labels.append(f"{names.model(model)} · {names.task(owner)}")
            panel.set_yticks(range(len(mine)), labels, fontsize=7)
            panel.set_ylim(len(mine) - 0.4, -0.6)
            panel.axvline(1, color="black", linewidth=0.8)
        figure.supxlabel("information abundance", fontsize=9)
    return figure


def _nothing(axes: Axes, text: str) -> None:
    say(axes, text)
    axes.set(xticks=[], yticks=[])


def write_diagnostic_figures(results: Path) -> list[Path]:
    """Write gates, cosines and abundance as SVG and PNG into `results`/figures.

    Nothing is written for a suite without tables/diagnostics.csv. Returns the paths.
    """
    tables = read_results(results)
    if not len(tables.diagnostics):
        return []
    paths = []
    for name, draw in (("gates", gates), ("cosines", cosines), ("abundance", abundance)):
        figure = draw(tables)
        with style():
            paths += save(figure, results / "figures" / name)
    return paths
