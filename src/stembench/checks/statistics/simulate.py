"""Simulated benchmarks whose true difference is known: crossed effects, and whole test parts.

Both have skewed seeds (runs that fail to converge are worse, never better, and one model has twice
the spread of the other), heavy-tailed users and residuals that grow with a user's activity. The
regimes say which of the two variances of the mean difference dominates, by a factor of 100.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import gamma
from scipy.stats import t as student

from stembench.stats import t_test, two_way, two_way_bootstrap, user_influence

ALPHA = 0.05

#: Regime -> standard error of the mean that comes from seeds, and from users.
REGIMES = {
    "balanced": (1.0, 1.0),
    "test sample dominates": (0.1, 1.0),
    "seed noise dominates": (1.0, 0.1),
}
USERS = 400
#: Of the whole test parts.
ROWS, POSITIVE_RATE = 10_000, 0.01

Floats = NDArray[np.float64]


class Tally(NamedTuple):
    """Counts over repetitions: the interval covers the true difference, tests of it reject.

    rejected: the two-way test; by_seeds: the paired t over seeds; by_bootstrap: the percentile
    interval leaves it out, NaN where it was not drawn. se_seed, se_user: means of the estimates.
    """

    repetitions: int
    covered: int
    rejected: int
    by_seeds: int
    by_bootstrap: float
    se_seed: float
    se_user: float


class Scores(NamedTuple):
    """A simulated test part: labels and users (N,), logits of two models (2, S, N)."""

    labels: NDArray[np.bool_]
    users: NDArray[np.int64]
    logits: NDArray[np.float32]


class World(NamedTuple):
    """Settings of `test_part`; spreads of seeds and users are in units of the row noise.

    own: share of the row noise (SD) that differs between the models.
    """

    seed_sd: float
    user_sd: float
    own: float


#: The same regimes for whole test parts. With the rows of both models nearly the same (own small)
#: little of the difference is due to the sample.
WORLDS = {
    "balanced": World(0.2, 0.3, 0.6),
    "test sample dominates": World(0.02, 0.3, 0.6),
    "seed noise dominates": World(0.4, 0.02, 0.05),
}
_MEAN, _SEED_NOISE = 1.0, 0.1


def skewed_seeds(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Quality of runs, mean 0, SD 1, skewness -1: a mirrored Gamma(4)."""
    quality: Floats = (4 - random.gamma(4.0, size=shape)) / 2
    return quality


def heavy_users(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """User effects, mean 0, SD 1: Student's t with 3 degrees of freedom."""
    effects: Floats = random.standard_t(3, shape) / np.sqrt(3)
    return effects


def crossed(
    random: np.random.Generator, seeds: int, users: int, se_seed: float, se_user: float
) -> Floats:
    """D (S, G) with mean 0: seed effects of two models, user effects, and the rest.

    se_seed, se_user: standard deviations of the means of the two effects over S and over G.
    """
    ours, theirs = skewed_seeds(random, (2, seeds))
    seed = (ours - theirs / 2) / np.sqrt(1.25)
    activity = random.lognormal(0.0, 1.0, users)
    activity /= np.sqrt(np.square(activity).mean())
    d = np.sqrt(users) * se_user * heavy_users(random, (users,))
    d = d + np.sqrt(seeds) * se_seed * seed[:, None]
    scale = 0.5 * np.sqrt(users) * min(se_user, se_seed)
    rest: Floats = d + scale * activity * random.normal(size=(seeds, users))
    return rest


def test_part(
    random: np.random.Generator, seeds: int, world: World, means: tuple[float, float]
) -> Scores:
    """Rows of users of log-normal activity, few positives, and what two models say of them.

    A positive row of user g scores mean + seed effect + effect of g above a negative one, in units
    of the row noise, part of which is common to both models and to all seeds.
    """
    activity = random.lognormal(0.0, 1.0, USERS)
    users = random.choice(USERS, ROWS, p=activity / activity.sum())
    labels = random.random(ROWS) < POSITIVE_RATE
    spread = np.array([1.0, 0.5])
    seed = world.seed_sd * spread[:, None] * skewed_seeds(random, (2, seeds))
    user = world.user_sd * heavy_users(random, (2, USERS))
    noise = np.sqrt(1 - world.own**2) * random.normal(size=ROWS)
    noise = noise + world.own * random.normal(size=(2, ROWS))
    signal = np.array(means)[:, None, None] + seed[:, :, None] + user[:, None, users]
    logits = labels * signal + noise[:, None]
    logits += _SEED_NOISE * random.normal(size=logits.shape)
    return Scores(labels, users, logits.astype(np.float32))


@cache
def true_auc(mean: float, world: World, spread: float) -> float:
    """Expected AUC of a model of `test_part`: E Phi((mean + effects) / SD), by quadrature."""
    q = (np.arange(1000) + 0.5) / 1000
    seed = spread * world.seed_sd * (4 - gamma.ppf(q, 4.0)) / 2
    user = world.user_sd * student.ppf(q, 3) / np.sqrt(3)
    shift = mean + seed[:, None] + user
    return float(ndtr(shift / np.sqrt(2 * (1 + _SEED_NOISE**2))).mean())


@cache
def means_for(world: World, delta: float) -> tuple[float, float]:
    """Means of the two models such that their expected AUCs differ by delta."""
    target = true_auc(_MEAN, world, 1.0) - delta
    return _MEAN, float(brentq(lambda m: true_auc(m, world, 0.5) - target, -2, 4, xtol=1e-7))


def difference(scores: Scores) -> Floats:
    """D (S, G) of the AUCs of the two models."""
    a, b = (
        np.stack([user_influence(scores.labels, z, scores.users)[1] for z in model])
        for model in scores.logits
    )
    found: Floats = a - b
    return found


def tally(
    seed: int, kind: str, seeds: int, regime: str, delta: float, repetitions: int, draws: int
) -> Tally:
    """Repeat `two_way` on simulated D whose true mean is delta; kind: "effects" or "test parts".

    Whether delta is rejected is asked of D - delta. draws: of the bootstrap, 0 for none.
    """
    random = np.random.default_rng(seed)
    covered = rejected = by_seeds = by_bootstrap = 0
    se_seed = se_user = 0.0
    for i in range(repetitions):
        if kind == "effects":
            d = delta + crossed(random, seeds, USERS, *REGIMES[regime])
        else:
            world = WORLDS[regime]
            d = difference(test_part(random, seeds, world, means_for(world, delta)))
        test = two_way(d, ALPHA)
        covered += test.ci_lo <= delta <= test.ci_hi
        rejected += two_way(d - delta, ALPHA).p < ALPHA
        by_seeds += t_test(test.mean - delta, test.se_seed, seeds - 1) < ALPHA
        se_seed += test.se_seed / repetitions
        se_user += test.se_user / repetitions
        if draws:
            lo, hi = two_way_bootstrap(d, draws, seed=i, alpha=ALPHA)
            by_bootstrap += not lo <= delta <= hi
    outside = by_bootstrap if draws else float("nan")
    return Tally(repetitions, covered, rejected, by_seeds, outside, se_seed, se_user)
