"""Models over the data sets of a suite: ranks, who is first, gain over the baseline.

The units are the data sets: tasks of one share its rows and are no blocks of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stembench.analysis.runs import LOSSES, Group
from stembench.stats import (
    critical_difference,
    iqm,
    probability_of_improvement,
    rank_draws,
    ranks,
    seed_bootstrap,
)

ACROSS = (
    *("metric", "model", "n_datasets", "n_seeds", "rank", "rank_lo", "rank_hi", "p_first"),
    *("prob_improve", "prob_lo", "prob_hi", "iqm_delta", "iqm_lo", "iqm_hi"),
    *("critical_difference", "note"),
)
#: Fewer data sets carry no critical difference; below ten it is descriptive.
FEWEST_DATASETS, ENOUGH_DATASETS = 5, 10

Rows = list[dict[str, Any]]
Floats = NDArray[np.float64]


def across(groups: list[Group], reference: str, baseline: str, alpha: float, draws: int) -> Rows:
    """Rows of ACROSS for each metric and model: ranks and differences over the data sets.

    rank: average rank, ties shared, with a percentile interval over data sets and seeds; p_first:
    how often the model is first on a data set in those draws; prob_improve: P(a run of the model
    > a run of the reference) averaged over data sets and tasks; iqm_delta: interquartile mean of
    the goodness above the baseline over data sets, tasks and seeds, with a stratified bootstrap,
    empty where the baseline was not run. Only models and seeds that every data set has in common
    count, and only data sets with runs of the reference; `note` names what is left out.
    """
    usable = [g for g in groups if g.sound(reference)]
    if not usable:
        return []
    every = list(dict.fromkeys(m for g in usable for m in g.models))
    models = [m for m in every if all(g.sound(m) for g in usable)]
    usable = [g for g in usable if _seeds(g, models)]
    remarks = [
        f"not counted: {', '.join(names)}"
        for names in (
            [g.dataset for g in groups if g not in usable],
            [m for m in every if m not in models],
        )
        if names
    ]
    if baseline not in models:
        remarks.append(f"no run of {baseline} on every data set: no difference to it")
    rows: Rows = []
    for metric in LOSSES:
        scores = [x for g in usable if len(x := _scores(g, models, metric))]
        if not scores:
            continue
        average, first = rank_draws(scores, draws, seed=0)
        place = ranks(scores).mean(axis=0)
        difference, notes = None, list(remarks)
        if len(scores) < FEWEST_DATASETS:
            notes.append(f"fewer than {FEWEST_DATASETS} data sets: no critical difference")
        elif len(models) > 1:
            difference = critical_difference(len(models), len(scores), alpha)
            notes += ["descriptive"] if len(scores) < ENOUGH_DATASETS else []
        for m, model in enumerate(models):
            row: dict[str, Any] = {"metric": metric, "model": model, "n_datasets": len(scores)}
            row |= {"n_seeds": min(x.shape[-1] for x in scores), "rank": place[m]}
            row |= {"p_first": first[:, m].mean()}
            row |= dict(zip(("rank_lo", "rank_hi"), _interval(average[:, m], alpha), strict=True))
            row |= {"critical_difference": difference, "note": "; ".join(notes)}
            row |= _improvement(scores, m, models.index(reference), alpha, draws)
            if baseline in models:
                row |= _iqm(scores, m, models.index(baseline), alpha, draws)
            rows.append(row)
    return rows


def _seeds(group: Group, models: list[str]) -> list[int]:
    """Seeds of which every model has a sound run."""
    runs = [{cell.seed for cell in group.sound(m)} for m in models]
    return [cell.seed for cell in group.sound(models[0]) if all(cell.seed in r for r in runs)]


def _scores(group: Group, models: list[str], metric: str) -> Floats:
    """Goodness (T, M, S), the negative of `runs.LOSSES`, where it is defined.

    On the seeds that all models have.
    """
    runs = {m: {cell.seed: cell for cell in group.sound(m)} for m in models}
    loss, seeds = LOSSES[metric], _seeds(group, models)
    values: Floats = np.array(
        [
            [[-loss(runs[m][s].metric("test", task, metric)) for s in seeds] for m in models]
            for task in group.tasks
        ]
    )
    defined: Floats = values[np.isfinite(values).all(axis=(1, 2))]
    return defined


def _improvement(
    scores: list[Floats], m: int, other: int, alpha: float, draws: int
) -> dict[str, float]:
    if m == other:
        return {}

    def mean(drawn: list[Floats]) -> float:
        each = [probability_of_improvement(y[m], y[other]) for x in drawn for y in x]
        return float(np.mean(each))

    lo, hi = _interval(seed_bootstrap(scores, mean, draws, seed=0), alpha)
    return {"prob_improve": mean(scores), "prob_lo": lo, "prob_hi": hi}


def _iqm(scores: list[Floats], m: int, base: int, alpha: float, draws: int) -> dict[str, float]:
    if m == base:
        return {}
    gaps = [x[:, m] - x[:, base] for x in scores]

    def statistic(drawn: list[Floats]) -> float:
        return iqm(np.concatenate([x.ravel() for x in drawn]))

    lo, hi = _interval(seed_bootstrap(gaps, statistic, draws, seed=0), alpha)
    return {"iqm_delta": statistic(gaps), "iqm_lo": lo, "iqm_hi": hi}


def _interval(values: Floats, alpha: float) -> tuple[float, float]:
    lo, hi = np.quantile(values, [alpha / 2, 1 - alpha / 2])
    return float(lo), float(hi)
