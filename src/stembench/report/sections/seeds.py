"""Each seed's value, and how much of a comparison's noise comes from seeds and how much from users.

Figures `seeds` (tables/runs.csv) and `variance` (tables/comparison.csv).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from stembench.report import names
from stembench.report.figures.style import COLOURS, REFERENCE, grid, legend, say, style
from stembench.report.results import Results, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SEED, USER = COLOURS[0], COLOURS[1]
#: Figure -> title and caption in the report.
CAPTIONS = {
    "seeds": (
        "Each seed's value",
        "Test AUC: a dot is a seed, the bar their mean. The dots of two models that overlap may "
        "still differ: the comparison is paired by seed and user.",
    ),
    "variance": (
        "Noise from seeds and from users",
        "Standard errors of the difference in the forest plot, over seeds and over users, and "
        "both together (tick). More seeds shorten the first only, more test users the second only.",
    ),
}


def _rows(axes: Axes, models: list[str], labels: bool) -> None:
    """A row a model, named in the first panel of a data set."""
    axes.set_ylim(len(models) - 0.4, -0.6)
    axes.set_yticks(range(len(models)), [names.model(m) if labels else "" for m in models])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(axis="x", color="#E3E3E3", linewidth=0.6)
    axes.set_axisbelow(True)


def _missing(axes: Axes, y: int) -> None:
    """The word in place of a row's marks, in the middle of the panel."""
    at = axes.get_yaxis_transform()
    axes.text(0.5, y, "missing", transform=at, ha="center", va="center", color="#5F5F5F",
              style="italic", fontsize=8)  # fmt: skip


def strips(results: Results) -> Figure:
    """A panel a data set and task, a row a model, a dot a seed: test AUC."""
    table = results.runs
    table = table[(table["part"] == "test") & (table["metric"] == "auc")]
    n = max([2, *(len(results.models(dataset)) for dataset in results.datasets)])
    with style():
        figure, panels = grid(results, width=3.1, height=0.25 * n + 0.75, extra=0.9)
        for (dataset, task), axes in panels.items():
            models = results.models(dataset)
            mine = table[(table["dataset"] == dataset) & (table["task"] == task)]
            for y, model in enumerate(models):
                values = mine.loc[mine["model"] == model, "value"].dropna().to_numpy()
                if not len(values):
                    _missing(axes, y)
                    continue
                colour = REFERENCE if model == results.reference else SEED
                axes.plot(values, np.full(len(values), y), "o", color=colour, ms=4, alpha=0.6)
                axes.plot([values.mean()] * 2, [y - 0.33, y + 0.33], color=colour, linewidth=1.8)
            _rows(axes, models, task == results.tasks(dataset)[0])
        figure.supxlabel("test AUC", fontsize=9)
        handles = [
            Line2D([], [], color=c, marker="o", linestyle="", ms=4, alpha=0.8, label=words)
            for c, words in (
                (REFERENCE, f"{names.model(results.reference)}, one seed"),
                (SEED, "another model, one seed"),
            )
        ]
        handles.append(
            Line2D([], [], color="#5F5F5F", marker="|", linestyle="", ms=9, mew=1.8, label="mean")
        )
        legend(figure, handles, columns=3)
    return figure


def variance(results: Results) -> Figure:
    """A panel a data set and task, two bars a comparison: SE over seeds, SE over users."""
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
            for y, row in enumerate(rows):
                _bars(axes, y, row)
            _rows(axes, [row.model_b for row in rows], task == results.tasks(dataset)[0])
            axes.set_xlim(left=0)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.4g}"))
        reference = names.model(results.reference)
        figure.supxlabel(
            f"standard error of the difference in test AUC, {reference} minus the other model",
            fontsize=9,
        )
        handles: list[Any] = [Patch(color=SEED, label="seeds"), Patch(color=USER, label="users")]
        handles.append(
            Line2D([], [], color="black", marker="|", linestyle="", ms=9, mew=1.5, label="both")
        )
        legend(figure, handles, columns=3)
    return figure


def _bars(axes: Axes, y: int, row: Any) -> None:
    if not math.isfinite(row.se_total):
        _missing(axes, y)
        return
    axes.barh(y - 0.17, row.se_seed, height=0.3, color=SEED)
    axes.barh(y + 0.17, row.se_user, height=0.3, color=USER)
    axes.plot([row.se_total] * 2, [y - 0.34, y + 0.34], color="black", linewidth=1.5)
