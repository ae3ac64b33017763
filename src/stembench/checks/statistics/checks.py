"""Checks of the statistics: each gives rows with an estimate, its Monte-Carlo error and bounds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions

from stembench.analysis.pairs import read_logits, test_part
from stembench.analysis.runs import Group
from stembench.checks.statistics import simulate
from stembench.checks.statistics.simulate import ALPHA, REGIMES, USERS, WORLDS
from stembench.metrics import factorise
from stembench.stats import holm, two_way, user_influence
from stembench.stats.power import Components, detectable

Row = dict[str, Any]
Floats = NDArray[np.float64]

COLUMNS = (
    *("check", "setting", "seeds", "repetitions", "estimate", "mc_se", "lower", "upper"),
    *("result", "note"),
)
#: Bounds of the type-I error and of the coverage of 95% intervals, held by the estimate itself.
TYPE_I, COVERAGE = 0.06, (0.935, 0.965)
#: Of the nulls: rejections up to alpha and so many Monte-Carlo standard errors.
NULL_SLACK = 2.0
#: Disjoint halves of a model's seeds that are drawn in the null on real runs.
SPLITS = 1000
#: Non-zero differences: of the simulated effects, in standard errors, and of AUC.
DELTAS = {"effects": 2.0, "test parts": 0.03}


def row(
    check: str,
    setting: str,
    seeds: int | None,
    counts: tuple[int, int],
    bounds: tuple[float | None, float | None],
    slack: float,
    note: str = "",
    mc_se: float | None = None,
) -> Row:
    """A row of COLUMNS for a rate of counts = (hits, repetitions).

    bounds: None where there is none, two of them make the row informative only; slack: Monte-Carlo
    standard errors by which the bounds are widened, 0 in the full form.
    """
    rate = counts[0] / counts[1]
    se = math.sqrt(rate * (1 - rate) / counts[1]) if mc_se is None else mc_se
    lower, upper = bounds
    result = "info"
    if lower is not None or upper is not None:
        # Of a rate at the bound: that of an estimate of 0 or 1 would be 0.
        low, high = (
            None if b is None else sign * slack * math.sqrt(b * (1 - b) / counts[1]) + b
            for b, sign in ((lower, -1), (upper, 1))
        )
        inside = (low is None or rate >= low) and (high is None or rate <= high)
        result = "pass" if inside else "FAIL"
    found: Row = {"check": check, "setting": setting, "seeds": seeds, "repetitions": counts[1]}
    found |= {"estimate": rate, "mc_se": se, "lower": lower, "upper": upper}
    return found | {"result": result, "note": note}


def grid(quick: bool, seed: int) -> list[tuple[Any, ...]]:
    """Arguments of `simulate.tally`, one cell of the crossed-effects grid each."""
    cells: list[tuple[Any, ...]] = []
    for kind, seeds, regime, zero in itertools.product(DELTAS, (5, 10), REGIMES, (True, False)):
        if kind == "test parts" and seeds == 10 and (zero or quick):
            continue  # the slowest, and the test of the true difference is made at the other one
        delta = 0.0 if zero else DELTAS[kind]
        times = {("effects", True): 250, ("test parts", True): 30, ("effects", False): 10_000}
        repetitions = times.get((kind, quick), 6000)
        cells.append((seed + len(cells), kind, seeds, regime, delta, repetitions, 0))
        if kind == "effects" and zero and not quick:
            cells.append((seed + len(cells), kind, seeds, regime, delta, 1000, 200))
    return cells


def grid_rows(cell: tuple[Any, ...], found: simulate.Tally, slack: float) -> list[Row]:
    """Type-I error, coverage, and for comparison the tests that count one source only."""
    _, kind, seeds, regime, delta, _, draws = cell
    n = found.repetitions
    setting = f"{kind}, {regime}, difference {delta:g}"
    if draws:
        note = "for comparison: percentile interval of the two-way bootstrap leaves it out"
        hits = (int(found.by_bootstrap), n)
        return [row("two-way bootstrap", setting, seeds, hits, (None, None), 0, note)]
    note = f"SE by seeds {found.se_seed:.2g}, by users {found.se_user:.2g}"
    rows = [
        row("type-I error", setting, seeds, (found.rejected, n), (None, TYPE_I), slack, note),
        row("coverage of 95% CI", setting, seeds, (found.covered, n), COVERAGE, slack),
    ]
    if delta == 0:
        note = "for comparison: the paired t over seeds rejects"
        rows.append(row("t over seeds", setting, seeds, (found.by_seeds, n), (None, None), 0, note))
    return rows


def family_wise(seed: int, quick: bool, slack: float) -> list[Row]:
    """Any false rejection after Holm among 4 models × 3 tasks that share the reference's runs."""
    random = np.random.default_rng(seed)
    repetitions, users, tests = 60 if quick else 5000, 200, 12
    rows = []
    cells = [(5, tests, regime) for regime in REGIMES]
    for seeds, true, regime in (*cells, (10, tests, "balanced"), (5, 6, "balanced")):
        wrong = 0
        for _ in range(repetitions):
            spreads = REGIMES[regime]
            reference = [simulate.crossed(random, seeds, users, *spreads) for _ in range(3)]
            p = []
            for k in range(tests):
                d = reference[k % 3] - simulate.crossed(random, seeds, users, *spreads)
                p.append(two_way(d + (0 if k < true else 10), ALPHA).p)
            wrong += bool((holm(p)[:true] < ALPHA).any())
        setting = f"{tests} tests, {true} of them null, {regime}"
        rows.append(
            row("family-wise error", setting, seeds, (wrong, repetitions), (None, ALPHA), slack)
        )
    return rows


def planned_power(seed: int, quick: bool, slack: float) -> list[Row]:
    """The difference that `power` calls detectable with power .8 is seen that often."""
    random = np.random.default_rng(seed)
    repetitions = 200 if quick else 10_000
    rows = []
    for seeds, parts in itertools.product(
        (5, 10), (Components(1e-3, 0), Components(1e-3, 0.02, 0.01), Components(2e-4, 0.02, 0.02))
    ):
        mde = detectable(parts, seeds, USERS, ALPHA, 0.8)
        hits = 0
        for _ in range(repetitions):
            d = mde + parts.seed * random.normal(size=(seeds, 1))
            d = d + parts.user * random.normal(size=USERS)
            hits += two_way(d + parts.rest * random.normal(size=(seeds, USERS)), ALPHA).p < ALPHA
        setting = f"SD over seeds {parts.seed:g}, users {parts.user:g}, rest {parts.rest:g}"
        rows.append(
            row("power at the MDE", setting, seeds, (hits, repetitions), (0.77, 0.83), slack)
        )
    return rows


def simulated_nulls(seed: int, quick: bool, slack: float) -> list[Row]:
    """Swapped users and split seeds, on independent simulated test parts."""
    random = np.random.default_rng(seed)
    rows = []
    for regime, world in WORLDS.items():
        means = simulate.means_for(world, 0.05)
        swapped, split = [], []
        for _ in range(20 if quick else 2000):
            part = simulate.test_part(random, 5, world, means)
            flip = random.random(USERS) < 0.5
            swapped.append(_p(part.labels, _swap(part.logits, flip[part.users]), part.users))
        rows += _null_rows("user-swap null", f"simulated, {regime}", 5, swapped, slack)
        for _ in range(10 if quick else 1000):
            part = simulate.test_part(random, 10, world, means)
            one = part.logits[0]
            split.append(_p(part.labels, np.stack([one[:5], one[5:]]), part.users))
        rows += _null_rows("split-seed null", f"simulated, {regime}", 5, split, slack)
    return rows


def real_nulls(groups: list[Group], seed: int, quick: bool) -> list[Row]:
    """The same on finished runs: each model's seeds split in two, each pair's users swapped.

    Halves of 5 seeds and of all that there are. Repetitions on one model and task are not
    independent: the Monte-Carlo error is taken over models × tasks × data sets, and the bound is
    alpha plus NULL_SLACK of it.
    """
    random = np.random.default_rng(seed)
    split: dict[int, list[Floats]] = {}
    swapped: list[Floats] = []
    for group in groups:
        part = test_part(group)
        codes, distinct = factorise(part.users)
        for model, t in itertools.product(group.models, range(len(group.tasks))):
            cells, y = group.sound(model), part.labels[:, t]
            if len(cells) < 4:
                continue
            d = np.stack(
                [user_influence(y, read_logits(c, part)[:, t], part.users)[1] for c in cells]
            )
            for half in sorted({len(cells) // 2, min(5, len(cells) // 2)}):
                halves = _splits(d, half, 10 if quick else SPLITS, random)
                p = np.array([two_way(x, ALPHA).p for x in halves])
                split.setdefault(half, []).append(p)
        for pair, t in itertools.product(itertools.pairwise(group.models), range(len(group.tasks))):
            runs = [{c.seed: c for c in group.sound(model)} for model in pair]
            seeds = [s for s in runs[0] if s in runs[1]][:5]
            if len(seeds) < 2:
                continue
            logits = np.stack([[read_logits(side[s], part)[:, t] for s in seeds] for side in runs])
            flips = random.random((3 if quick else 100, len(distinct))) < 0.5
            y = part.labels[:, t]
            swapped.append(np.array([_p(y, _swap(logits, flip[codes]), codes) for flip in flips]))
    rows = [
        _clustered("split-seed null", "runs of one model", half, split[half])
        for half in sorted(split)
    ]
    if swapped:
        rows.append(_clustered("user-swap null", "runs of two models, 5 seeds", None, swapped))
    return rows


def _splits(
    d: Floats, half: int, times: int, random: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Differences (half, G) of two disjoint random sets of the seeds, `times` of them."""
    for _ in range(times):
        order = random.permutation(len(d))[: 2 * half]
        yield d[order[:half]] - d[order[half:]]


def _swap(logits: NDArray[Any], flip: NDArray[np.bool_]) -> NDArray[Any]:
    """Logits (2, S, N) with the two models exchanged where flip (N,)."""
    return np.where(flip, logits[::-1], logits)


def _p(labels: NDArray[Any], logits: NDArray[Any], users: NDArray[Any]) -> float:
    """p of the difference of two models' AUCs, logits (2, S, N)."""
    a, b = (np.stack([user_influence(labels, z, users)[1] for z in side]) for side in logits)
    return two_way(a - b, ALPHA).p


def _null_rows(check: str, setting: str, seeds: int, p: list[float], slack: float) -> list[Row]:
    """Rejections at alpha, and whether p is anywhere smaller than uniform (Kolmogorov-Smirnov)."""
    hits = sum(value < ALPHA for value in p)
    ks = float(distributions.kstest(p, "uniform", alternative="greater").pvalue)
    note = f"bound alpha + 2 SE; p smaller than uniform? Kolmogorov-Smirnov p {ks:.2g}"
    bound = ALPHA + NULL_SLACK * math.sqrt(ALPHA * (1 - ALPHA) / len(p))
    return [row(check, setting, seeds, (hits, len(p)), (None, bound), slack, note)]


def _clustered(check: str, setting: str, seeds: int | None, p: list[Floats]) -> Row:
    """Rejections over several combinations, whose spread is the Monte-Carlo error."""
    rates = np.array([(x < ALPHA).mean() for x in p])
    n = sum(len(x) for x in p)
    hits = int(sum((x < ALPHA).sum() for x in p))
    independent = math.sqrt(ALPHA * (1 - ALPHA) / n)
    se = max(float(rates.std(ddof=1)) / math.sqrt(len(p)) if len(p) > 1 else 0.0, independent)
    note = f"{len(p)} combinations of data set, task and model; bound alpha + 2 SE over them"
    return row(check, setting, seeds, (hits, n), (None, ALPHA + NULL_SLACK * se), 0, note, se)
