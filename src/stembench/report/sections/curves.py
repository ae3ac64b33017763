"""Learning curves of the runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from stembench.report import names
from stembench.report.figures.style import (
    grid,
    legend,
    model_styles,
    say,
    say_missing,
    style,
)
from stembench.report.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _histories(results: Results, dataset: str, model: str) -> list[pd.DataFrame]:
    """Learning curves of the cells that count; those that cannot be read are left out."""
    cells = results.cells
    mine = cells[
        (cells["dataset"] == dataset) & (cells["model"] == model) & (cells["status"] == "ok")
    ]
    found = []
    for seed in mine["seed"]:
        path = results.root / "runs" / dataset / model / seed / "history.csv"
        try:
            history = pd.read_csv(path)
            history = history.apply(pd.to_numeric, errors="coerce")
        except (OSError, ValueError):
            continue
        if "epoch" in history and len(history):
            history.attrs["kept"] = _kept(path.with_name("run.json"))
            found.append(history.sort_values("epoch"))
    return found


def _kept(path: Path) -> dict[str, float]:
    """The epoch whose weights a run kept for each task, by its own rule; empty if it does not say.

    A run that serves both rules goes on after its own has stopped, and may find a better epoch.
    """
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        own = run["spec"]["train"]["select"]["over"]
        return {str(k): float(v) for k, v in run["selection"][own]["epochs"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _curve(axes: Axes, histories: list[pd.DataFrame], task: str, style: dict[str, Any]) -> bool:
    """Draw a model's curves; returns whether there was anything to draw."""
    column = f"valid_auc_{task}"
    histories = [h for h in histories if column in h and h[column].notna().any()]
    curves = [history.set_index("epoch")[column] for history in histories]
    for history, curve in zip(histories, curves, strict=True):
        axes.plot(curve.index, curve, color=style["color"], alpha=0.28, linewidth=0.7)
        means = history.get("valid_auc")
        best = history.attrs["kept"].get(task)
        if best is None and means is not None and means.notna().any():
            best = float(history["epoch"].iloc[int(means.argmax())])
        if best is not None:
            axes.plot(best, curve.get(best, math.nan), ".", color=style["color"], alpha=0.7, ms=5)
    if curves:
        # Where a seed has ended, a mean of the others would jump: the line ends with the first.
        mean = pd.concat(curves, axis=1).dropna().mean(axis=1)
        axes.plot(mean.index, mean, **style, marker="o" if len(mean) == 1 else None, ms=3)
    return bool(curves)


def learning_curves(results: Results) -> Figure:
    """Validation AUC by epoch: a line a model (mean over seeds), faint lines its seeds."""
    models = list(dict.fromkeys(m for d in results.datasets for m in results.models(d)))
    styles = model_styles(models, results.reference)
    with style():
        figure, panels = grid(results, width=3.1, height=2.3, extra=0.8)
        for dataset in results.datasets:
            histories = {m: _histories(results, dataset, m) for m in results.models(dataset)}
            for task in results.tasks(dataset):
                axes = panels[dataset, task]
                if task == results.tasks(dataset)[0]:
                    axes.set_ylabel("validation AUC")
                absent = [
                    names.model(model)
                    for model, found in histories.items()
                    if not _curve(axes, found, task, styles[model])
                ]
                if len(absent) == len(histories):
                    say(axes, "missing: no history.csv")
                    axes.set(xticks=[], yticks=[])
                    continue
                axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
                axes.grid(color="#E3E3E3", linewidth=0.6)
                if absent:
                    say_missing(axes, absent)
        figure.supxlabel("epoch", fontsize=9)
        handles = [Line2D([], [], label=names.model(model), **styles[model]) for model in models]
        handles.append(
            Line2D(
                [],
                [],
                color="#5F5F5F",
                linewidth=0.7,
                alpha=0.6,
                marker=".",
                label="one seed; dot: its best epoch",
            )
        )
        legend(figure, handles, columns=min(6, len(handles)))
    return figure
