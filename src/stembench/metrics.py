"""Metrics of binary predictions: exact with ties, vectorised, numpy only.

Every function takes one task: `labels` (N,) of 0/1 and `scores` or `logits` (N,), finite. Bad input
is refused with StembenchError. AUCs are ratios of integers (pairs won, ties counted half), so that
the order of the rows does not change a bit of them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stembench.errors import StembenchError

#: Keys of `evaluate_task`, in the order in which tables show them.
METRICS = (
    "auc",
    "gauc",
    "gauc_users_kept",
    "logloss",
    "calibration",
    "n_rows",
    "n_pos",
    "n_users",
)

_LABEL = np.uint64(1)
_USER_SHIFT = np.uint64(33)
_SIGN = np.uint32(1 << 31)
_HALF, _LOWER = np.uint64(32), np.uint64(2**32 - 1)


class GAUC(NamedTuple):
    """AUC averaged over users, weighted by their rows.

    value: NaN if no user has both classes; users_kept: share of the users that have both classes;
    n_users: how many those are; rows_kept: the rows that they have.
    """

    value: float
    users_kept: float
    n_users: int
    rows_kept: int


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: P(score of a positive > that of a negative), ties half.

    labels, scores: (N,). Raises StembenchError on NaN or infinite scores, labels other than 0/1,
    different lengths, and labels of one class only.
    """
    y, s = check_rows(labels, scores)
    _require_both_classes(y)
    wins, positives, negatives, _ = _pairs(y, s, None)
    return float(wins[0] / (2 * positives[0] * negatives[0]))


def gauc(labels: ArrayLike, scores: ArrayLike, users: ArrayLike) -> GAUC:
    """Mean of the users' own AUCs, weighted by the rows of each user.

    labels, scores: (N,); users: integer (N,). Users with one class have no AUC and are dropped.
    If that is all of them, the value is NaN and `users_kept` 0. Raises StembenchError as `auc`.
    """
    y, s = check_rows(labels, scores)
    per_user, rows, kept = _user_aucs(y, s, _check_users(users, len(y)))
    if len(rows) == 0:
        return GAUC(math.nan, 0.0, 0, 0)
    rows_kept = int(rows.sum())
    value = float(np.dot(per_user, rows) / rows_kept)
    return GAUC(value, len(rows) / len(kept), len(rows), rows_kept)


def user_aucs(
    labels: ArrayLike, scores: ArrayLike, users: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[Any]]:
    """AUC and rows of each user that has both classes, and these users, sorted; each (G,).

    labels, scores: (N,); users: integer (N,). Raises StembenchError as `gauc`.
    """
    y, s = check_rows(labels, scores)
    codes = _check_users(users, len(y))
    per_user, rows, kept = _user_aucs(y, s, codes)
    return per_user, rows, factorise(codes)[1][kept]


def logloss(labels: ArrayLike, logits: ArrayLike) -> float:
    """Mean binary cross-entropy in nats, mean of softplus(z) - y z, in float64.

    Written as softplus(-z) for positives and softplus(z) for negatives: the same number, without
    the cancellation of softplus(z) - z for large z. Raises StembenchError as `auc`, but one class
    is allowed.
    """
    y, z = check_rows(labels, logits)
    return float(row_losses(y, z).mean())


def row_losses(y: NDArray[np.bool_], z: NDArray[Any]) -> NDArray[np.float64]:
    """Binary cross-entropy of each row (N,) in nats, of checked labels and logits."""
    losses: NDArray[np.float64] = np.logaddexp(0.0, np.where(y, -1.0, 1.0) * z)
    return losses


def row_probabilities(z: NDArray[Any]) -> NDArray[np.float64]:
    """sigmoid(z) in float64 (N,), without overflow."""
    p: NDArray[np.float64] = np.exp(-np.logaddexp(0.0, -z.astype(np.float64)))
    return p


def calibration(labels: ArrayLike, logits: ArrayLike) -> float:
    """Predicted over observed positives, sum sigmoid(z) / sum y; 1 is perfect.

    Raises StembenchError as `auc`, and when there is no positive.
    """
    y, z = check_rows(labels, logits)
    if not y.any():
        raise StembenchError(
            "calibration needs a positive label: widen the split or drop this task"
        )
    return float(row_probabilities(z).sum() / y.sum())


def evaluate_task(
    labels: ArrayLike, logits: ArrayLike, users: ArrayLike
) -> dict[str, float | int | None]:
    """All metrics of one task on one part, ready for JSON (None where gAUC is undefined).

    labels, logits, users: (N,). `n_users` counts all users of the part and `gauc_users_kept` is the
    share of them with both classes. Raises StembenchError as `auc` and `calibration`.
    """
    by_user = gauc(labels, logits, users)
    return {
        "auc": auc(labels, logits),
        "gauc": None if math.isnan(by_user.value) else by_user.value,
        "gauc_users_kept": by_user.users_kept,
        "logloss": logloss(labels, logits),
        "calibration": calibration(labels, logits),
        "n_rows": len(np.asarray(labels)),
        "n_pos": int(np.count_nonzero(labels)),
        "n_users": len(factorise(users)[1]),
    }


def delong_components(labels: ArrayLike, scores: ArrayLike) -> tuple[float, NDArray[np.float64]]:
    """AUC and its structural components (DeLong et al. 1988), by fast midranks.

    labels, scores: (N,). Returns (auc, v (N,)): v[i] is V10, the share of negatives that positive i
    beats, or V01, the share of positives that beat negative i; ties half. The mean of v over the
    positives is the AUC, and so is that over the negatives. Raises StembenchError as `auc`.
    """
    y, s = check_rows(labels, scores)
    _require_both_classes(y)
    # Sorts values, not indices: the row's number lies in the lower half of each key.
    key = _ordered_bits(s).astype(np.uint64) << _HALF
    key |= np.arange(len(s), dtype=np.uint64)
    key.sort()
    rows = (key & _LOWER).astype(np.int64)
    starts = _run_starts(key >> _HALF)
    size = np.diff(starts, append=len(s))
    sorted_y = y[rows]
    counts = np.concatenate(([0], np.cumsum(sorted_y)))  # positives before each row
    positives_below, m = counts[starts], int(counts[-1])
    positives = counts[starts + size] - positives_below
    negatives, negatives_below, n = size - positives, starts - positives_below, len(s) - m
    # Doubled counts, so that half a tie is an integer.
    beaten = 2 * negatives_below + negatives
    beating = 2 * (m - positives_below) - positives
    v = np.empty(len(s))
    v[rows] = np.where(
        sorted_y, np.repeat(beaten / (2 * n), size), np.repeat(beating / (2 * m), size)
    )
    return float((beaten * positives).sum() / (2 * m * n)), v


def factorise(users: ArrayLike) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Dense codes (N,) in 0..G-1 and the sorted distinct users (G,).

    Raises StembenchError if the users are not integers (N,).
    """
    raw = _check_users(users, None)
    if len(raw) and raw.min() >= 0 and raw.max() < 4 * len(raw):  # counting beats sorting
        present = np.bincount(raw.astype(np.int64)) > 0
        return (np.cumsum(present) - 1)[raw], np.flatnonzero(present)
    distinct, codes = np.unique(raw, return_inverse=True)
    return codes.astype(np.int64), distinct


def _user_aucs(
    y: NDArray[np.bool_], s: NDArray[Any], users: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """AUC and rows of the users with both classes, and which of all users those are."""
    wins, positives, negatives, rows = _pairs(y, s, users)
    kept = (positives > 0) & (negatives > 0)
    return wins[kept] / (2 * positives[kept] * negatives[kept]), rows[kept], kept


def _pairs(
    y: NDArray[np.bool_], s: NDArray[Any], users: NDArray[Any] | None
) -> tuple[NDArray[np.int64], ...]:
    """Per user, in the users' order: doubled pairs won, positives, negatives, rows; each (G,).

    Sorts values, not indices: one uint64 a row holds user (31 bits), score (32 bits, in the order
    of the scores) and label.
    """
    key = (_ordered_bits(s).astype(np.uint64) << _LABEL) | y
    if users is not None:
        if len(users) and (users.min() < 0 or users.max() >= 2**31):
            users = factorise(users)[0]
        key |= users.astype(np.uint64) << _USER_SHIFT
    key.sort()
    label = (key & _LABEL).astype(np.int64)
    # Levels: rows of one user with one score. Users: runs of levels.
    starts = _run_starts(key >> _LABEL)
    positives = np.add.reduceat(label, starts) if len(starts) else starts
    negatives = np.diff(starts, append=len(key)) - positives
    level_users = key[starts] >> _USER_SHIFT
    first = _run_starts(level_users)
    if not len(first):
        return (first, first, first, first)
    below = np.cumsum(negatives) - negatives
    below -= np.repeat(below[first], np.diff(first, append=len(starts)))
    wins = np.add.reduceat(positives * (2 * below + negatives), first)
    user_positives = np.add.reduceat(positives, first)
    user_negatives = np.add.reduceat(negatives, first)
    return wins, user_positives, user_negatives, user_positives + user_negatives


def _run_starts(values: NDArray[Any]) -> NDArray[np.int64]:
    """Positions in a sorted array where a value differs from the one before it, 0 included."""
    if not len(values):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))


def _ordered_bits(s: NDArray[Any]) -> NDArray[np.uint32]:
    """uint32 codes (N,) that sort and tie as the scores do."""
    if s.dtype != np.float32:  # float64 does not fit: take the rank among the distinct values
        return np.unique(s, return_inverse=True)[1].astype(np.uint32)
    bits = s.view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def check_rows(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Labels as bool (N,) and scores as contiguous float32 or float64 (N,), without -0.0.

    Raises StembenchError as `auc`, but one class is allowed.
    """
    y, s = np.asarray(labels), np.asarray(scores)
    if y.ndim != 1 or y.shape != s.shape:
        raise StembenchError(
            f"labels {y.shape} and scores {s.shape} must be one-dimensional and of one length: "
            "pass one task at a time"
        )
    if y.dtype != np.bool_ and not np.all((y == 0) | (y == 1)):
        raise StembenchError("labels must be 0 or 1: encode them before the metrics")
    if s.dtype != np.float32:
        s = s.astype(np.float64)
    # Adding 0.0 makes -0.0 tie with 0.0, and copies into contiguous memory.
    s = np.ascontiguousarray(s) + s.dtype.type(0.0)
    if not np.isfinite(s).all():
        bad = int(np.count_nonzero(~np.isfinite(s)))
        raise StembenchError(
            f"{bad} of {len(s)} scores are NaN or infinite: the model diverged, lower its lr"
        )
    return y.astype(np.bool_), s


def _check_users(users: ArrayLike, rows: int | None) -> NDArray[Any]:
    codes = np.asarray(users)
    if codes.ndim != 1 or (codes.dtype.kind not in "iu" and len(codes)):
        raise StembenchError(
            f"users must be integer codes (N,), not {codes.dtype} {codes.shape}: "
            "encode them before the metrics"
        )
    if rows is not None and len(codes) != rows:
        raise StembenchError(
            f"{len(codes)} users for {rows} rows: pass the users of the same part as the labels"
        )
    return codes


def _require_both_classes(y: NDArray[np.bool_]) -> None:
    positives = int(y.sum())
    if positives in (0, len(y)):
        raise StembenchError(
            f"AUC needs both classes, but {positives} of {len(y)} labels are positive: "
            "widen this part of the split or drop the task"
        )
