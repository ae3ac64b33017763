"""Tests of a difference between two models, counting both the seeds and the users.

Why seeds alone do not do: they share one test sample, whose own noise no number of seeds removes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as distributions

from stembench.errors import StembenchError


class TwoWay(NamedTuple):
    """A mean over seeds and users, its standard errors, and the t test of mean = 0.

    se_seed and se_user count one source only; se_total both; ci_lo, ci_hi and p rest on se_total.
    """

    mean: float
    se_seed: float
    se_user: float
    se_total: float
    df: float
    ci_lo: float
    ci_hi: float
    p: float


def two_way(differences: ArrayLike, alpha: float = 0.05) -> TwoWay:
    """Mean of D (S seeds, G users) with the variance of crossed random effects.

    V = Var(seed means)/S + Var(user means)/G - MS_resid/(S G), floored at the larger of the first
    two terms, as the estimate may fall below them or 0 by chance. Each of the two counts the
    residual once, hence the third. In mean squares S G V = MS_seed + MS_user - MS_resid, from which
    Satterthwaite's df = (S G V)^2 / sum of MS^2 / df. The interval is at level 1 - alpha.
    Raises StembenchError for fewer than 2 seeds or 2 users, and for values that are not finite.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 2 or min(d.shape) < 2:
        raise StembenchError(
            f"the two-way test needs at least 2 seeds and 2 users, got an array {d.shape}: "
            "run more seeds or take a split with more users"
        )
    if not np.isfinite(d).all():
        raise StembenchError("the two-way test got NaN or infinite differences: check the runs")
    seeds, users = d.shape
    seed_means, user_means, mean = d.mean(axis=1), d.mean(axis=0), float(d.mean())
    residual = d - seed_means[:, None] - user_means + mean
    df_seed, df_user = seeds - 1, users - 1
    df_residual = df_seed * df_user
    ms_seed = users * float(seed_means.var(ddof=1))
    ms_user = seeds * float(user_means.var(ddof=1))
    ms_residual = float(np.square(residual).sum()) / df_residual
    ms_total = max(ms_seed + ms_user - ms_residual, ms_seed, ms_user)
    spread = ms_seed**2 / df_seed + ms_user**2 / df_user + ms_residual**2 / df_residual
    df = ms_total**2 / spread if spread > 0 else float(df_seed)
    se_seed, se_user, se = (math.sqrt(ms / d.size) for ms in (ms_seed, ms_user, ms_total))
    half = float(distributions.t.ppf(1 - alpha / 2, df)) * se
    p = t_test(mean, se, df)
    return TwoWay(mean, se_seed, se_user, se, df, mean - half, mean + half, p)


def t_test(delta: float, se: float, df: float) -> float:
    """Two-sided p of delta = 0 by t; without any spread 1 for delta = 0, else 0."""
    if se == 0:
        return float(delta == 0)
    return float(2 * distributions.t.sf(abs(delta) / se, df))


def tost(delta: float, se: float, df: float, margin: float) -> float:
    """p of two one-sided t tests against |delta| >= margin; small means equivalent.

    delta, se and margin in the same unit. Raises StembenchError for a margin that is not positive.
    """
    if not margin > 0:
        raise StembenchError(f"the equivalence margin must be positive, not {margin}")
    if se == 0:
        return float(abs(delta) >= margin)
    return float(distributions.t.sf((margin - abs(delta)) / se, df))
