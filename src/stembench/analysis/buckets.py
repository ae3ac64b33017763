"""Comparable samples: rows sorted by the relative amount of two tasks' training positives.

For a unit u (a user, an item) with a_u and b_u training positives of the tasks A and B, and q_A,
q_B the shares of the two tasks in all their training positives, the log-ratio is

    r_u = log (a_u + k q_A) / (b_u + k q_B) - log q_A / q_B,

0 where a unit has the overall mix, drawn towards 0 by k positives at that mix (`smoothing`), and
undefined without a training positive. A row's ratio is that of its user, of its item, or the sum of
both. Buckets are quantiles of the ratio over the training rows, from A-heavy to B-heavy; the middle
one is called comparable. Labels of the test part play no role in it.

This definition is the project's own: no published code holds one. Units are codes >= 0; -1 stands
for an unknown unit, which has no ratio.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stembench.errors import StembenchError

DEFINITIONS = ("user", "item", "user_item")
#: Bucket of the rows whose user or item has no training positive.
NONE = -1
#: Training rows counted at a time, and at most so many (evenly spread) give the quantiles.
_CHUNK, _QUANTILE_ROWS = 4_000_000, 5_000_000

Floats = NDArray[np.float64]


class Rows(NamedTuple):
    """Codes of users and items of N rows, each int (N,)."""

    users: NDArray[Any]
    items: NDArray[Any]


class Buckets(NamedTuple):
    """of: the bucket of each test row (N,), 0 is A-heavy, K - 1 B-heavy, NONE without a ratio.

    bounds: log-ratios (K + 1,) between the buckets, falling, from inf to -inf.
    """

    of: NDArray[np.int8]
    bounds: Floats


def bucket_names(count: int) -> list[str]:
    """Names from A-heavy to B-heavy: a2, a1, comparable, b1, b2 for five; NONE is `none`."""
    side = count // 2
    return (
        [f"a{side - i}" for i in range(side)] + ["comparable"] + [f"b{i + 1}" for i in range(side)]
    )


def log_ratios(units: NDArray[Any], labels: NDArray[Any], smoothing: float) -> Floats:
    """r by unit code (U,), NaN without a training positive; equation at the top of this file.

    units: (N,); labels: 0/1 (N, 2), tasks A and B; both of the training part, may be memory-mapped.
    Raises StembenchError for smoothing <= 0, other shapes, and a task without any positive.
    """
    if not smoothing > 0:
        raise StembenchError(f"smoothing must be positive, not {smoothing}")
    if labels.shape != (len(units), 2):
        raise StembenchError(
            f"labels {labels.shape} for {len(units)} units: pass two tasks' labels"
        )
    size = int(units.max()) + 1 if len(units) else 0
    counts = np.zeros((2, max(size, 0)))
    for start in range(0, len(units), _CHUNK):
        codes = np.asarray(units[start : start + _CHUNK])
        for t in range(2):
            positive = codes[(np.asarray(labels[start : start + _CHUNK, t]) == 1) & (codes >= 0)]
            counts[t] += np.bincount(positive, minlength=counts.shape[1])
    totals = counts.sum(axis=1)
    if not totals.all():
        raise StembenchError(
            "comparable samples need training positives of both tasks: drop a task or widen the "
            "training part"
        )
    q = totals / totals.sum()
    a, b = counts + smoothing * q[:, None]
    ratios: Floats = np.log(a / b) - np.log(q[0] / q[1])
    ratios[counts.sum(axis=0) == 0] = np.nan
    return ratios


def assign(
    train: Rows,
    labels: NDArray[Any],
    test: Rows,
    definition: str,
    count: int,
    smoothing: float,
) -> Buckets:
    """Buckets of the test rows from the training rows; labels: the training part's (N, 2).

    count: number of buckets, odd. Equal ratios share a bucket, so that with few distinct ones
    some buckets may be larger than others, or empty. Raises StembenchError as `log_ratios`, for an
    unknown definition and an even count.
    """
    if definition not in DEFINITIONS:
        raise StembenchError(f"unknown definition {definition!r}: one of {', '.join(DEFINITIONS)}")
    if count < 3 or count % 2 == 0:
        raise StembenchError(f"the number of buckets must be odd and at least 3, not {count}")
    by_user = by_item = None
    if definition in ("user", "user_item"):
        by_user = log_ratios(train.users, labels, smoothing)
    if definition in ("item", "user_item"):
        by_item = log_ratios(train.items, labels, smoothing)
    step = -(-len(train.users) // _QUANTILE_ROWS)
    some = Rows(np.asarray(train.users[::step]), np.asarray(train.items[::step]))
    known = _rows_ratios(some, by_user, by_item)
    known = known[~np.isnan(known)]
    if not len(known):
        raise StembenchError("no training row has a ratio: take another definition")
    cuts = np.quantile(known, np.arange(1, count) / count, method="inverted_cdf")
    ratios = _rows_ratios(test, by_user, by_item)
    index = (count - 1 - np.searchsorted(cuts, ratios, side="left")).astype(np.int8)
    index[np.isnan(ratios)] = NONE
    return Buckets(index, np.concatenate([[np.inf], cuts[::-1], [-np.inf]]))


def _rows_ratios(rows: Rows, by_user: Floats | None, by_item: Floats | None) -> Floats:
    """The ratio of each row (N,), NaN where one of its units has none."""
    total = np.zeros(len(rows.users))
    for codes, ratios in ((rows.users, by_user), (rows.items, by_item)):
        if ratios is not None:
            inside = (codes >= 0) & (codes < len(ratios))
            total += np.where(inside, ratios[np.where(inside, codes, 0)], np.nan)
    return total
