"""Tests of a difference between two models, counting both the seeds and the users.

Why seeds alone do not do: they share one test sample, whose own noise no number of seeds removes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from scipy import stats as distributions

from stembench.errors import StembenchError


class TwoWay(NamedTuple):
    """A mean over seeds and users, its standard errors, and the t test of mean = 0.

    se_seed and se_user count one source only; se_total both; ci_lo, ci_hi and p rest on se_total
    and df, see `cautious_df`.
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
    residual once, hence the third. In mean squares S G V = MS_seed + MS_user - MS_resid. p and the
    interval, at level 1 - alpha, are those of Student's t with `cautious_df`. Raises StembenchError
    for fewer than 2 seeds or 2 users, and for values that are not finite.
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
    ms_seed = users * float(seed_means.var(ddof=1))
    ms_user = seeds * float(user_means.var(ddof=1))
    ms_residual = float(np.square(residual).sum()) / ((seeds - 1) * (users - 1))
    ms_total = max(ms_seed + ms_user - ms_residual, ms_seed, ms_user)
    se_seed, se_user, se = (math.sqrt(ms / d.size) for ms in (ms_seed, ms_user, ms_total))
    if se == 0:
        return TwoWay(mean, 0.0, 0.0, 0.0, float(seeds - 1), mean, mean, float(mean == 0))
    df = cautious_df(ms_seed / ms_total, ms_user / ms_total, seeds, users)
    half = -float(special.stdtrit(df, alpha / 2)) * se
    return TwoWay(mean, se_seed, se_user, se, df, mean - half, mean + half, t_test(mean, se, df))


def cautious_df(seed: float, user: float, seeds: float, users: float) -> float:
    """Degrees of freedom of t for a variance V of a mean over S seeds and G users.

    seed, user: Var(seed means)/S and Var(user means)/G as shares of V, each at most 1. With w the
    share of whichever has fewer units, m, and n the other's units, 1/df = w/(m - 1) +
    (1 - w)/(n - 1). Satterthwaite's (1946) 1/df has the squares of the shares. As these are
    estimated from few seeds, that t rejects too often, the more so far out, where Holm looks: a
    spread of seeds that is too small by chance gives too small a V and too large a df at once.
    Cochran and Cox (1950) weigh the critical values of the two sources by their shares, which tends
    to be conservative (Lee and Gurland 1975). Student's critical value is linear in 1/df to the
    first order, so theirs is that of t with this df, which one table column can hold. It is at most
    Satterthwaite's, and the same where one source counts alone.
    """
    fewer, more, weight = min((seeds, users, seed), (users, seeds, user))
    rest = 0.0 if math.isinf(more) else (1 - weight) / (more - 1)
    inverse = rest if math.isinf(fewer) else weight / (fewer - 1) + rest
    return 1 / inverse if inverse > 0 else math.inf


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
