"""`stembench evidence`: all metrics tested, with robustness columns, and models over data sets.

Beside the comparison's primary test stand: the families F1 (AUC, Holm) and F2 (the other metrics,
Benjamini-Hochberg), a two-way bootstrap interval, the exact signed-rank test where its n allows a
rejection, the probability of improvement, and the smallest difference these runs can see.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stembench.errors import StembenchError
from stembench.pairs import Pair, pairs
from stembench.runs import Group
from stembench.stats import (
    INFLUENCES,
    benjamini_hochberg,
    critical_difference,
    holm,
    iqm,
    probability_of_improvement,
    rank_draws,
    ranks,
    seed_bootstrap,
    t_test,
    tost,
    two_way,
    two_way_bootstrap,
    wilcoxon,
)
from stembench.stats.power import components, detectable
from stembench.tables import markdown, write_csv, write_text

#: What a metric is ranked by, larger is better; see `compare.LOSSES`.
GOODNESS: dict[str, Callable[[float], float]] = {
    "auc": lambda value: value,
    "gauc": lambda value: value,
    "logloss": lambda value: -value,
    "calibration": lambda value: -abs(value - 1),
}
EVIDENCE = (
    *("dataset", "task", "metric", "model_a", "model_b", "n_seeds", "n_users", "n_rows", "n_pos"),
    *("mean_a", "mean_b", "delta", "se_seed", "se_user", "se_total", "df", "ci_lo", "ci_hi"),
    *("p_total", "p_seed", "family", "p_adj", "p_tost", "prob_improve", "boot_lo", "boot_hi"),
    *("n_boot", "p_wilcoxon", "wilcoxon_note", "mde"),
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


def evidence(
    group: Group, reference: str, alpha: float, margin: float, level: float, draws: int
) -> Rows:
    """Rows of EVIDENCE: the reference against each other model, on each task and metric."""
    rows = [
        _row(pair, alpha, margin, level, draws)
        for pair in pairs(group, reference, list(INFLUENCES))
    ]
    for metric in INFLUENCES:
        family = [row for row in rows if row["metric"] == metric]
        adjust = holm if metric == "auc" else benjamini_hochberg
        name = f"F1:{group.dataset}" if metric == "auc" else f"F2:{group.dataset}:{metric}"
        for row, p_adj in zip(family, adjust([r["p_total"] for r in family]), strict=True):
            row |= {"family": name, "p_adj": p_adj}
    return rows


def _row(pair: Pair, alpha: float, margin: float, level: float, draws: int) -> dict[str, Any]:
    seeds, users = pair.d.shape
    row: dict[str, Any] = {key: getattr(pair, key) for key in ("dataset", "task", "metric")}
    row |= {"model_a": pair.model_a, "model_b": pair.model_b, "n_seeds": seeds, "n_users": users}
    row |= {"n_rows": pair.n_rows, "n_pos": pair.n_pos}
    row |= {"mean_a": float(pair.a.mean()), "mean_b": float(pair.b.mean())}
    if users < 2:  # a gAUC of fewer than two users with both classes
        return row | {"delta": math.nan, "p_total": math.nan}
    test = two_way(pair.d, alpha)
    row |= {"delta": test.mean, "se_seed": test.se_seed, "se_user": test.se_user}
    row |= {"se_total": test.se_total, "df": test.df, "ci_lo": test.ci_lo, "ci_hi": test.ci_hi}
    row |= {"p_total": test.p, "p_seed": t_test(test.mean, test.se_seed, seeds - 1)}
    if pair.metric == "auc":  # the margin is one of AUC
        row["p_tost"] = tost(test.mean, test.se_total, test.df, margin)
    sign = 1 if pair.metric in ("auc", "gauc") else -1  # of influences: calibration is an error
    row["prob_improve"] = probability_of_improvement(sign * pair.a, sign * pair.b)
    row["boot_lo"], row["boot_hi"] = two_way_bootstrap(pair.d, draws, seed=0, alpha=alpha)
    row["n_boot"] = draws
    row["p_wilcoxon"], row["wilcoxon_note"] = wilcoxon(pair.a - pair.b, alpha)
    row["mde"] = detectable(components(pair.d), seeds, users, alpha, level)
    return row


def across(groups: list[Group], reference: str, baseline: str, alpha: float, draws: int) -> Rows:
    """Rows of ACROSS for each metric and model: ranks and differences over the data sets.

    rank: average rank, ties shared, with a percentile interval over data sets and seeds; p_first:
    how often the model is first on a data set in those draws; prob_improve: P(a run of the model
    > a run of the reference) averaged over data sets and tasks; iqm_delta: interquartile mean of
    the goodness above the baseline over data sets, tasks and seeds, with a stratified bootstrap.
    Only models and seeds that every data set has in common count; where that leaves none, or lacks
    the reference or baseline, StembenchError is raised.
    """
    models = [m for m in groups[0].models if all(g.sound(m) for g in groups)]
    absent = [m for m in (reference, baseline) if m not in models]
    if absent:
        raise StembenchError(f"no data set may lack a run of {' and '.join(absent)}: run it first")
    rows: Rows = []
    for metric in GOODNESS:
        scores = [x for g in groups if len(x := _scores(g, models, metric))]
        if not scores:
            continue
        seeds = min(x.shape[-1] for x in scores)
        average, first = rank_draws(scores, draws, seed=0)
        place = ranks(scores).mean(axis=0)
        difference = None
        note = f"fewer than {FEWEST_DATASETS} data sets: no critical difference"
        if len(scores) >= FEWEST_DATASETS and len(models) > 1:
            difference = critical_difference(len(models), len(scores), alpha)
            note = "descriptive" if len(scores) < ENOUGH_DATASETS else ""
        for m, model in enumerate(models):
            row: dict[str, Any] = {"metric": metric, "model": model, "n_datasets": len(scores)}
            row |= {"n_seeds": seeds, "rank": place[m], "p_first": first[:, m].mean()}
            row |= dict(zip(("rank_lo", "rank_hi"), _interval(average[:, m], alpha), strict=True))
            row |= {"critical_difference": difference, "note": note}
            row |= _improvement(scores, m, models.index(reference), alpha, draws)
            row |= _iqm(scores, m, models.index(baseline), alpha, draws)
            rows.append(row)
    return rows


def _scores(group: Group, models: list[str], metric: str) -> Floats:
    """Goodness (T, M, S) on the seeds that all models have, of the tasks where it is defined."""
    runs = {m: {cell.seed: cell for cell in group.sound(m)} for m in models}
    seeds = [s for s in runs[models[0]] if all(s in cells for cells in runs.values())]
    if not seeds:
        raise StembenchError(f"the models of {group.dataset} have no seed in common: run more")
    good = GOODNESS[metric]
    values: Floats = np.array(
        [
            [[good(runs[m][s].metric("test", task, metric)) for s in seeds] for m in models]
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


def write(folder: Path, rows: Rows, over: Rows) -> list[Path]:
    """Write evidence.csv, across.csv and evidence.md into a folder of tables."""
    paths = [
        write_csv(folder / "evidence.csv", rows, EVIDENCE),
        write_csv(folder / "across.csv", over, ACROSS),
    ]
    shown = (
        *("dataset", "task", "metric", "model_b", "n_seeds", "n_users", "delta", "ci_lo", "ci_hi"),
        *("p_total", "p_adj", "p_seed", "boot_lo", "boot_hi", "p_wilcoxon", "prob_improve", "mde"),
    )
    notes = sorted({row["wilcoxon_note"] for row in rows if row.get("wilcoxon_note")})
    families = sorted({row["family"].split(":")[0] for row in rows})
    text = "# Evidence\n\n"
    if rows:
        text += (
            f"{rows[0]['model_a']} minus model_b. delta, its interval and p_total count seeds and "
            "users; p_seed is conditional on this test set; the bootstrap is a robustness column. "
            f"Families {', '.join(families)}: F1 is AUC with Holm, F2 the other metrics with "
            "Benjamini-Hochberg, within a data set. calibration is the error |ratio - 1|. mde is "
            "the smallest difference that these runs see with the power of params.yaml.\n\n"
        )
    text += markdown(shown, [[row.get(name) for name in shown] for row in rows])
    text += "".join(f"\nExact signed-rank test: {note}.\n" for note in notes)
    text += "\n## Over the data sets\n\nrank, p_first: intervals and shares over resampled data "
    text += "sets and seeds. prob_improve: against the reference. iqm_delta: against the baseline."
    text += "\n\n" + markdown(ACROSS, [[row.get(name) for name in ACROSS] for row in over])
    return [*paths, write_text(folder / "evidence.md", text)]
