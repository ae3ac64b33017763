"""Comparable samples as a table and two figures, from comparable.csv and its sensitivity table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stembench.errors import StembenchError
from stembench.report import names
from stembench.report.figures.style import COLOURS, REFERENCE, legend, say, signed, style
from stembench.report.results import Results, records, unique

#: Rows of the table that are not buckets of the ratio.
_OUTSIDE = ("none", "interaction")
MARKS = {"negative": " ↓", "positive": " ↑", "inconclusive": "", "missing": "", "small": " (few)"}
_MARKERS = "osD^vPXd<>"


def read_table(path: Path) -> pd.DataFrame:
    """A table of `stembench comparable`; raises StembenchError where it is not there."""
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise StembenchError(
            f"{path} cannot be read ({error}): run `stembench comparable` first"
        ) from None


def section(results: Results) -> dict[str, Any] | None:
    """What the report tells; None for a suite without such a table."""
    path = results.root / "tables" / "comparable.csv"
    if not path.exists():
        return None
    table = read_table(path)
    baseline = names.model(str(table["baseline"].iloc[0])) if len(table) else ""
    return {
        "baseline": baseline,
        "setting": setting_name(records(table)[0]) if len(table) else "",
        "answers": answers(table, results.alpha),
        "without": [names.dataset(d) for d in results.datasets if d not in set(table["dataset"])],
        "figures": [
            (key, caption.format(baseline=baseline, alpha=f"{results.alpha:g}"))
            for key, caption in _CAPTIONS.items()
        ],
    }


def answers(table: pd.DataFrame, alpha: float) -> list[tuple[str, list[str]]]:
    """By data set: which models transfer on comparable samples, and where that differs from the
    other samples; by AUC, after Holm."""
    found = []
    for dataset in unique(table["dataset"]):
        mine = table[(table["dataset"] == dataset) & (table["metric"] == "auc")]
        lines = []
        for bucket, phrases in _PHRASES.items():
            rows = records(mine[mine["bucket"] == bucket])
            tested = sum(row.verdict in ("positive", "negative", "inconclusive") for row in rows)
            for verdict, phrase in phrases.items():
                said = [
                    f"{names.model(row.model)} on {names.task(row.task)} (against "
                    f"{names.task(row.task_b if row.task == row.task_a else row.task_a)}, "
                    f"{signed_number(row.delta)})"
                    for row in rows
                    if row.verdict == verdict
                ]
                listed = "; ".join(said) if said else "none"
                lines.append(f"{phrase}, {len(said)} of {tested} tests: {listed}.")
        found.append((names.dataset(dataset), lines))
    return found


_PHRASES = {
    "comparable": {
        "negative": "Negative transfer on comparable samples",
        "positive": "Positive transfer on comparable samples",
    },
    "interaction": {
        "negative": "Worse on comparable samples than on the others",
        "positive": "Better on comparable samples than on the others",
    },
}
_CAPTIONS = {
    "comparable": "Test AUC minus that of {baseline} by bucket, from samples heavy in the first "
    "task's training positives (a) to those heavy in the second's (b); shaded: comparable samples. "
    "Line: confidence interval over seeds and users at level 1 - {alpha}; hollow: too few users or "
    "positives for one.",
    "comparable_sensitivity": "The gap on the comparable bucket under other definitions: whose "
    "ratio (user, item, both), number of buckets, smoothing k.",
}


def by_bucket(table: pd.DataFrame, styles: dict[str, dict[str, Any]]) -> Figure:
    """Transfer gap in AUC by bucket, a panel for each data set, task pair and task.

    Hollow: too few users or positives for an interval.
    """
    table = table[(table["metric"] == "auc") & (table["bucket"] != "interaction")]
    keys = list(dict.fromkeys(zip(*(table[k] for k in _PANEL), strict=True)))
    with style():
        figure, panels = _panels(keys)
        for key, axes in zip(keys, panels, strict=True):
            mine = table[(table[list(_PANEL)] == list(key)).all(axis=1)]
            buckets = unique(mine["bucket"])
            if not mine["delta"].notna().any():
                say(axes, "missing: no two seeds in common")
            models = unique(mine["model"])
            for i, model in enumerate(models):
                rows = records(mine[mine["model"] == model])
                shift = 0.6 * ((i + 0.5) / len(models) - 0.5)
                x = [buckets.index(row.bucket) + shift for row in rows]
                for at, row in zip(x, rows, strict=True):
                    _point(axes, at, row, styles[model])
            if "comparable" in buckets:
                at = buckets.index("comparable")
                axes.axvspan(at - 0.5, at + 0.5, color="#000000", alpha=0.06, linewidth=0)
            axes.set_xticks(range(len(buckets)), buckets, rotation=30, ha="right")
            _finish(axes, key)
        baseline = names.model(str(table["baseline"].iloc[0])) if len(table) else ""
        figure.supylabel(f"AUC minus that of {baseline}", fontsize=9)
        legend(figure, _handles(styles), columns=min(5, max(1, len(styles))))
    return figure


def sensitivity(table: pd.DataFrame, styles: dict[str, dict[str, Any]]) -> Figure:
    """Gap on the comparable bucket under each setting, a panel for each data set, pair and task."""
    table = table[table["bucket"] == "comparable"]
    keys = list(dict.fromkeys(zip(*(table[k] for k in _PANEL), strict=True)))
    with style():
        figure, panels = _panels(keys)
        for key, axes in zip(keys, panels, strict=True):
            mine = table[(table[list(_PANEL)] == list(key)).all(axis=1)]
            settings = list(dict.fromkeys(setting_name(row) for row in records(mine)))
            models = unique(mine["model"])
            for row in records(mine):
                shift = 0.6 * ((models.index(row.model) + 0.5) / len(models) - 0.5)
                _point(axes, settings.index(setting_name(row)) + shift, row, styles[row.model])
            axes.set_xticks(range(len(settings)), settings, rotation=30, ha="right")
            _finish(axes, key)
        figure.supylabel("gap on comparable samples", fontsize=9)
        legend(figure, _handles(styles), columns=min(5, max(1, len(styles))))
    return figure


def setting_name(row: Any) -> str:
    """user, 5, k 1: definition, number of buckets, smoothing."""
    return f"{row.definition.replace('_', '×')}, {int(row.buckets)}, k {row.smoothing:g}"


_PANEL = ("dataset", "task_a", "task_b", "task")


def _panels(keys: list[Any]) -> tuple[Figure, list[Any]]:
    columns = min(4, max(1, len(keys)))
    lines = -(-max(1, len(keys)) // columns)
    figure, axes = plt.subplots(
        lines,
        columns,
        figsize=(max(7.0, 3.3 * columns), 2.7 * lines + 0.9),
        layout="constrained",
        squeeze=False,
    )
    flat = list(axes.ravel())
    for unused in flat[len(keys) :]:
        unused.axis("off")
    return figure, flat[: len(keys)]


def _point(axes: Any, x: float, row: Any, style: dict[str, Any]) -> None:
    if math.isfinite(row.delta):
        filled = math.isfinite(row.ci_lo)
        if filled:
            axes.plot([x, x], [row.ci_lo, row.ci_hi], color=style["color"], linewidth=1.3)
        axes.plot(
            *(x, row.delta, style["marker"]),
            color=style["color"],
            markersize=4.5,
            markerfacecolor=style["color"] if filled else "white",
        )


def _finish(axes: Any, key: tuple[str, str, str, str]) -> None:
    dataset, a, b, task = key
    axes.set_title(
        f"{names.dataset(dataset)} · {names.task(task)}\na = {names.task(a)}, b = {names.task(b)}",
        loc="left",
    )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.yaxis.set_major_formatter(signed)
    axes.grid(axis="y", color="#E3E3E3", linewidth=0.6)
    axes.set_axisbelow(True)


def styles(table: pd.DataFrame, reference: str) -> dict[str, dict[str, Any]]:
    """How each model is drawn: line and marker settings by model, the reference in its colour."""
    models = unique(table["model"])
    others = [model for model in models if model != reference]
    styles = {
        model: {"color": COLOURS[i % len(COLOURS)], "marker": _MARKERS[i % len(_MARKERS)]}
        for i, model in enumerate(others)
    }
    if reference in models:
        styles[reference] = {"color": REFERENCE, "marker": "*"}
    return {model: styles[model] for model in models}


def _handles(styles: dict[str, dict[str, Any]]) -> list[Any]:
    return [
        Line2D([], [], label=names.model(model), linewidth=1.3, **style)
        for model, style in styles.items()
    ]


def signed_number(value: float) -> str:
    """Four decimals with a sign, a true minus."""
    return f"{value:+.4f}".replace("-", "−")
