"""Forest plot and learning curves as SVG and PNG, the same bytes from the same tables."""

from __future__ import annotations

import json
import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")  # before pyplot: there may be no display

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from stembench.report import names
from stembench.report import sentences as content
from stembench.report.results import Results, read_results, records
from stembench.report.sections import factors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Verdict -> colour (Okabe-Ito, safe for the colour-blind) and marker (safe without colour).
VERDICTS = {
    "better": ("#0072B2", ">"),
    "worse": ("#D55E00", "<"),
    "equivalent": ("#009E73", "s"),
    "inconclusive": ("#5F5F5F", "o"),
    "missing": ("#5F5F5F", "x"),
}
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#8C510A", "#5F5F5F")
REFERENCE = "#D55E00"
_DASHES = ("--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
_STYLE: Any = {
    "svg.hashsalt": "stembench",
    "svg.fonttype": "path",  # text as outlines: the same picture on a phone without the font
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 110,
    "figure.constrained_layout.w_pad": 0.08,  # inches
    "figure.constrained_layout.h_pad": 0.08,
}


def style() -> AbstractContextManager[None]:
    """The report's settings on matplotlib's own defaults, whatever the user's matplotlibrc says."""
    return plt.style.context(_STYLE, after_reset=True)


def grid(
    results: Results, width: float, height: float, extra: float
) -> tuple[Figure, dict[tuple[str, str], Axes]]:
    """Small multiples: a row per data set, a column per task; a data set without runs says so."""
    rows = results.datasets or [""]
    columns = max([1, *(len(results.tasks(dataset)) for dataset in rows)])
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(max(7.0, width * columns + 0.6), height * len(rows) + extra),
        layout="constrained",
        squeeze=False,
    )
    found = {}
    for i, dataset in enumerate(rows):
        tasks = results.tasks(dataset)
        for j in range(columns):
            if j < len(tasks):
                found[dataset, tasks[j]] = axes[i, j]
                axes[i, j].set_title(
                    f"{names.dataset(dataset)} · {names.task(tasks[j])}", loc="left"
                )
            else:
                axes[i, j].axis("off")
        if not tasks:
            axes[i, 0].set_title(names.dataset(dataset), loc="left")
            say(axes[i, 0], "missing: no run counts")
    return figure, found


def say(axes: Axes, text: str) -> None:
    """Words in the middle of a panel that has nothing to show."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#5F5F5F")


def say_missing(axes: Axes, absent: list[str], **look: Any) -> None:
    """Name in a corner what a panel lacks."""
    axes.text(
        0.98,
        0.03,
        f"missing: {', '.join(absent)}",
        fontsize=7.5,
        transform=axes.transAxes,
        ha="right",
        color="#5F5F5F",
        style="italic",
        **look,
    )


def legend(figure: Figure, handles: list[Any], columns: int) -> None:
    """One legend above all panels."""
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write SVG and PNG, the same bytes from the same figure, and close it."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_suffix(".svg"), stem.with_suffix(".png")]
    # No date, no version: the bytes depend on the data alone.
    figure.savefig(paths[0], metadata={"Date": None, "Creator": None})
    figure.savefig(paths[1], metadata={"Software": None})
    plt.close(figure)
    return paths


def _forest_limits(results: Results, dataset: str) -> tuple[float, float]:
    """One x range for the tasks of a data set; the band is always in view."""
    table = results.main_comparison
    table = table[table["dataset"] == dataset]
    ends = table[["ci_lo", "ci_hi", "delta"]].to_numpy()
    ends = ends[np.isfinite(ends)]
    lo, hi = min([-1.6 * results.margin, *ends]), max([1.6 * results.margin, *ends])
    pad = 0.05 * (hi - lo)
    return lo - pad, hi + pad


def signed(x: float, _: int | None = None) -> str:
    """A tick of a difference, its sign always shown."""
    return "0" if abs(x) < 1e-9 else f"{x:+.3g}".replace("-", "−")


def _forest_panel(axes: Axes, results: Results, rows: list[Any], labels: bool) -> None:
    axes.axvspan(-results.margin, results.margin, color="#009E73", alpha=0.13, linewidth=0)
    axes.axvline(0, color="black", linewidth=0.8)
    for y, row in enumerate(rows):
        colour, marker = VERDICTS.get(row.verdict, VERDICTS["inconclusive"])
        if not math.isfinite(row.delta):
            axes.text(
                0,
                y,
                " missing ",
                ha="center",
                va="center",
                color=colour,
                style="italic",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
            continue
        if math.isfinite(row.ci_lo) and math.isfinite(row.ci_hi):
            axes.plot([row.ci_lo, row.ci_hi], [y, y], color=colour, linewidth=1.8)
        axes.plot(row.delta, y, marker, color=colour, markersize=6.5)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [names.model(r.model_b) if labels else "" for r in rows])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(signed))
    axes.grid(axis="x", color="#E3E3E3", linewidth=0.6)
    axes.set_axisbelow(True)


def forest(results: Results) -> Figure:
    """AUC of the reference minus that of each other model, with confidence intervals."""
    table = results.main_comparison
    n = max([2, *(len(results.models(dataset)) for dataset in results.datasets)])
    with style():
        figure, panels = grid(results, width=3.1, height=0.27 * n + 0.75, extra=0.9)
        for (dataset, task), axes in panels.items():
            rows = records(table[(table["dataset"] == dataset) & (table["task"] == task)])
            if not rows:
                say(axes, "missing: nothing to compare")
                axes.set(xticks=[], yticks=[])
                continue
            _forest_panel(axes, results, rows, labels=task == results.tasks(dataset)[0])
            axes.set_xlim(_forest_limits(results, dataset))
        reference = names.model(results.reference)
        figure.supxlabel(
            f"test AUC of {reference} minus that of the other model, {content.level(results)} CI",
            fontsize=9,
        )
        words = {
            "better": f"{reference} significantly better",
            "worse": f"{reference} significantly worse",
            "inconclusive": "nothing can be said",
        }
        handles: list[Any] = [
            Line2D(
                [],
                [],
                color=colour,
                marker=marker,
                linewidth=1.8,
                label=words.get(verdict, names.verdict(verdict)),
            )
            for verdict, (colour, marker) in VERDICTS.items()
            if verdict != "missing"
        ]
        band = f"equivalence band ±{results.margin:g}"
        handles.append(Patch(color="#009E73", alpha=0.13, linewidth=0, label=band))
        legend(figure, handles, columns=3)
    return figure


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


def model_styles(models: list[str], reference: str) -> dict[str, dict[str, Any]]:
    """Colour and dashes of each model's line."""
    others = [model for model in models if model != reference]
    styles: dict[str, dict[str, Any]] = {
        # Another dash in every round of colours, so that no two of 49 models look the same.
        model: {"color": COLOURS[i % 7], "linestyle": _DASHES[(i + i // 7) % 7], "linewidth": 1.7}
        for i, model in enumerate(others)
    }
    styles[reference] = {"color": REFERENCE, "linestyle": "-", "linewidth": 2.1}
    return styles


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


def factor_effects(results: Results) -> Figure:
    """Main effects and interactions of all designs, with confidence intervals."""
    table = results.factors
    n = max(table.groupby(["dataset", "task"]).size())
    with style():
        figure, panels = grid(results, width=3.1, height=0.2 * n + 0.75, extra=0.9)
        longest = max(len(factors.label(row)) for row in records(table))
        figure.set_figwidth(figure.get_figwidth() + 0.065 * longest)  # inches a letter
        for (dataset, task), axes in panels.items():
            rows = records(table[(table["dataset"] == dataset) & (table["task"] == task)])
            factors.panel(axes, results, rows, labels=task == results.tasks(dataset)[0])
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.xaxis.set_major_formatter(FuncFormatter(signed))
        words = f"difference in test AUC, {content.level(results)} CI"
        figure.supxlabel(words, fontsize=9)
    return figure


def write_figures(results: Path) -> list[Path]:
    """Write the figures of the main tables and, with a factor design, factors, into figures/.

    results: results/<suite>. Learning curves are read from runs/<dataset>/<model>/<seed>/
    history.csv; what is missing is shown as missing. Returns the paths, SVG and PNG. Raises
    StembenchError if a table of `stembench compare` is not there or unreadable.
    """
    tables = read_results(results)
    folder = results / "figures"
    paths = []
    drawn = {"forest": forest, "learning_curves": learning_curves}
    if len(tables.factors):
        drawn["factors"] = factor_effects
    for name, draw in drawn.items():
        figure = draw(tables)
        # Hash salt and font settings count when the file is written, not when it is drawn.
        with style():
            paths += save(figure, folder / name)
    return paths
