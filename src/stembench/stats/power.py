"""How many seeds and users a difference needs, and what a benchmark can see at all.

D[s, g] = delta + a_s + b_g + e_sg with standard deviations sd_seed, sd_user, sd_rest over seeds,
users and the rest, so that the mean over S seeds and G users has the variance
V = sd_seed^2/S + sd_user^2/G + sd_rest^2/(S G). The estimate of V is spread as a chi-squared with
Satterthwaite's df of the expected mean squares, from which the power follows by the noncentral t;
the critical value is that of `two_way`, t with the df of `cautious_df`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from scipy import stats as distributions
from scipy.optimize import brentq

from stembench.errors import StembenchError
from stembench.stats.crossed import cautious_df

#: Beyond these a question is answered by "no number of them does".
MOST_SEEDS, MOST_USERS = 100_000, 10_000_000_000


class Components(NamedTuple):
    """Standard deviations of one entry of D over seeds, over users and of the rest.

    A pilot that knows the SD over seeds of a difference on one test set gives it as `seed`, with
    `user` and `rest` 0: the question is then that of a paired t test over seeds.
    """

    seed: float
    user: float
    rest: float = 0.0


def components(differences: ArrayLike) -> Components:
    """Estimates from D (S, G) by equating mean squares with their expectations, none below 0.

    Raises StembenchError as `two_way`.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 2 or min(d.shape) < 2 or not np.isfinite(d).all():
        raise StembenchError(f"variances need 2 seeds and 2 users, got an array {d.shape}")
    seeds, users = d.shape
    by_seed, by_user = d.mean(axis=1), d.mean(axis=0)
    rest = d - by_seed[:, None] - by_user + d.mean()
    ms_rest = float(np.square(rest).sum()) / ((seeds - 1) * (users - 1))
    var_seed = max(float(by_seed.var(ddof=1)) - ms_rest / users, 0.0)
    var_user = max(float(by_user.var(ddof=1)) - ms_rest / seeds, 0.0)
    return Components(math.sqrt(var_seed), math.sqrt(var_user), math.sqrt(ms_rest))


class Variance(NamedTuple):
    """Variance of a mean, Satterthwaite's df of its estimate, and the df of the test."""

    total: float
    df: float
    df_test: float


def variance(parts: Components, seeds: float, users: float) -> Variance:
    """Of the mean over that many seeds and users, either of which may be infinite.

    Raises StembenchError below 2 of either.
    """
    if not (seeds >= 2 and users >= 2):
        raise StembenchError(f"the test needs at least 2 seeds and 2 users, not {seeds}, {users}")
    if math.isinf(seeds) and math.isinf(users):
        return Variance(0.0, math.inf, math.inf)
    residual = parts.rest**2 / (seeds * users)
    seed = parts.seed**2 / seeds + residual
    user = parts.user**2 / users + residual
    total = seed + user - residual
    if total == 0:
        return Variance(0.0, seeds - 1, seeds - 1)
    spread = seed**2 / (seeds - 1) + user**2 / (users - 1)
    spread += residual**2 / ((seeds - 1) * (users - 1))
    df = total**2 / spread if spread > 0 else math.inf
    return Variance(total, df, cautious_df(seed / total, user / total, seeds, users))


def power(delta: float, spread: Variance, alpha: float) -> float:
    """Chance that the two-sided t test of level alpha rejects when the difference is delta."""
    if spread.total == 0:
        return float(delta != 0)
    critical = float(distributions.t.isf(alpha / 2, spread.df_test))
    shift = abs(delta) / math.sqrt(spread.total)
    if math.isinf(spread.df):
        return float(special.ndtr(shift - critical) + special.ndtr(-shift - critical))
    upper = float(distributions.nct.sf(critical, spread.df, shift))
    lower = float(distributions.nct.cdf(-critical, spread.df, shift))
    return upper + (0.0 if math.isnan(lower) else lower)  # scipy: NaN where it underflows


def detectable(
    parts: Components, seeds: float, users: float, alpha: float = 0.05, level: float = 0.8
) -> float:
    """Smallest difference seen with power `level` (MDE); with infinite seeds, its floor."""
    spread = variance(parts, seeds, users)
    if spread.total == 0:
        return 0.0
    unit = spread._replace(total=1.0)
    reach = _reach(spread.df_test, alpha)
    shift = brentq(lambda x: power(x, unit, alpha) - level, 0.0, reach)
    return float(shift) * math.sqrt(spread.total)


def seeds_needed(
    parts: Components, users: float, delta: float, alpha: float = 0.05, level: float = 0.8
) -> int | None:
    """Fewest seeds that see delta with power `level` on a test set of that many users, or None."""
    return _fewest(lambda n: _sees(parts, n, users, delta, alpha, level), MOST_SEEDS)


def users_needed(
    parts: Components, seeds: float, delta: float, alpha: float = 0.05, level: float = 0.8
) -> int | None:
    """Fewest test users that see delta with that many seeds, or None if seeds alone forbid it."""
    return _fewest(lambda n: _sees(parts, seeds, n, delta, alpha, level), MOST_USERS)


def _sees(
    parts: Components, seeds: float, users: float, delta: float, alpha: float, level: float
) -> bool:
    return power(delta, variance(parts, seeds, users), alpha) >= level


def _fewest(enough: Callable[[int], bool], most: int) -> int | None:
    """Smallest n >= 2 with enough(n), which stays true once true; None beyond `most`."""
    high = 2
    while not enough(high):
        if high >= most:
            return None
        high = min(2 * high, most)
    low = high // 2 if high > 2 else 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _reach(df: float, alpha: float) -> float:
    """A difference in standard errors that is seen all but surely."""
    return 10.0 + 4.0 * float(distributions.t.isf(alpha / 2, df))
