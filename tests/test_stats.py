import math
import warnings

import numpy as np
import pytest
from scipy import stats as distributions
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from stembench.errors import StembenchError
from stembench.metrics import auc
from stembench.stats import holm, t_test, tost, two_way, user_influence


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
    spread = a**2 / (seeds - 1) + b**2 / (users - 1) + c**2 / ((seeds - 1) * (users - 1))
    return mean, a**0.5, b**0.5, variance**0.5, variance**2 / spread


@pytest.mark.parametrize("shape", [(2, 2), (5, 30), (10, 7)])
@pytest.mark.parametrize(("seed_sd", "user_sd"), [(0, 0), (1, 1), (5, 0), (0, 5)])
def test_two_way_is_the_explicit_anova(shape, seed_sd, user_sd):
    rng = np.random.default_rng(sum(shape))
    d = 0.3 + seed_sd * rng.normal(size=(shape[0], 1)) + user_sd * rng.normal(size=shape[1])
    d = d + rng.normal(size=shape)
    result = two_way(d, alpha=0.1)
    mean, _, _, se, df = slow = slow_two_way(d.tolist())
    assert result[:5] == pytest.approx(slow, rel=1e-10)
    interval = distributions.t.interval(0.9, df, mean, se)
    assert (result.ci_lo, result.ci_hi) == pytest.approx(interval, rel=1e-9)
    assert result.p == pytest.approx(2 * distributions.t.cdf(-abs(mean) / se, df), rel=1e-9)


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


def clustered(seed, rows=240, users=17):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, users, rows) * 3 + 5
    taste = rng.normal(size=codes.max() + 1)[codes]
    labels = (taste + rng.normal(size=rows) > 0.3).astype(np.uint8)
    scores = np.round(taste + rng.normal(size=rows), 1).astype(np.float32)
    return labels, scores, codes


def obuchowski(labels, scores, users):
    """AUC and its clustered variance, as Obuchowski (1997) writes them, by loops over pairs."""
    positives, negatives = np.flatnonzero(labels), np.flatnonzero(labels == 0)
    m, n = len(positives), len(negatives)
    wins = {
        (i, j): float(scores[i] > scores[j]) + 0.5 * float(scores[i] == scores[j])
        for i in positives
        for j in negatives
    }
    area = sum(wins.values()) / (m * n)
    v10 = {i: sum(wins[i, j] for j in negatives) / n for i in positives}
    v01 = {j: sum(wins[i, j] for i in positives) / m for j in negatives}
    clusters = sorted(set(users.tolist()))
    a = [sum(v10[i] - area for i in positives if users[i] == g) for g in clusters]
    b = [sum(v01[j] - area for j in negatives if users[j] == g) for g in clusters]
    k = len(clusters) / (len(clusters) - 1)
    s10 = k * sum(x * x for x in a) / m
    s01 = k * sum(x * x for x in b) / n
    s11 = k * sum(x * y for x, y in zip(a, b, strict=True))
    psi = [x / m + y / n for x, y in zip(a, b, strict=True)]
    return area, s10 / m + s01 / n + 2 * s11 / (m * n), psi


@pytest.mark.parametrize("seed", range(3))
def test_user_influence_gives_the_clustered_variance(seed):
    labels, scores, users = clustered(seed)
    area, d = user_influence(labels, scores, users)
    expected, variance, psi = obuchowski(labels, scores, users)
    assert area == pytest.approx(expected, abs=1e-13)
    assert d.mean() == pytest.approx(area, abs=1e-13)
    np.testing.assert_allclose(d, area + len(psi) * np.array(psi), atol=1e-12)
    assert d.var(ddof=1) / len(d) == pytest.approx(variance, rel=1e-10)


def test_user_influence_of_one_user_a_row_is_delong():
    labels, scores, _ = clustered(4)
    _, d = user_influence(labels, scores, np.arange(len(labels)))
    _, variance, _ = obuchowski(labels, scores, np.arange(len(labels)))
    assert d.var(ddof=1) / len(d) == pytest.approx(variance, rel=1e-10)


def test_user_influence_is_the_slope_in_the_weight_of_a_user():
    """psi_g is the derivative of the AUC when user g counts more; here g counts twice."""
    labels, scores, users = clustered(5, rows=4000, users=400)
    area, d = user_influence(labels, scores, users)
    g = int(np.argmax(abs(d - area)))
    twice = np.concatenate([np.arange(len(labels)), np.flatnonzero(users == np.unique(users)[g])])
    change = auc(labels[twice], scores[twice]) - area
    assert change == pytest.approx((d[g] - area) / len(d), rel=0.05)


def test_user_influence_needs_the_users_of_the_rows():
    with pytest.raises(StembenchError, match="1 users for 2 rows"):
        user_influence([0, 1], [0.0, 1.0], [1])


def test_t_test_is_the_paired_t_of_scipy():
    x = np.random.default_rng(1).normal(0.4, 1, 7)
    se = x.std(ddof=1) / math.sqrt(7)
    assert t_test(x.mean(), se, 6) == pytest.approx(distributions.ttest_1samp(x, 0).pvalue)
    assert (t_test(0.0, 0.0, 4), t_test(0.1, 0.0, 4)) == (1, 0)


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed):
    p = np.random.default_rng(seed).random(12) ** 3
    p[3] = p[7]
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-14)


def test_holm_counts_tests_that_could_not_be_made():
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.03, np.nan, 0.08])
    assert holm([]).shape == (0,)


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
