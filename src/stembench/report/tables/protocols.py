"""A series of suites: how ranks move between protocols, as Markdown and as a figure."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from stembench.errors import StembenchError
from stembench.records.writing import write_text
from stembench.report import names
from stembench.report.numbers import interval, number, p_value
from stembench.report.results import records, unique
from stembench.report.tables.markdown import escape, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VERDICT = {"better": " ↓", "worse": " ↑", "equivalent": " ≈"}


class Series:
    """The tables of `stembench protocols` in one folder, results/<series>."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self.inputs: dict[str, Any] = json.loads((root / "tables/inputs.json").read_text())
            self.ranks = pd.read_csv(root / "tables/ranks.csv", keep_default_na=False)
            self.rates = pd.read_csv(root / "tables/learning_rates.csv")
            self.effects = pd.read_csv(root / "tables/rate_effects.csv")
        except (OSError, ValueError) as error:
            raise StembenchError(
                f"the tables in {root} cannot be read ({error}): run "
                f"`stembench protocols {root.name}`"
            ) from None

    @property
    def suites(self) -> list[str]:
        return list(self.inputs["suites"])

    def label(self, suite: str) -> str:
        """The protocol, and the rate where all models of the suite have one."""
        rows = self.ranks[self.ranks["suite"] == suite]
        rates = set(rows["lr"])
        words = str(self.inputs["protocols"][suite])
        return f"{words}, lr {rates.pop():g}" if len(rates) == 1 else words


def write_protocols(root: Path) -> list[Path]:
    """Write tables/protocols.md and figures/ranks.svg and .png from the tables of a series."""
    from stembench.report.figures.style import save, style

    series = Series(root)
    text = write_text(root / "tables/protocols.md", markdown(series))
    with style():
        return [text, *save(slopes(series), root / "figures/ranks")]


def markdown(series: Series) -> str:
    """Ranks by protocol, then the learning rate both ways."""
    inputs = series.inputs
    reference = names.model(inputs["reference"])
    lines = [f"# Series {escape(series.root.name)}: ranks under different protocols", ""]
    seeds = ", ".join(map(str, inputs["seeds"]))
    trials = {
        s: int(series.ranks.loc[series.ranks["suite"] == s, "trials"].max()) for s in series.suites
    }
    budget = "; ".join(
        f"{escape(series.label(s))}: {trials[s]} trials a model (suite {escape(s)})"
        for s in series.suites
    )
    lines += [
        f"Rank by mean test AUC over the seeds {seeds} (rank, mean AUC, learning rate). Beside the "
        f"AUC of a model: ↓ significantly below {reference} in the same suite (Holm), ↑ "
        "significantly above, ≈ equivalent; no mark: nothing can be said. Moves: ranks gained (+) "
        "or lost from the first protocol to the last.",
        "",
        f"Budget: {budget}.",
        "",
    ]
    for dataset in unique(series.ranks["dataset"]):
        lines += [f"## {escape(names.dataset(dataset))}", "", *_ranks(series, dataset)]
        lines += _both_ways(series, dataset)
    return "\n".join([*lines, f"Made by `{inputs['command']}` from {inputs['n_ok']} runs."]) + "\n"


def _ranks(series: Series, dataset: str) -> list[str]:
    lines: list[str] = []
    table = series.ranks[series.ranks["dataset"] == dataset]
    models, tasks = unique(table["model"]), unique(table["task"])
    found = {(row.model, row.task, row.suite): row for row in records(table)}
    header = ["Model", *map(series.label, series.suites), "Moves"]
    for task in tasks:
        rows = []
        for model in models:
            mine = [found[model, task, suite] for suite in series.suites]
            cells = [
                f"{row.rank} ({number(row.mean)}{_VERDICT.get(row.verdict, '')}, {row.lr:.3g})"
                for row in mine
            ]
            move = mine[0].rank - mine[-1].rank
            rows.append([escape(names.model(model)), *cells, f"{move:+d}" if move else "0"])
        lines += [f"### {escape(names.task(task))}", "", *grid(header, rows), ""]
    rows = []
    for model in models:
        means = [found[model, tasks[0], suite].mean_rank for suite in series.suites]
        moved = f"{means[0] - means[-1]:+.2f}"
        rows.append([escape(names.model(model)), *(f"{m:.2f}" for m in means), moved])
    return [*lines, "### Mean rank over tasks", "", *grid(header, rows), ""]


def _both_ways(series: Series, dataset: str) -> list[str]:
    """The reference at each pair of rates, then what the higher rate does to each model."""
    table = series.rates[series.rates["dataset"] == dataset]
    if not len(table):
        return []
    alpha, reference = series.inputs["alpha"], names.model(series.inputs["reference"])
    header = ["Task", f"lr of {reference}", "lr of the others", f"rank of {reference}"]
    header += ["significantly above", "significantly below", "Δ AUC, smallest to largest"]
    rows = []
    for (task, lr_a, lr_b), block in table.groupby(["task", "lr_a", "lr_b"], sort=False):
        known = block[block["p_adj"] < alpha]
        ends = (number(block["delta"].min(), sign=True), number(block["delta"].max(), sign=True))
        above, below = int((known["delta"] > 0).sum()), int((known["delta"] < 0).sum())
        cells = [f"{lr_a:g}", f"{lr_b:g}", str(int(block["rank_a"].iloc[0]))]
        cells += [f"{above} of {len(block)}", f"{below} of {len(block)}", " to ".join(ends)]
        rows.append([escape(names.task(str(task))), *cells])
    lines = [
        f"### The learning rate both ways: {escape(names.dataset(dataset))}",
        "",
        f"{reference} at one rate against the others at one rate, all else equal, paired by seed; "
        f"released are {reference} high, others low. Two-way test (seeds × users), p adjusted "
        "after Benjamini-Hochberg over the data set.",
        "",
        *grid(header, rows),
        "",
    ]
    effects = series.effects[series.effects["dataset"] == dataset]
    rows = [
        [
            *(escape(names.model(r.model)), escape(names.task(r.task))),
            *(number(r.delta, sign=True), interval(r.ci_lo, r.ci_hi)),
            *(p_value(r.p_total), p_value(r.p_adj)),
        ]
        for r in records(effects)
    ]
    high, low = effects["lr_high"].iloc[0], effects["lr_low"].iloc[0]
    header = ["Model", "Task", f"AUC at {high:g} minus at {low:g}", "CI", "p", "adjusted p"]
    return [*lines, *grid(header, rows, text=(0, 1)), ""]


def slopes(series: Series) -> Figure:
    """Rank of each model by protocol: a line a model, a panel a data set and task."""
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    from stembench.report.figures.style import model_styles

    datasets = unique(series.ranks["dataset"])
    tasks = {d: unique(series.ranks.loc[series.ranks["dataset"] == d, "task"]) for d in datasets}
    models = unique(series.ranks["model"])
    styles = model_styles(models, series.inputs["reference"])
    columns = max(len(found) for found in tasks.values())
    figure, axes = plt.subplots(
        len(datasets),
        columns,
        figsize=(max(7.0, 3.4 * columns), 0.3 * len(models) * len(datasets) + 2.0 * len(datasets)),
        layout="constrained",
        squeeze=False,
    )
    for i, dataset in enumerate(datasets):
        for j in range(columns):
            panel = axes[i, j]
            if j >= len(tasks[dataset]):
                panel.axis("off")
                continue
            task = tasks[dataset][j]
            table = series.ranks[
                (series.ranks["dataset"] == dataset) & (series.ranks["task"] == task)
            ]
            for model in models:
                mine = {row.suite: row.rank for row in records(table[table["model"] == model])}
                ranks = [mine.get(suite, math.nan) for suite in series.suites]
                panel.plot(range(len(ranks)), ranks, marker="o", ms=5, **styles[model])
            panel.set_title(f"{names.dataset(dataset)} · {names.task(task)}", loc="left")
            panel.set_ylim(len(models) + 0.4, 0.6)
            panel.set_yticks(range(1, len(models) + 1))
            labels = [series.label(suite).replace(", ", "\n") for suite in series.suites]
            panel.set_xticks(range(len(labels)), labels, fontsize=7.5)
            panel.grid(axis="y", color="#E3E3E3", linewidth=0.6)
            if j == 0:
                panel.set_ylabel("rank by mean test AUC")
    handles = [Line2D([], [], label=names.model(model), **styles[model]) for model in models]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(6, len(models)), frameon=False
    )
    return figure
