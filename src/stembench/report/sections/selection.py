"""The two selection rules beside each other, where a suite's runs were read by both."""

from __future__ import annotations

import math
from typing import Any

from stembench.report import names, numbers
from stembench.report.numbers import number
from stembench.report.results import Results, records, unique

TITLE = "Selection rule: one checkpoint for all tasks, or one a task"


def header() -> list[str]:
    """Column titles of the table."""
    return ["Task", "Model", "AUC, mean", "AUC, task", "Δ", "SD of Δ", "epoch, mean", "epoch, task"]


def note(results: Results) -> str:
    """How to read the table."""
    return (
        "Test AUC of the same training read by two rules. mean: the weights of the epoch with the "
        "best validation AUC averaged over tasks, as released with STEM; task: for each task the "
        "weights of its own best epoch. Δ is task minus mean, paired by seed: what the shared "
        "checkpoint costs the task. Epochs are means over seeds. The other tables use one rule."
    )


def datasets(results: Results) -> list[str]:
    """Data sets whose runs were read by both rules."""
    return unique(results.selection["dataset"]) if len(results.selection) else []


def rows(results: Results, dataset: str) -> list[list[str]]:
    """Formatted rows by task, then in the suite's order of models."""
    table = results.selection
    table = table[(table["dataset"] == dataset) & (table["metric"] == "auc")]
    return [
        [
            names.task(row.task),
            names.model(row.model),
            number(row.mean_mean),
            number(row.mean_task),
            number(row.delta, sign=True),
            number(row.sd_delta),
            number(row.epoch_mean, 1),
            number(row.epoch_task, 1),
        ]
        for row in records(table)
    ]


def changes(results: Results, dataset: str) -> list[str]:
    """Which verdicts of the comparison hang on the rule, as sentences."""
    table = results.selection_comparison
    if not len(table):
        return []
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in records(table[(table["dataset"] == dataset) & (table["metric"] == "auc")]):
        found.setdefault((row.task, row.model_b), {})[row.selection] = row
    reference, lines = names.model(results.reference), []
    for (task, other), by_rule in found.items():
        one, own = by_rule["mean"], by_rule["task"]
        if one.verdict != own.verdict:
            lines.append(
                f"{reference} against {names.model(other)} on {names.task(task)}: "
                f"{names.verdict(one.verdict)} by mean ({_delta(one.delta)}), "
                f"{names.verdict(own.verdict)} by task ({_delta(own.delta)})."
            )
    total = numbers.plural(len(found), "comparison")
    if not lines:
        return [f"None of {total} with {reference} has another verdict under the other rule."]
    return [f"{len(lines)} of {total} with {reference} hang on the rule:", *lines]


def sections(results: Results) -> list[dict[str, Any]]:
    """What the HTML report shows, one table a data set."""
    return [
        {"name": names.dataset(d), "rows": rows(results, d), "changes": changes(results, d)}
        for d in datasets(results)
    ]


def _delta(value: float) -> str:
    return f"Δ {number(value, sign=True)}" if math.isfinite(value) else "no Δ"
