"""The statistics against other people's code and against brute force, on data with ties."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from sklearn.metrics import log_loss, roc_auc_score
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from stembench import metrics
from stembench.stats import (
    benjamini_hochberg,
    holm,
    iqm,
    probability_of_improvement,
    tost,
    user_influence,
    wilcoxon,
)
from stembench.stats.power import Components, Variance, power, seeds_needed

#: SD over seeds of a difference -> seeds that see 1e-3 (paired t, power .8, alpha .05).
SEEDS = {2e-4: 3, 5e-4: 5, 1e-3: 10, 1.5e-3: 20, 2e-3: 34}
_CLOSE = 1e-9

Row = dict[str, Any]


def oracle_rows(seed: int) -> list[Row]:
    """One row for each comparison: the largest difference, over 20 data sets, and its bound."""
    worst: dict[str, float] = {}
    for i in range(20):
        for name, error in _errors(np.random.default_rng([seed, i])).items():
            worst[name] = max(worst.get(name, 0.0), error)
    rows = [_row(name, error, _CLOSE, 20) for name, error in worst.items()]
    wrong = sum(
        seeds_needed(Components(sd, 0), 100, 1e-3) != expected for sd, expected in SEEDS.items()
    )
    told = ", ".join(f"{sd:g}: {expected}" for sd, expected in SEEDS.items())
    power_row = _row("power table", wrong, 0, len(SEEDS))
    return [*rows, power_row | {"note": f"seeds by SD, {told}; estimate: entries that differ"}]


def _row(name: str, error: float, upper: float, repetitions: int) -> Row:
    found: Row = {"check": "oracle", "setting": name, "seeds": None, "repetitions": repetitions}
    found |= {"estimate": float(error), "mc_se": None, "lower": None, "upper": upper}
    result = "pass" if error <= upper else "FAIL"
    return found | {"result": result, "note": "largest absolute difference"}


def _errors(random: np.random.Generator) -> dict[str, float]:
    rows, everyone = 300, 25
    users = random.integers(0, everyone, rows)
    taste = random.normal(size=everyone)[users]
    y = taste + random.normal(size=rows) > 0.5
    z = np.round(taste + random.normal(size=rows), 1).astype(np.float32)  # many ties
    p = random.random(12) ** 3
    a, b = random.normal(0.2, 1, 9), random.normal(0, 1, 9)
    d = a - b
    se = float(d.std(ddof=1)) / 3
    area, influence = user_influence(y, z, users)
    expected = _clustered(y, z, users)
    probabilities = 1 / (1 + np.exp(-z.astype(np.float64)))
    ours = wilcoxon(d, 0.05).p
    n, effect = int(random.integers(3, 30)), float(random.uniform(0.2, 2))
    statsmodels_power = TTestPower().power(effect, n, 0.05, alternative="two-sided")
    return {
        "AUC, scikit-learn": abs(area - roc_auc_score(y, z)),
        "clustered DeLong, brute force over pairs with ties": float(
            np.abs(influence - expected).max()
        ),
        "gAUC, scikit-learn user by user": abs(
            metrics.gauc(y, z, users).value - _user_by_user(y, z, users)
        ),
        "log loss, scikit-learn": abs(metrics.logloss(y, z) - log_loss(y, probabilities)),
        "Holm, statsmodels": float(np.abs(holm(p) - multipletests(p, method="holm")[1]).max()),
        "Benjamini-Hochberg, statsmodels": float(
            np.abs(benjamini_hochberg(p) - multipletests(p, method="fdr_bh")[1]).max()
        ),
        "TOST, statsmodels": abs(tost(d.mean(), se, 8, 0.5) - ttost_paired(a, b, -0.5, 0.5)[0]),
        "exact signed-rank test, scipy": abs(ours - scipy_stats.wilcoxon(d, method="exact").pvalue),
        "interquartile mean, scipy": abs(iqm(p) - scipy_stats.trim_mean(p, 0.25)),
        "probability of improvement, scipy": abs(
            probability_of_improvement(a, b) - scipy_stats.mannwhitneyu(a, b).statistic / 81
        ),
        "power of the paired t, statsmodels": abs(
            power(effect, Variance(1 / n, n - 1, n - 1), 0.05) - float(statsmodels_power)
        ),
    }


def _clustered(
    y: NDArray[np.bool_], z: NDArray[np.float32], users: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Influence of each user on the AUC, from all pairs of rows."""
    difference = z[y][:, None].astype(np.float64) - z[~y]
    wins = (difference > 0) + 0.5 * (difference == 0)
    area = wins.mean()
    distinct = np.unique(users)
    by_positive, by_negative = wins.mean(axis=1) - area, wins.mean(axis=0) - area
    return np.array(
        [
            area
            + len(distinct)
            * (
                by_positive[users[y] == g].sum() / len(by_positive)
                + by_negative[users[~y] == g].sum() / len(by_negative)
            )
            for g in distinct
        ]
    )


def _user_by_user(y: NDArray[np.bool_], z: NDArray[np.float32], users: NDArray[np.int64]) -> float:
    total = weight = 0.0
    for g in np.unique(users):
        mine = users == g
        if 0 < y[mine].sum() < mine.sum():
            total += mine.sum() * float(roc_auc_score(y[mine], z[mine]))
            weight += mine.sum()
    return total / weight
