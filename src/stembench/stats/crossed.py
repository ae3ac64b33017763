"""Tests of a difference between two models, counting both the seeds and the users.

Why seeds alone do not do: they share one test sample, whose own noise no number of seeds removes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special
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
    Satterthwaite's df = (S G V)^2 / sum of MS^2 / df. The interval is at level 1 - alpha. As that
    df is an estimate, t is too small far out, where Holm looks: p and interval carry the
    second-order term of Welch (1947), see `_critical`, which is 0 when one source counts alone.
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
    if se == 0:
        return TwoWay(mean, 0.0, 0.0, 0.0, df, mean, mean, float(mean == 0))
    shares = [
        (ms / ms_total, nu)
        for ms, nu in ((ms_seed, df_seed), (ms_user, df_user), (-ms_residual, df_residual))
    ]
    squares = sum(x**2 / nu**2 for x, nu in shares)
    cubes = sum(x**3 / nu**2 for x, nu in shares)
    half = _critical(-float(special.ndtri(alpha / 2)), df, squares, cubes) * se
    p = _p_value(abs(mean) / se, df, squares, cubes)
    return TwoWay(mean, se_seed, se_user, se, df, mean - half, mean + half, p)


def _critical(xi: float, df: float, squares: float, cubes: float) -> float:
    """Critical value of t at the level at which the normal's is xi > 0.

    Welch (1947) expands the critical value of a mean over the root of a sum of variances,
    V = sum of V_i with nu_i degrees of freedom and shares l_i = V_i / V. To first order that is t
    with Satterthwaite's 1/df = sum of l_i^2 / nu_i; the second order adds to it, with
    x = xi^2, squares = sum of l_i^2 / nu_i^2 and cubes = sum of l_i^3 / nu_i^2,
    xi (-(1 + x)/2 squares + (3 + 5x + x^2)/3 cubes - (3 + 7x + 2x^2)/6 / df^2).
    A negative term, which would only loosen the test, is left out.
    """
    x = xi * xi
    term = -(1 + x) / 2 * squares + (3 + 5 * x + x * x) / 3 * cubes
    term -= (3 + 7 * x + 2 * x * x) / 6 / df**2
    return -float(special.stdtrit(df, special.ndtr(-xi))) + xi * max(term, 0.0)


def _p_value(t: float, df: float, squares: float, cubes: float) -> float:
    """Two-sided p of t >= 0: the level at which t is critical."""
    highest = min(t, 37.0)  # the normal's tail underflows beyond
    if t == 0 or _critical(highest, df, squares, cubes) <= t:
        return float(2 * special.ndtr(-highest))
    xi = optimize.brentq(
        lambda xi: _critical(xi, df, squares, cubes) - t, 0.0, highest, xtol=1e-13, rtol=1e-13
    )
    return float(2 * special.ndtr(-xi))


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
