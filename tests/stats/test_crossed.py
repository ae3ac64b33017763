import math
import warnings

import numpy as np
import pytest
from scipy import stats as distributions
from statsmodels.stats.weightstats import ttost_paired

from stembench.errors import StembenchError
from stembench.stats import t_test, tost, two_way
from stembench.stats.crossed import cautious_df


def slow_two_way(d):
    """The formula of `two_way`, term by term: (mean, se_seed, se_user, se_total, df)."""
    seeds, users = len(d), len(d[0])
    mean = sum(sum(row) for row in d) / (seeds * users)
    rows = [sum(row) / users for row in d]
    columns = [sum(row[g] for row in d) / seeds for g in range(users)]
    var_rows = sum((x - mean) ** 2 for x in rows) / (seeds - 1)
    var_columns = sum((x - mean) ** 2 for x in columns) / (users - 1)
    ss = 0.0
    for s in range(seeds):
        for g in range(users):
            ss += (d[s][g] - rows[s] - columns[g] + mean) ** 2
    ms = ss / ((seeds - 1) * (users - 1))
    a, b, c = var_rows / seeds, var_columns / users, ms / (seeds * users)
    variance = max(a + b - c, a, b)
    # The shares that rest on the fewer and on the more units, linear: sum w_i (1 / df_i).
    fewer, share = (seeds, a / variance) if seeds < users else (users, b / variance)
    df = 1 / (share / (fewer - 1) + (1 - share) / (max(seeds, users) - 1))
    return mean, a**0.5, b**0.5, variance**0.5, df


@pytest.mark.parametrize("shape", [(2, 2), (5, 30), (10, 7)])
@pytest.mark.parametrize(("seed_sd", "user_sd"), [(0, 0), (1, 1), (5, 0), (0, 5)])
def test_two_way_is_the_explicit_anova(shape, seed_sd, user_sd):
    rng = np.random.default_rng(sum(shape))
    d = 0.3 + seed_sd * rng.normal(size=(shape[0], 1)) + user_sd * rng.normal(size=shape[1])
    d = d + rng.normal(size=shape)
    result = two_way(d, alpha=0.1)
    mean, _, _, se, df = slow = slow_two_way(d.tolist())
    assert result[:5] == pytest.approx(slow, rel=1e-10)
    assert result[5:7] == pytest.approx(distributions.t.interval(0.9, df, mean, se), rel=1e-9)
    assert result.p == pytest.approx(2 * distributions.t.sf(abs(mean) / se, df), rel=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(("seeds", "users"), [(5, 400), (10, 7), (3, math.inf), (math.inf, 9)])
def test_df_are_never_more_than_satterthwaites_nor_fewer_than_a_sources_own(share, seeds, users):
    dfs = (seeds - 1, users - 1)
    inverse = share**2 / dfs[0] + (1 - share) ** 2 / dfs[1]
    found = cautious_df(share, 1 - share, seeds, users)
    satterthwaite = 1 / inverse if inverse else math.inf
    assert min(dfs) * (1 - 1e-12) <= found <= satterthwaite * (1 + 1e-12)
    if share in (0.0, 1.0):  # one source alone: its own Student's t
        assert found == pytest.approx(dfs[share == 0.0])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("level", [0.05, 0.05 / 12])
def test_the_critical_value_is_cochran_and_coxs_to_the_first_order(share, level):
    """Their mean of Student's critical values, weighed by the shares; the rest falls as 1/df^2."""
    gaps = []
    for scale in (1, 10):
        dfs = (40 * scale, 300 * scale)
        found = cautious_df(share, 1 - share, dfs[0] + 1, dfs[1] + 1)
        theirs = np.average(distributions.t.isf(level / 2, dfs), weights=(share, 1 - share))
        gaps.append(theirs - distributions.t.isf(level / 2, found))
    assert 0 <= gaps[0] < 2e-3
    assert gaps[1] == pytest.approx(gaps[0] / 100, rel=0.15, abs=1e-8)


def test_a_residual_alone_is_given_to_the_source_with_fewer_units():
    d = np.random.default_rng(3).normal(size=(4, 300))
    assert two_way(d).df == pytest.approx(two_way(d.T).df)


def test_p_of_huge_differences_underflows_to_nothing():
    assert two_way(np.random.default_rng(1).normal(size=(6, 500)) + 1e6).p < 1e-20


def test_two_way_variance_never_falls_below_either_source():
    d = np.array([[1.0, -1.0], [-1.0, 1.0]])  # all residual: the plain estimate is negative
    result = two_way(d)
    assert (result.se_seed, result.se_user, result.se_total) == (0, 0, 0)
    floored = two_way(d + np.array([[0.5], [0.0]]))
    assert floored.se_total == floored.se_seed > 0


@pytest.mark.parametrize("d", [np.zeros((5, 9)), np.full((2, 2), 0.0)])
def test_identical_models_differ_by_nothing(d):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = two_way(d)
    assert result[:4] == (0, 0, 0, 0)
    assert (result.ci_lo, result.ci_hi, result.p) == (0, 0, 1)
    assert math.isfinite(result.df)


def test_two_way_without_spread_is_certain():
    result = two_way(np.full((4, 8), 0.25))
    assert (result.mean, result.ci_lo, result.ci_hi, result.p) == (0.25, 0.25, 0.25, 0)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (5,), (0, 0)])
def test_two_way_needs_two_of_each(shape):
    with pytest.raises(StembenchError, match="at least 2 seeds and 2 users"):
        two_way(np.zeros(shape))


def test_two_way_refuses_nan():
    with pytest.raises(StembenchError, match="NaN or infinite"):
        two_way(np.full((3, 3), np.nan))


@pytest.mark.parametrize(
    ("seed_sd", "user_sd"), [(0.0, 1.0), (1.0, 0.0), (0.1, 1.0)], ids=["sample", "seed", "both"]
)
def test_two_way_keeps_its_level(seed_sd, user_sd):
    """Type-I error at a nominal .05 with 5 seeds; `both`: equal variances of the two means."""
    rng = np.random.default_rng(20230)
    seeds, users, repetitions = 5, 500, 1000
    rejected = conditional = 0
    for _ in range(repetitions):
        d = seed_sd * rng.normal(size=(seeds, 1)) + user_sd * rng.normal(size=users)
        result = two_way(d + 0.5 * rng.normal(size=(seeds, users)))
        rejected += result.p < 0.05
        conditional += t_test(result.mean, result.se_seed, seeds - 1) < 0.05
    assert 0.02 <= rejected / repetitions <= 0.08
    if seed_sd < user_sd:  # the test over seeds alone does not
        assert conditional / repetitions > 0.1


def test_t_test_is_the_paired_t_of_scipy():
    x = np.random.default_rng(1).normal(0.4, 1, 7)
    se = x.std(ddof=1) / math.sqrt(7)
    assert t_test(x.mean(), se, 6) == pytest.approx(distributions.ttest_1samp(x, 0).pvalue)
    assert (t_test(0.0, 0.0, 4), t_test(0.1, 0.0, 4)) == (1, 0)


@pytest.mark.parametrize("shift", [-0.3, 0.0, 0.1, 0.6])
def test_tost_is_that_of_statsmodels(shift):
    rng = np.random.default_rng(3)
    a, b = rng.normal(shift, 0.4, 20), rng.normal(0, 0.4, 20)
    d = a - b
    expected = ttost_paired(a, b, -0.5, 0.5)[0]
    actual = tost(d.mean(), d.std(ddof=1) / math.sqrt(20), 19, 0.5)
    assert actual == pytest.approx(expected, rel=1e-9)


def test_tost_closed_forms():
    # df = 1 is the Cauchy distribution: P(t > x) = 1/2 - atan(x) / pi.
    assert tost(0.2, 0.4, 1, 0.6) == pytest.approx(0.25)
    assert tost(-0.2, 0.4, 1, 0.6) == pytest.approx(0.25)
    assert tost(0.6, 0.1, 9, 0.6) == pytest.approx(0.5)
    assert (tost(0.0, 0.0, 4, 1e-3), tost(0.1, 0.0, 4, 1e-3)) == (0, 1)
    with pytest.raises(StembenchError, match="margin must be positive"):
        tost(0.0, 1.0, 4, 0.0)
