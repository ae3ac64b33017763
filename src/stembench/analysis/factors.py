"""Factor analysis: what one ingredient of a model does, over a crossed design of model entries.

An effect is a weighted sum of models whose weights add to 0: a main effect is the mean of the
entries at one level minus that at another, an interaction the difference of two such differences.
AUC influences are linear, so the same sum of the models' influences on the same seed goes through
the two-way test of `stats`. Exploratory; how they are adjusted stands in params.yaml.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stembench.analysis.runs import Cell, Group, measure, read_by, rules
from stembench.errors import StembenchError
from stembench.stats import ADJUSTMENTS, FAMILIES, Families, t_test, two_way

#: Effects of one design: (effect, what is subtracted from what, weight by model).
Effects = list[tuple[str, str, dict[str, float]]]

COLUMNS = (
    *("dataset", "task", "metric", "design", "effect", "contrast", "models", "n_seeds"),
    *("delta", "se_seed", "se_user", "se_total", "df", "ci_lo", "ci_hi", "p_total", "p_seed"),
    *("family", "p_adj"),
)


def analyse(
    group: Group, designs: Mapping[str, Effects], alpha: float, families: Families = FAMILIES
) -> list[dict[str, Any]]:
    """One row per design, effect and task of a measured group; one family over the data set.

    A model may name one of the two selection rules, `stem@task`: the same runs, read by that rule.
    An effect without two seeds that all its models have is NaN.
    """
    rows, family = [], families["factors", "auc"]
    weighed = [weights for effects in designs.values() for _, _, weights in effects]
    cells = {name: _cells(group, name) for name in dict.fromkeys(m for w in weighed for m in w)}
    for design, effects in designs.items():
        for effect, words, weights in effects:
            for t, task in enumerate(group.tasks):
                row: dict[str, Any] = {"dataset": group.dataset, "task": task, "metric": "auc"}
                row |= {"design": design, "effect": effect, "contrast": words}
                row |= {"models": formula(weights), "family": f"{family.name}:{group.dataset}"}
                terms = [(weight, cells[model]) for model, weight in weights.items()]
                rows.append(row | columns_of(combine(terms, t), alpha))
    adjusted = ADJUSTMENTS[family.adjust]([row["p_total"] for row in rows])
    for row, p_adj in zip(rows, adjusted, strict=True):
        row["p_adj"] = p_adj
    return rows


def _cells(group: Group, name: str) -> list[Cell]:
    """The measured cells of a model, by the selection rule that stands behind an @."""
    model, _, rule = name.partition("@")
    cells = group.sound(model)
    if not rule:
        return cells
    unread = [cell.id for cell in cells if rule not in rules(cell)]
    if unread:
        raise StembenchError(
            f"{unread[0]} was not read by the selection rule {rule}: set "
            "`train: {select: {metric: auc, over: mean, both: true}}` in the suite, and train again"
        )
    again = read_by(replace(group, cells=cells), rule)
    measure(again)
    return again.sound()


def combine(terms: Iterable[tuple[float, list[Cell]]], t: int) -> NDArray[np.float64]:
    """D (S, G) of task t: the weighted sum of the cells' influences, seed by seed.

    terms: weight and the measured cells of one model. S counts the seeds that all of them have.
    """
    by_seed = [(weight, {cell.seed: cell for cell in cells}) for weight, cells in terms]
    common = [seed for seed in by_seed[0][1] if all(seed in cells for _, cells in by_seed)]
    rows = []
    for seed in common:
        total: Any = 0.0
        size: Any = 0.0
        for weight, cells in by_seed:
            influence = cells[seed].influences["test"]  # the group is measured
            total = total + weight * influence[t]
            size = size + np.abs(weight * influence[t])
        # What cancels must be 0: rounding alone has a spread so small that it would be significant.
        rows.append(np.where(np.abs(total) > 1e-12 * size, total, 0.0))
    return np.array(rows, dtype=np.float64)


def columns_of(difference: NDArray[np.float64], alpha: float) -> dict[str, float]:
    """The two-way test of D (S, G) as columns of a table; NaN below two seeds."""
    row: dict[str, float] = {"n_seeds": len(difference)}
    if len(difference) < 2:
        return row | dict.fromkeys(("delta", "p_total"), math.nan)
    found = two_way(difference, alpha)
    row |= {"delta": found.mean, "se_seed": found.se_seed, "se_user": found.se_user}
    row |= {"se_total": found.se_total, "df": found.df, "ci_lo": found.ci_lo}
    row |= {"ci_hi": found.ci_hi, "p_total": found.p}
    return row | {"p_seed": t_test(found.mean, found.se_seed, len(difference) - 1)}


def formula(weights: Mapping[str, float]) -> str:
    """The weighted sum in words: `+1/2 stem +1/2 stem_all -1 mmoe`."""
    parts = []
    for model, weight in weights.items():
        share = round(1 / abs(weight))
        size = "1" if share == 1 else f"1/{share}"
        parts.append(f"{'+' if weight > 0 else '-'}{size} {model}")
    return " ".join(parts)
