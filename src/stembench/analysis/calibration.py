"""Reliability: is the share of positives what was predicted, where that is low and where high?

The test rows of a run are cut into bins of equal size by the predicted probability, and in each the
mean prediction is set beside the share of positives (the reliability diagram; quantile bins, as in
Nixon et al., "Measuring Calibration in Deep Learning", 2019). A ratio of 1 over all rows can hide
that low probabilities are too low and high ones too high: this does not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from stembench.analysis.runs import Cell, Group

#: Bins of equal size; with ties at a boundary, or few distinct predictions, sizes differ.
BINS = 10
#: One row a bin, 1 the lowest predictions, and one row `all`. n_rows, predicted, observed and gap
#: are means over the seeds, sd_observed the SD (ddof 1) over them. gap is |observed - predicted|;
#: in the row `all` its mean over the bins, weighted by their rows (expected calibration error).
COLUMNS = (
    *("dataset", "task", "model", "bin", "n_seeds", "n_rows"),
    *("predicted", "observed", "sd_observed", "gap"),
)
ALL = "all"

Rows = list[dict[str, Any]]
Floats = NDArray[np.float64]


class Curve(NamedTuple):
    """Rows, mean probability and share of positives by bin, each (B,); NaN in an empty bin."""

    rows: NDArray[np.int64]
    predicted: Floats
    observed: Floats

    @property
    def gaps(self) -> Floats:
        """Distance from the diagonal by bin (B,)."""
        return np.abs(self.observed - self.predicted)

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance over the rows."""
        full = self.rows > 0
        return float(np.average(self.gaps[full], weights=self.rows[full]))


def reliability(labels: NDArray[Any], logits: NDArray[Any], bins: int = BINS) -> Curve:
    """Curve of 0/1 labels (N,) and finite logits (N,), N > 0. Equal logits share a bin."""
    z = logits.astype(np.float64)
    # The largest of each bin but the last; whole numbers, as 0.3 * 1000 is more than 300.
    last = np.maximum(len(z) * np.arange(1, bins) // bins - 1, 0)
    of = np.searchsorted(np.partition(z, last)[last], z, side="left")
    rows = np.bincount(of, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin
        predicted = np.bincount(of, expit(z), minlength=bins) / rows
        observed = np.bincount(of, labels.astype(np.float64), minlength=bins) / rows
    return Curve(rows, predicted, observed)


def calibration_rows(group: Group) -> Rows:
    """The table of a data set from the test logits of its sound runs; one run's in memory."""
    test = group.parts.get("test")
    if test is None:
        return []
    labels = np.asarray(test.labels)
    found: Rows = []
    for model in group.models:
        curves = [_curves(cell, labels) for cell in group.sound(model)]
        if curves:
            for t, task in enumerate(group.tasks):
                head = {"dataset": group.dataset, "task": task, "model": model}
                found += [head | row for row in _over_seeds([by_task[t] for by_task in curves])]
    return found


def _curves(cell: Cell, labels: NDArray[Any]) -> list[Curve]:
    logits = np.load(cell.path / cell.logits, mmap_mode="r", allow_pickle=False)
    return [reliability(labels[:, t], z) for t, z in enumerate(logits.T)]


def _over_seeds(curves: list[Curve]) -> Rows:
    rows: Rows = []
    for i in range(BINS):
        mine = [curve for curve in curves if curve.rows[i]]
        if mine:
            rows.append(
                _row(
                    str(i + 1),
                    [float(curve.rows[i]) for curve in mine],
                    [float(curve.predicted[i]) for curve in mine],
                    [float(curve.observed[i]) for curve in mine],
                    [float(curve.gaps[i]) for curve in mine],
                )
            )
    total = [float(curve.rows.sum()) for curve in curves]
    predicted, observed = (
        [float(np.nansum(c.rows * getattr(c, name)) / c.rows.sum()) for c in curves]
        for name in ("predicted", "observed")
    )
    errors = [curve.error for curve in curves]
    rows.append(_row(ALL, total, predicted, observed, errors))
    return rows


def _row(
    name: str, rows: list[float], predicted: list[float], observed: list[float], gap: list[float]
) -> dict[str, Any]:
    sd = float(np.std(observed, ddof=1)) if len(observed) > 1 else float("nan")
    row: dict[str, Any] = {"bin": name, "n_seeds": len(rows), "n_rows": float(np.mean(rows))}
    row |= {"predicted": float(np.mean(predicted)), "observed": float(np.mean(observed))}
    return row | {"sd_observed": sd, "gap": float(np.mean(gap))}
