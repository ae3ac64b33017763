r"""Data made so that the truth is known: two tasks whose users' tastes agree or disagree.

With u a user, i an item, c(i) its category, h the hour of a row, and a task:

    s_u ~ N(0, I)                          taste shared by the tasks, `latent` numbers
    t_u,A ~ N(0, I)                        taste of the first task
    t_u,B = rho t_u,A + sqrt(1 - rho^2) n  that of the second, n ~ N(0, I), rho = `correlation`
    q_i, r_i = sqrt(0.7) center_c(i) + sqrt(0.3) noise     item vectors for the two kinds of taste
    logit_task = bias_task + shared x + specific y_task + 0.2 sin(2 pi h / 24)
    x = <s_u, q_i> / SD,  y_task = <t_u,task, r_i> / SD    SD over the rows
    label_task ~ Bernoulli(sigmoid(logit_task))

so that `shared` and `specific` are the standard deviations of the two terms of the logit. The bias
is solved such that the mean probability equals `positive_rates[task]`. With rho = 1 the tasks share
all tastes; with rho < 0 a single user embedding has to serve opposite ends. Users are active
with a log-normal long tail, items equally often; rows come in random order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from stembench.errors import StembenchError

FILE = "rows.parquet"
#: Columns that tell the outcome.
LEAKS: dict[str, str] = {"p_*": "the true probability of a label"}

_ITEMS_PER_CATEGORY = 10
_CATEGORY_SHARE = 0.7
_HOUR_EFFECT = 0.2
_ACTIVITY_SIGMA = 0.7
_ROWS_PER_USER = 5

Floats = NDArray[np.float64]


def load(root: Path) -> pl.LazyFrame:
    """Columns user_id, item_id, item_category, hour, and per task its label and p_<task>."""
    return pl.scan_parquet(root / FILE)


def generate(
    root: Path,
    *,
    rows: int,
    users: int,
    items: int,
    latent: int,
    correlation: float,
    shared: float,
    specific: float,
    positive_rates: dict[str, float],
    seed: int,
) -> None:
    """Write rows.parquet into `root`; equations at the top of this file. Same seed, same bytes.

    Raises StembenchError for more than two tasks (one correlation does not define them), a
    correlation outside [-1, 1], a rate outside (0, 1), or fewer rows than users.
    """
    if not 1 <= len(positive_rates) <= 2:
        raise StembenchError(
            f"synthetic data have one or two tasks, positive_rates names {len(positive_rates)}"
        )
    if not -1 <= correlation <= 1:
        raise StembenchError(f"correlation must lie in [-1, 1], not {correlation}")
    if not all(0 < rate < 1 for rate in positive_rates.values()):
        raise StembenchError(f"positive_rates must lie in (0, 1), not {positive_rates}")
    if rows < users:
        raise StembenchError(f"synthetic data need a row per user: {rows} rows, {users} users")
    if seed < 0:
        raise StembenchError(f"seed must not be negative, not {seed}")
    random = np.random.default_rng([seed, *b"synthetic"])
    taste = random.standard_normal((users, latent))
    task_tastes = tastes(random, users, latent, correlation)
    category = random.permutation(np.arange(items) // _ITEMS_PER_CATEGORY)
    for_shared = _item_vectors(random, category, latent)
    for_specific = _item_vectors(random, category, latent)

    user = _active_users(random, rows, users)
    item = random.integers(0, items, rows)
    hour = random.integers(0, 24, rows)
    common = shared * _unit(np.einsum("nk,nk->n", taste[user], for_shared[item]))
    common += _HOUR_EFFECT * np.sin(2 * np.pi * hour / 24)
    columns: dict[str, NDArray[np.generic]] = {
        "user_id": user,
        "item_id": item,
        "item_category": category[item],
        "hour": hour,
    }
    for (task, rate), own in zip(positive_rates.items(), task_tastes, strict=False):
        score = specific * _unit(np.einsum("nk,nk->n", own[user], for_specific[item])) + common
        probability = expit(_bias(score, rate) + score)
        columns[task] = (random.random(rows) < probability).astype(np.uint8)
        columns[f"p_{task}"] = probability
    pl.DataFrame(columns).write_parquet(root / FILE)


def tastes(
    random: np.random.Generator, users: int, latent: int, correlation: float
) -> tuple[Floats, Floats]:
    """Task-specific tastes (users, latent) of two tasks, each N(0, 1), with that correlation."""
    first = random.standard_normal((users, latent))
    noise = random.standard_normal((users, latent))
    return first, correlation * first + np.sqrt(1 - correlation**2) * noise


def _item_vectors(random: np.random.Generator, category: NDArray[np.int64], latent: int) -> Floats:
    """(items, latent), clustered so that the category tells much of the item."""
    centers = random.standard_normal((category.max() + 1, latent))
    noise = random.standard_normal((len(category), latent))
    vectors: Floats = (
        np.sqrt(_CATEGORY_SHARE) * centers[category] + np.sqrt(1 - _CATEGORY_SHARE) * noise
    )
    return vectors


def _active_users(random: np.random.Generator, rows: int, users: int) -> NDArray[np.int64]:
    """User of every row: a few rows for each user, the rest by a log-normal activity."""
    few = min(_ROWS_PER_USER, rows // users)
    activity = random.lognormal(0.0, _ACTIVITY_SIGMA, users)
    drawn = random.choice(users, rows - few * users, p=activity / activity.sum())
    return random.permutation(np.concatenate([np.repeat(np.arange(users), few), drawn]))


def _unit(term: Floats) -> Floats:
    """Scaled to a standard deviation of 1; left alone when constant."""
    deviation = term.std()
    return term / deviation if deviation > 0 else term


def _bias(score: Floats, rate: float) -> float:
    """The bias at which the mean of sigmoid(bias + score) is `rate`."""
    start, reach = float(logit(rate)), float(np.abs(score).max()) + 1
    return float(brentq(lambda b: expit(b + score).mean() - rate, start - reach, start + reach))
