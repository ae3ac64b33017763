r"""Data made so that the truth is known: tasks whose users' tastes agree or disagree.

With u a user, i an item, c(i) its category, h the hour of a row, and T tasks:

    s_u ~ N(0, I)                          taste shared by the tasks, `latent` numbers
    t_u,1 .. t_u,T ~ N(0, R)               tastes of the tasks, in each of the `latent` numbers;
                                           R = `correlation`: one rho for all pairs, or a matrix
    q_i, r_i = sqrt(0.7) center_c(i) + sqrt(0.3) noise     item vectors for the two kinds of taste
    logit_task = bias_task + shared x + specific y_task + 0.2 sin(2 pi h / 24)
    x = <s_u, q_i> / SD,  y_task = <t_u,task, r_i> / SD    SD over the rows
    label_task ~ Bernoulli(sigmoid(logit_task))

so that `shared` and `specific` are the standard deviations of the two terms of the logit. The bias
is solved such that the mean probability equals `positive_rates[task]`. With rho = 1 the tasks share
all tastes; with rho < 0 a single user embedding has to serve opposite ends. Users are active with a
log-normal long tail (`user_tail` is its sigma), items likewise by `item_tail`, 0: equally often.
Rows come in random order.

With `tilt` > 0 users also differ in how often each task is positive: z_u ~ N(0, 1), and to the
logit of task t comes tilt z_u e_t, e going evenly from 1/2 for the first task to -1/2 for the last.
The third of the users with the least |z_u|, whose positives are the most alike in number, have
tastes of the correlation R; those of the others have the correlation `tilted_correlation`. So
conflict can be put where samples are comparable, and only there.

Rows are a stream: any range of them can be made alone, from random numbers that are found by
the row's number, and memory goes with users and items, not with rows. SD and bias are taken over
the first 2^20 rows: exact for tables up to that size; beyond, the mean probability of all rows
differs from `positive_rates` by sampling, with a standard error below 0.0005.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import brentq
from scipy.special import expit, logit

from stembench.errors import StembenchError

FILE = "rows.parquet"
#: Columns that tell the outcome, besides the labels; see `leaks`.
LEAKS: dict[str, str] = {"p_*": "the true probability of a label"}

_BLOCK = 1 << 18  # rows made at a time; no row depends on it
_SAMPLE = 1 << 20  # rows that the scales and biases are taken from
_ITEMS_PER_CATEGORY = 10
_CATEGORY_SHARE = 0.7
_HOUR_EFFECT = 0.2
_ROWS_PER_USER = 5
_ROUNDS = 6
_LEAST_TILTED = 0.4307  # a third of N(0, 1) lies within

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Count = Annotated[int, Field(ge=1)]
Size = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Cosine = Annotated[float, Field(ge=-1, le=1)]


def load(root: Path) -> pl.LazyFrame:
    """Columns user_id, item_id, item_category, hour, and per task its label and p_<task>."""
    return pl.scan_parquet(root / FILE)


def leaks(*, positive_rates: dict[str, Share]) -> dict[str, str]:
    """Every label that is made, also one that no task of the entry is made from."""
    return dict.fromkeys(positive_rates, "it is a label")


def generate(
    root: Path,
    *,
    rows: Count,
    users: Count,
    items: Count,
    latent: Count,
    correlation: Cosine | list[list[float]],
    shared: Size,
    specific: Size,
    positive_rates: dict[str, Share],
    seed: Annotated[int, Field(ge=0)],
    user_tail: Size = 0.7,
    item_tail: Size = 0.0,
    tilt: Size = 0.0,
    tilted_correlation: Cosine | list[list[float]] | None = None,
) -> None:
    """Write rows.parquet into `root`; equations at the top of this file. Same seed, same bytes.

    Raises StembenchError for no task, a correlation that no tastes can have, a rate outside
    (0, 1), a negative tail, tilt or seed, one of tilt and tilted_correlation without the other, or
    fewer rows than users.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not positive_rates:
        raise StembenchError("synthetic data need a task: positive_rates names none")
    if not all(0 < rate < 1 for rate in positive_rates.values()):
        raise StembenchError(f"positive_rates must lie in (0, 1), not {positive_rates}")
    if rows < users:
        raise StembenchError(f"synthetic data need a row per user: {rows} rows, {users} users")
    if seed < 0:
        raise StembenchError(f"seed must not be negative, not {seed}")
    if min(user_tail, item_tail) < 0:
        raise StembenchError(f"a tail must not be negative: user {user_tail}, item {item_tail}")
    if tilt < 0 or (tilt > 0) != (tilted_correlation is not None):
        raise StembenchError(
            f"tilt {tilt} and tilted_correlation {tilted_correlation}: give both, tilt above 0, or "
            f"none"
        )
    matrix = correlations(correlation, len(positive_rates))
    world = World(rows, users, items, latent, matrix, seed, user_tail, item_tail)
    if tilted_correlation is not None:
        world.tilt(tilt, correlations(tilted_correlation, len(positive_rates)))
    world.calibrate(shared, specific, positive_rates)
    writer = None
    for block in world.blocks():
        table = pa.table(block)
        writer = writer or pq.ParquetWriter(root / FILE, table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None  # there is a row
    writer.close()


def correlations(correlation: float | list[list[float]], tasks: int) -> Floats:
    """R (T, T) from one number for all pairs, or a matrix.

    Raises StembenchError for another size, or when it is no correlation matrix.
    """
    if isinstance(correlation, list):
        matrix = np.array(correlation, dtype=np.float64)
    else:
        matrix = np.full((tasks, tasks), float(correlation))
        np.fill_diagonal(matrix, 1.0)
    if matrix.shape != (tasks, tasks):
        raise StembenchError(f"correlation is {matrix.shape}, with {tasks} tasks in positive_rates")
    if not (np.array_equal(matrix, matrix.T) and (np.diag(matrix) == 1).all()):
        raise StembenchError("correlation must be symmetric with ones in its diagonal")
    if (np.abs(matrix) > 1).any() or np.linalg.eigvalsh(matrix)[0] < -1e-9:
        least = -1.0 if tasks == 1 else -1 / (tasks - 1)
        raise StembenchError(
            f"no {tasks} tastes have that correlation: one number for all pairs must lie in "
            f"[{least:.3g}, 1], a matrix must be positive semidefinite"
        )
    return matrix


def tastes(random: np.random.Generator, users: int, latent: int, matrix: Floats) -> Floats:
    """Task-specific tastes (T, users, latent), each N(0, 1), correlated over tasks as `matrix`."""
    factor = np.zeros_like(matrix)  # lower triangular, also where the matrix is singular
    for j in range(len(matrix)):
        pivot = matrix[j, j] - factor[j, :j] @ factor[j, :j]
        if pivot > 1e-12:
            factor[j, j] = np.sqrt(pivot)
            below = matrix[j + 1 :, j] - factor[j + 1 :, :j] @ factor[j, :j]
            factor[j + 1 :, j] = below / factor[j, j]
    noise = random.standard_normal((len(matrix), users, latent))
    correlated: Floats = np.einsum("ts,sul->tul", factor, noise)
    return correlated


class World:
    """Users and items, drawn; `rows` makes any range of rows from them."""

    def __init__(
        self,
        rows: int,
        users: int,
        items: int,
        latent: int,
        matrix: Floats,
        seed: int,
        user_tail: float = 0.7,
        item_tail: float = 0.0,
    ) -> None:
        random = np.random.default_rng([seed, *b"synthetic"])
        self.length, self.seed = rows, seed
        self.taste = random.standard_normal((users, latent))
        self.tastes = tastes(random, users, latent, matrix)
        self.category = random.permutation(np.arange(items) // _ITEMS_PER_CATEGORY)
        self.for_shared = _item_vectors(random, self.category, latent)
        self.for_specific = _item_vectors(random, self.category, latent)
        # A few rows for each user, the rest by activity: user k has the places below ends[k].
        few = min(_ROWS_PER_USER, rows // users)
        activity = random.lognormal(0.0, user_tail, users)
        drawn = random.multinomial(rows - few * users, activity / activity.sum())
        self.ends = np.cumsum(few + drawn)
        popularity = random.lognormal(0.0, item_tail, items)
        self.item_ends = np.cumsum(popularity / popularity.sum()) if item_tail > 0 else None
        self.keys = random.integers(0, 2**63, _ROUNDS, dtype=np.uint64)
        self.scales = np.ones(1 + len(matrix))  # of x, then of each task's y
        self.biases: dict[str, float] = {}
        self.tilts: Floats | None = None  # (users, T), added to the logits

    def tilt(self, deviation: float, matrix: Floats) -> None:
        """Tilt users towards tasks, and give the tilted ones tastes correlated as `matrix`."""
        random = np.random.default_rng([self.seed, *b"tilt"])
        _, users, latent = self.tastes.shape
        z: Floats = random.standard_normal((users,))
        others = tastes(random, users, latent, matrix)
        tilted = np.abs(z) > _LEAST_TILTED
        self.tastes[:, tilted] = others[:, tilted]
        self.tilts = np.outer(deviation * z, np.linspace(0.5, -0.5, len(self.tastes)))

    def calibrate(self, shared: float, specific: float, rates: dict[str, float]) -> None:
        """Find the scales of the terms and the biases; over the first 2^20 rows."""
        user, item, hour = self._drawn(0, min(self.length, _SAMPLE))
        terms = [self.taste, *self.tastes]
        for place, taste in enumerate(terms):
            deviation = self._term(taste, user, item, place > 0).std()
            strength = specific if place else shared
            self.scales[place] = strength / deviation if deviation > 0 else strength
        for place, (task, rate) in enumerate(rates.items()):
            self.biases[task] = _bias(self._score(place, user, item, hour), rate)

    def blocks(self) -> Iterator[dict[str, NDArray[np.generic]]]:
        """All rows, a block of columns after the other."""
        for first in range(0, self.length, _BLOCK):
            yield self.rows(first, min(first + _BLOCK, self.length))

    def rows(self, first: int, last: int) -> dict[str, NDArray[np.generic]]:
        """Columns of the rows from `first` up to `last`, which is not included."""
        user, item, hour = self._drawn(first, last)
        columns: dict[str, NDArray[np.generic]] = {
            "user_id": user,
            "item_id": item,
            "item_category": self.category[item],
            "hour": hour,
        }
        for place, (task, bias) in enumerate(self.biases.items()):
            probability: Floats = expit(bias + self._score(place, user, item, hour))
            luck = self._uniform(f"label {place}", first, last)
            columns[task] = (luck < probability).astype(np.uint8)
            columns[f"p_{task}"] = probability
        return columns

    def _drawn(self, first: int, last: int) -> tuple[Integers, Integers, Integers]:
        """User, item and hour of the rows."""
        places = shuffled(np.arange(first, last), self.length, self.keys)
        user = np.searchsorted(self.ends, places, side="right")
        luck = self._uniform("item", first, last)
        if self.item_ends is None:
            item = (luck * len(self.category)).astype(np.int64)
        else:
            found = np.searchsorted(self.item_ends, luck, side="right")
            item = np.minimum(found, len(self.category) - 1)  # the last end may round below 1
        return user, item, (self._uniform("hour", first, last) * 24).astype(np.int64)

    def _score(self, task: int, user: Integers, item: Integers, hour: Integers) -> Floats:
        """The task's logit without its bias."""
        score: Floats = self.scales[0] * self._term(self.taste, user, item, False)
        score += self.scales[1 + task] * self._term(self.tastes[task], user, item, True)
        score += _HOUR_EFFECT * np.sin(2 * np.pi * hour / 24)
        if self.tilts is not None:
            score += self.tilts[user, task]
        return score

    def _term(self, taste: Floats, user: Integers, item: Integers, specific: bool) -> Floats:
        vectors = self.for_specific if specific else self.for_shared
        product: Floats = np.einsum("nk,nk->n", taste[user], vectors[item])
        return product

    def _uniform(self, stream: str, first: int, last: int) -> Floats:
        """Numbers in [0, 1) of the rows: that of a row depends on its number alone."""
        bits = np.random.PCG64(np.random.SeedSequence([self.seed, *b"rows", *stream.encode()]))
        numbers: Floats = np.random.Generator(bits.advance(first)).random(last - first)
        return numbers


def shuffled(index: Integers, size: int, keys: NDArray[np.uint64]) -> Integers:
    """Where a pseudo-random permutation of range(size) puts these indices.

    A Feistel network over the cells (a, b) of a grid that is hardly larger than `size`; what lands
    outside goes through again, so that every index has a place of its own.
    """
    side = np.uint64(isqrt(size - 1) + 1)
    high = np.uint64(-(-size // int(side)))
    out = index.astype(np.uint64)
    todo = np.arange(len(out))
    while len(todo):
        a, b = np.divmod(out[todo], side)
        for turn, key in enumerate(keys):
            if turn % 2:
                a = (a + _mixed(b ^ key) % high) % high
            else:
                b = (b + _mixed(a ^ key) % side) % side
        out[todo] = a * side + b
        todo = todo[out[todo] >= size]
    return out.astype(np.int64)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the result depends on every bit of x (the finaliser of splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _item_vectors(random: np.random.Generator, category: Integers, latent: int) -> Floats:
    """(items, latent), clustered so that the category tells much of the item."""
    centers = random.standard_normal((category.max() + 1, latent))
    noise = random.standard_normal((len(category), latent))
    vectors: Floats = (
        np.sqrt(_CATEGORY_SHARE) * centers[category] + np.sqrt(1 - _CATEGORY_SHARE) * noise
    )
    return vectors


def _bias(score: Floats, rate: float) -> float:
    """The bias at which the mean of sigmoid(bias + score) is `rate`."""
    start, reach = float(logit(rate)), float(np.abs(score).max()) + 1
    return float(brentq(lambda b: expit(b + score).mean() - rate, start - reach, start + reach))
