"""Adjusted p values of a family of tests, fixed before the runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Family(NamedTuple):
    """Tests whose p values are adjusted together: its name and a key of ADJUSTMENTS."""

    name: str
    adjust: str


#: (what is compared, metric) -> its family. Within a data set; each metric is adjusted by itself.
Families = Mapping[tuple[str, str], Family]


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Holm's (1979) step-down adjusted p values (m,): the family-wise error stays below alpha.

    NaN stands for a planned test that could not be made: it stays NaN and counts in m as p = 1, so
    that a failed run does not make the other tests of its family easier.
    """
    raw = np.asarray(p, dtype=np.float64)
    filled = np.where(np.isnan(raw), 1.0, raw)
    order = np.argsort(filled, kind="stable")
    steps = np.arange(len(raw), 0, -1)
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps * filled[order]), 1.0)
    return np.where(np.isnan(raw), np.nan, adjusted)


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p values (m,) of Benjamini and Hochberg (1995): bounds the false discovery rate.

    NaN as in `holm`.
    """
    raw = np.asarray(p, dtype=np.float64)
    filled = np.where(np.isnan(raw), 1.0, raw)
    falling = np.argsort(-filled, kind="stable")
    ranks = np.arange(len(raw), 0, -1)
    adjusted = np.empty_like(raw)
    adjusted[falling] = np.minimum.accumulate(filled[falling] * len(raw) / ranks)
    return np.where(np.isnan(raw), np.nan, np.minimum(adjusted, 1.0))


#: Name in params.yaml -> how a family is adjusted.
ADJUSTMENTS: dict[str, Callable[[ArrayLike], NDArray[np.float64]]] = {
    "holm": holm,
    "bh": benjamini_hochberg,
}
#: Those of params.yaml: confirmatory, secondary, random exposures, buckets, ablations.
FAMILIES: Families = {
    ("test", "auc"): Family("F1", "holm"),
    **{("test", metric): Family("F2", "bh") for metric in ("gauc", "logloss", "calibration")},
    **{("unbiased", metric): Family("FU", "holm") for metric in ("auc", "gauc")},
    **{("buckets", metric): Family("F3", "holm") for metric in ("auc", "gauc")},
    **{("interaction", metric): Family("F3-interaction", "holm") for metric in ("auc", "gauc")},
    ("factors", "auc"): Family("factors", "bh"),
}
