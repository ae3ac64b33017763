"""Percentile intervals by resampling: of seeds × users, and of seeds within strata."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stembench.errors import StembenchError

#: Weights of users drawn at a time: few enough that they stay in the processor's cache.
_CHUNK = 2**17
#: 2^32 P(X <= k) of a Poisson(1) count X: it is how many of these a uniform integer reaches.
_POISSON = np.array(
    [2**32 * math.exp(-1) * sum(1 / math.factorial(i) for i in range(k + 1)) for k in range(12)]
).astype(np.uint32)

Floats = NDArray[np.float64]


def two_way_bootstrap(
    differences: ArrayLike, draws: int, seed: int, alpha: float = 0.05
) -> tuple[float, float]:
    """Percentile interval of the mean of D (S seeds, G users) under product weights.

    Every draw weighs seed s and user g by w_s v_g, both Poisson(1) (Owen and Eckles 2012), and
    takes the weighted mean of D. For a metric that is no mean this is its linearisation, exact
    to the first order in the weights. A robustness column beside `two_way`: with few seeds it is
    too narrow. Raises StembenchError for fewer than 2 seeds, 2 users or 100 draws.
    """
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 2 or min(d.shape) < 2 or draws < 100:
        raise StembenchError(
            f"the bootstrap needs 2 seeds, 2 users and 100 draws, got an array {d.shape} and "
            f"{draws} draws: run more seeds or raise analysis.bootstrap"
        )
    random = np.random.default_rng([seed, *b"two-way"])
    step = max(1, _CHUNK // d.shape[1])
    means = [_draw(d, min(step, draws - i), random) for i in range(0, draws, step)]
    lo, hi = np.quantile(np.concatenate(means), [alpha / 2, 1 - alpha / 2])
    return float(lo), float(hi)


def _draw(d: Floats, draws: int, random: np.random.Generator) -> Floats:
    seeds = _poisson(random, (draws, d.shape[0]))
    while (empty := seeds.sum(axis=1) == 0).any():  # e^-S of the draws hold no seed at all
        seeds[empty] = _poisson(random, (int(empty.sum()), d.shape[0]))
    users = _poisson(random, (draws, d.shape[1]))
    users[users.sum(axis=1) == 0] = 1
    # (draws, S) x (S, G) weighted by users, without a (draws, S, G) array.
    sums = ((users @ d.T) * seeds).sum(axis=1)
    means: Floats = sums / (seeds.sum(axis=1) * users.sum(axis=1))
    return means


def _poisson(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Poisson(1) counts, exact to 2^-32; numpy's own take five times as long."""
    uniform = random.integers(0, 2**32, shape, dtype=np.uint32)
    counts = np.zeros(shape, np.uint8)
    for threshold in _POISSON:
        counts += uniform >= threshold
    return counts.astype(np.float64)


def seed_bootstrap(
    strata: Sequence[NDArray[Any]],
    statistic: Callable[[list[NDArray[Any]]], ArrayLike],
    draws: int,
    seed: int,
) -> Floats:
    """`statistic` of resampled strata, (draws, ...): the stratified bootstrap of Agarwal (2021).

    strata: arrays whose last axis is the seed; each is resampled along it, by itself, so that the
    models of one stratum keep their common seeds.
    """
    random = np.random.default_rng([seed, *b"strata"])
    found = []
    for _ in range(draws):
        drawn = [x[..., random.integers(0, x.shape[-1], x.shape[-1])] for x in strata]
        found.append(np.asarray(statistic(drawn), dtype=np.float64))
    return np.stack(found)
