"""Models ranked over data sets. Tasks of one share its rows and are no blocks of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, studentized_range

from stembench.errors import StembenchError

Floats = NDArray[np.float64]


def ranks(scores: Sequence[Floats]) -> Floats:
    """Rank of each model on each data set (N, M), 1 is best, ties share their mean rank.

    scores: per data set (T tasks, M models, S seeds), larger is better; models are ranked by their
    means over seeds on each task, and the ranks averaged over its tasks.
    """
    if not scores or len({x.shape[1] for x in scores}) != 1:
        raise StembenchError("ranks need data sets that were run with the same models")
    return np.stack([rankdata(-x.mean(axis=-1), axis=1).mean(axis=0) for x in scores])


def rank_draws(scores: Sequence[Floats], draws: int, seed: int) -> tuple[Floats, Floats]:
    """Bootstrap draws of the average rank, and of being first on a data set; both (draws, M).

    Each draw resamples the data sets (the benchmark's units) and, within each, the seeds, the same
    ones for all models. First is who has the best average rank on that data set, ties shared. With
    few data sets the draws are coarse: an interval over 3 of them is descriptive.
    """
    random = np.random.default_rng([seed, *b"ranks"])
    average = np.empty((draws, scores[0].shape[1]))
    first = np.empty_like(average)
    for i in range(draws):
        chosen = [scores[k] for k in random.integers(0, len(scores), len(scores))]
        drawn = [x[..., random.integers(0, x.shape[-1], x.shape[-1])] for x in chosen]
        table = ranks(drawn)
        best = table == table.min(axis=1, keepdims=True)
        average[i] = table.mean(axis=0)
        first[i] = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    return average, first


def critical_difference(models: int, datasets: int, alpha: float = 0.05) -> float:
    """Nemenyi's critical difference of average ranks (Demsar 2006)."""
    q = float(studentized_range.ppf(1 - alpha, models, math.inf)) / math.sqrt(2)
    return q * math.sqrt(models * (models + 1) / (6 * datasets))
