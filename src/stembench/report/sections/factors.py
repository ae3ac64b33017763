"""Factor analysis: the effects of a suite's designs as Markdown, LaTeX, a figure and for HTML."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FuncFormatter, MaxNLocator

from stembench.report import names
from stembench.report import sentences as content
from stembench.report.figures.style import grid, signed, style
from stembench.report.numbers import interval, number, p_value
from stembench.report.results import Results, records, unique
from stembench.report.sections import factors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOTHING = "No design of analysis.factors has all its models in this suite."
_SIGNIFICANT, _OPEN = "#0072B2", "#5F5F5F"


def header(results: Results) -> list[str]:
    """Column titles of the table of effects."""
    titles = ["Task", "Effect", "Contrast", "Δ AUC", f"{content.level(results)} CI"]
    return [*titles, "SE seeds", "SE users", "df", "p", "adjusted p", "Seeds"]


def note(results: Results) -> str:
    """How to read the effects."""
    return (
        "A main effect is the mean test AUC over the entries at the first level minus that at the "
        "second; the other factors are balanced. An interaction is how the first factor's effect "
        "differs between the levels of the second. Two-way test (seeds × users) on paired "
        "influences. Exploratory: p adjusted by "
        f"{content.adjustment(results, 'factors', 'bh')} over all effects of the data "
        f"set; the interval is not adjusted. * adjusted p < {results.alpha:g}."
    )


def rows(results: Results, dataset: str, design: str) -> list[list[str]]:
    """Formatted rows of a design on a data set, by task, then in the order of the design."""
    table = results.factors
    table = table[(table["dataset"] == dataset) & (table["design"] == design)]
    found = []
    for task in unique(table["task"]):
        for row in records(table[table["task"] == task]):
            mark = " *" if row.p_adj < results.alpha else ""
            cells = [names.task(task), row.effect, row.contrast]
            cells += [number(row.delta, sign=True) + mark, interval(row.ci_lo, row.ci_hi)]
            cells += [number(row.se_seed, 5), number(row.se_user, 5), number(row.df, 1)]
            cells += [p_value(row.p_total), p_value(row.p_adj)]
            found.append([*cells, str(int(row.n_seeds)) if math.isfinite(row.n_seeds) else "n/a"])
    return found


def designs(results: Results, dataset: str) -> list[str]:
    """The designs of a data set, in the order of params.yaml."""
    table = results.factors
    return unique(table.loc[table["dataset"] == dataset, "design"])


def formulas(results: Results, design: str) -> list[str]:
    """Each effect of a design as the sum of models that it is."""
    table = results.factors
    table = table[table["design"] == design].drop_duplicates(["effect", "contrast"])
    return [f"{row.effect} ({row.contrast}): {row.models}" for row in records(table)]


def label(row: Any) -> str:
    """An effect's name in the figure."""
    name = row.effect if row.effect.startswith(row.design) else f"{row.design}: {row.effect}"
    return f"{name}, {row.contrast}"


def panel(axes: Axes, results: Results, table: list[Any], labels: bool) -> None:
    """One data set and task: a line per effect with its interval, significant ones coloured."""
    axes.axvline(0, color="black", linewidth=0.8)
    axes.axvspan(-results.margin, results.margin, color="#009E73", alpha=0.13, linewidth=0)
    for y, row in enumerate(table):
        if not math.isfinite(row.delta):
            axes.text(0, y, " missing ", ha="center", va="center", color=_OPEN, style="italic")
            continue
        significant = row.p_adj < results.alpha
        colour = _SIGNIFICANT if significant else _OPEN
        axes.plot([row.ci_lo, row.ci_hi], [y, y], color=colour, linewidth=1.8)
        axes.plot(row.delta, y, "D" if significant else "o", color=colour, markersize=5)
    words = [label(row) for row in table]
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_yticks(range(len(table)), words if labels else [""] * len(table), fontsize=7.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#E3E3E3", linewidth=0.6)
    axes.set_axisbelow(True)


def sections(results: Results) -> list[dict[str, Any]]:
    """What the HTML report shows: one table per data set and design."""
    return [
        {
            "name": names.dataset(dataset),
            "design": design,
            "rows": rows(results, dataset, design),
            "formulas": formulas(results, design),
        }
        for dataset in results.datasets
        for design in designs(results, dataset)
    ]


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
