"""Statistics over runs alone, conditional on the test set they share."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from stembench.errors import StembenchError


class Wilcoxon(NamedTuple):
    """Two-sided exact p, NaN where no outcome could reach alpha, and then the reason."""

    p: float
    note: str


def wilcoxon(differences: ArrayLike, alpha: float = 0.05) -> Wilcoxon:
    """Exact signed-rank test (Wilcoxon 1945) of paired differences (S,) over seeds.

    Zeros are dropped and ties share their mean rank; the distribution of the rank sum is counted
    over all 2^n signs. Its least p is 2 / 2^n: where that is not below alpha the test cannot
    reject whatever the data, and no p is given. The normal approximation, which seems to reject
    with 5 seeds, is not used. Raises StembenchError for values that are not finite.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or not np.isfinite(d).all():
        raise StembenchError("the signed-rank test needs finite differences, one a seed")
    d = d[d != 0]
    if 2.0 ** (1 - len(d)) >= alpha:
        least = math.ceil(1 - math.log2(alpha) + 1e-12)
        return Wilcoxon(
            math.nan, f"{len(d)} non-zero differences cannot reach {alpha:g}; {least} can"
        )
    ranks = np.rint(2 * rankdata(np.abs(d))).astype(np.int64)  # doubled: half ranks are integers
    ways = np.zeros(int(ranks.sum()) + 1)
    ways[0] = 1.0
    for rank in ranks:
        ways[rank:] = ways[rank:] + ways[:-rank]
    ways /= ways.sum()
    observed = int(ranks[d > 0].sum())
    tail = min(ways[: observed + 1].sum(), ways[observed:].sum())
    return Wilcoxon(float(min(1.0, 2 * tail)), "")


def probability_of_improvement(a: ArrayLike, b: ArrayLike) -> float:
    """P(a run of a > a run of b), ties half, over all pairs of runs (Agarwal et al. 2021).

    a (S_a,), b (S_b,): larger is better. Equals the Mann-Whitney U over S_a S_b.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if not (len(x) and len(y)):
        raise StembenchError("the probability of improvement needs a run on either side")
    difference = x[:, None] - y
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def iqm(values: ArrayLike) -> float:
    """Interquartile mean: the mean of the middle half of all values (Agarwal et al. 2021).

    A quarter of the values, rounded down, is cut at either end.
    """
    x = np.sort(np.asarray(values, dtype=np.float64), axis=None)
    if not len(x):
        raise StembenchError("the interquartile mean needs a value")
    cut = len(x) // 4
    return float(x[cut : len(x) - cut].mean())
