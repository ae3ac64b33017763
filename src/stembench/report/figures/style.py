"""What all figures share: colours, panels, legend, and bytes that repeat."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

mpl.use("Agg")  # before pyplot: there may be no display

import matplotlib.pyplot as plt

from stembench.report import names
from stembench.report.results import Results

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


def signed(x: float, _: int | None = None) -> str:
    """A tick of a difference, its sign always shown."""
    return "0" if abs(x) < 1e-9 else f"{x:+.3g}".replace("-", "−")


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
