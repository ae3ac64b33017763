"""Forest plot: each difference with its interval and verdict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from stembench.report import names
from stembench.report import sentences as content
from stembench.report.figures.style import (
    VERDICTS,
    grid,
    legend,
    say,
    signed,
    style,
)
from stembench.report.results import Results, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _forest_limits(results: Results, dataset: str) -> tuple[float, float]:
    """One x range for the tasks of a data set; the band is always in view."""
    table = results.main_comparison
    table = table[table["dataset"] == dataset]
    ends = table[["ci_lo", "ci_hi", "delta"]].to_numpy()
    ends = ends[np.isfinite(ends)]
    lo, hi = min([-1.6 * results.margin, *ends]), max([1.6 * results.margin, *ends])
    pad = 0.05 * (hi - lo)
    return lo - pad, hi + pad


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
