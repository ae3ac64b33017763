"""What each user contributes to a metric, so that the one two-way test serves all metrics.

Each metric of a test part is a ratio of sums over users (the AUC: of pairs of rows). With psi_g the
derivative of the metric in the weight of user g, d_g = metric + G psi_g has the metric as its mean
and, over users, Var(d)/G as the metric's sampling variance, the users being the independent units.
Differences of d between two models on the same rows are a row of `two_way`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stembench.errors import StembenchError
from stembench.metrics import (
    check_rows,
    delong_components,
    factorise,
    row_losses,
    row_probabilities,
    user_aucs,
)

Floats = NDArray[np.float64]


class Influence(NamedTuple):
    """A metric, d (G,) with the metric as its mean, and the sorted distinct users (G,) of d."""

    value: float
    d: Floats
    users: NDArray[Any]


def user_influence(labels: ArrayLike, scores: ArrayLike, users: ArrayLike) -> tuple[float, Floats]:
    """AUC and what each user contributes to it, see `auc_influence`."""
    found = auc_influence(labels, scores, users)
    return found.value, found.d


def auc_influence(labels: ArrayLike, scores: ArrayLike, users: ArrayLike) -> Influence:
    """AUC over all pairs of rows; labels, scores, users: (N,).

    psi_g sums (V10 - auc) / positives and (V01 - auc) / negatives over the rows of user g, where
    V10 and V01 are the structural components (DeLong et al. 1988); Var(d)/G is the variance of a
    clustered AUC (Obuchowski 1997). Raises StembenchError as `metrics.auc`.
    """
    auc, v = delong_components(labels, scores)
    codes, distinct = _codes(users, len(v))
    y = np.asarray(labels).astype(np.bool_)
    positives = int(y.sum())
    share = np.where(y, 1.0 / positives, 1.0 / (len(y) - positives))
    psi = np.bincount(codes, weights=(v - auc) * share, minlength=len(distinct))
    return Influence(auc, np.asarray(auc + len(distinct) * psi, dtype=np.float64), distinct)


def gauc_influence(labels: ArrayLike, scores: ArrayLike, users: ArrayLike) -> Influence:
    """Mean of the users' own AUCs weighted by their rows, a ratio of sums over users.

    G counts the users with both classes only, as the others carry no information on it; labels
    alone decide which, so two models on the same rows have the same ones. No user with both classes
    gives the value NaN and empty arrays. Raises StembenchError as `metrics.gauc`.
    """
    areas, rows, kept = user_aucs(labels, scores, users)
    weights = rows.astype(np.float64)
    return Influence(*_ratio(areas * weights, weights), kept)


def logloss_influence(labels: ArrayLike, logits: ArrayLike, users: ArrayLike) -> Influence:
    """Mean cross-entropy per row: the users' sums of losses over their numbers of rows.

    Raises StembenchError as `metrics.logloss`.
    """
    y, z = check_rows(labels, logits)
    codes, distinct = _codes(users, len(y))
    losses = np.bincount(codes, weights=row_losses(y, z), minlength=len(distinct))
    return Influence(*_ratio(losses, np.bincount(codes, minlength=len(distinct))), distinct)


def calibration_influence(labels: ArrayLike, logits: ArrayLike, users: ArrayLike) -> Influence:
    """Calibration error |predicted / observed - 1|, from the users' sums of both.

    The absolute value has no derivative at 0: within noise of perfect calibration its mean over
    seeds is too large and its intervals are approximate. Raises StembenchError as
    `metrics.calibration`.
    """
    y, z = check_rows(labels, logits)
    codes, distinct = _codes(users, len(y))
    if not y.any():
        raise StembenchError(
            "calibration needs a positive label: widen the split or drop this task"
        )
    predicted = np.bincount(codes, weights=row_probabilities(z), minlength=len(distinct))
    ratio, d = _ratio(predicted, np.bincount(codes, weights=y, minlength=len(distinct)))
    sign = 1.0 if ratio >= 1 else -1.0
    error = abs(ratio - 1)
    return Influence(error, error + sign * (d - ratio), distinct)


#: Metric -> its influence. Larger is better for the AUCs, smaller for the other two.
INFLUENCES: dict[str, Callable[[ArrayLike, ArrayLike, ArrayLike], Influence]] = {
    "auc": auc_influence,
    "gauc": gauc_influence,
    "logloss": logloss_influence,
    "calibration": calibration_influence,
}


def contrast(first: Influence, second: Influence) -> Influence:
    """first - second of two disjoint or overlapping sets of rows, over the union of their users.

    Of two differences between models (say, on comparable samples and on the rest) it gives the
    interaction contrast: "significant here and not there" is no evidence that they differ
    (Gelman and Stern 2006).
    """
    users = np.union1d(first.users, second.users)
    psi = np.zeros(len(users))
    for side, sign in ((first, 1.0), (second, -1.0)):
        at = np.searchsorted(users, side.users)
        psi[at] += sign * (side.d - side.value) / len(side.users)
    value = first.value - second.value
    return Influence(value, value + len(users) * psi, users)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> tuple[float, Floats]:
    """A ratio of sums over users and d (G,) by linearisation; NaN for no users."""
    total = float(denominator.sum())
    if total == 0:
        return float("nan"), np.zeros(0)
    value = float(numerator.sum() / total)
    return value, value + len(numerator) * (numerator - value * denominator) / total


def _codes(users: ArrayLike, rows: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
    codes, distinct = factorise(users)
    if len(codes) != rows:
        raise StembenchError(
            f"{len(codes)} users for {rows} rows: pass the users of the same part as the labels"
        )
    return codes, distinct
