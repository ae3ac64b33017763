import itertools
import math

import numpy as np
import pytest
from scipy import stats as distributions

from stembench.errors import StembenchError
from stembench.stats import (
    bootstrap,
    critical_difference,
    iqm,
    probability_of_improvement,
    rank_draws,
    ranks,
    seed_bootstrap,
    two_way,
    two_way_bootstrap,
    wilcoxon,
)


@pytest.mark.parametrize("seed", range(4))
def test_wilcoxon_is_the_exact_one_of_scipy(seed):
    d = np.random.default_rng(seed).normal(0.4, 1, 6 + seed)
    expected = distributions.wilcoxon(d, method="exact").pvalue
    assert wilcoxon(d).p == pytest.approx(expected, rel=1e-12)


def test_wilcoxon_with_ties_and_zeros_counts_all_signs():
    d = np.array([1, 1, -1, 2, 2, 3, -2, 0, 4])
    x = d[d != 0]
    ranks_ = distributions.rankdata(abs(x))
    observed = ranks_[x > 0].sum()
    sums = [
        sum(r for r, s in zip(ranks_, signs, strict=True) if s)
        for signs in itertools.product((0, 1), repeat=len(x))
    ]
    upper = np.mean([s >= observed for s in sums])
    lower = np.mean([s <= observed for s in sums])
    assert wilcoxon(d).p == pytest.approx(min(1, 2 * min(upper, lower)))


@pytest.mark.parametrize(("n", "alpha", "least"), [(5, 0.05, 6), (5, 0.0625, 6), (7, 0.01, 8)])
def test_wilcoxon_says_where_it_cannot_reject(n, alpha, least):
    found = wilcoxon(np.arange(1, n + 1), alpha)
    assert math.isnan(found.p)
    assert f"{least} can" in found.note
    enough = wilcoxon(np.arange(1, least + 1), alpha)
    assert enough.p == 2.0 ** (1 - least) < alpha
    assert enough.note == ""


def test_wilcoxon_refuses_nan():
    with pytest.raises(StembenchError, match="finite differences"):
        wilcoxon([0.1, math.nan])


def test_probability_of_improvement_is_mann_whitneys_u():
    random = np.random.default_rng(0)
    a, b = np.round(random.normal(size=9), 1), np.round(random.normal(size=6), 1)
    expected = distributions.mannwhitneyu(a, b).statistic / 54
    assert probability_of_improvement(a, b) == pytest.approx(expected)
    assert probability_of_improvement([1, 2], [0]) == 1
    with pytest.raises(StembenchError, match="on either side"):
        probability_of_improvement([], [1])


@pytest.mark.parametrize("n", [1, 3, 4, 11, 40])
def test_iqm_is_the_trimmed_mean_of_scipy(n):
    x = np.random.default_rng(n).normal(size=n)
    assert iqm(x) == pytest.approx(distributions.trim_mean(x, 0.25))


def test_two_way_bootstrap_agrees_with_the_two_way_variance():
    random = np.random.default_rng(2)
    d = 0.4 + random.normal(size=(60, 1)) + 4 * random.normal(size=500)
    d = d + random.normal(size=(60, 500))
    test, (lo, hi) = two_way(d), two_way_bootstrap(d, 2000, seed=1)
    assert (lo, hi) == pytest.approx((test.ci_lo, test.ci_hi), abs=0.1 * (test.ci_hi - test.ci_lo))
    assert (lo, hi) == two_way_bootstrap(d, 2000, seed=1) != two_way_bootstrap(d, 2000, seed=2)


def test_two_way_bootstrap_survives_draws_without_a_seed():
    lo, hi = two_way_bootstrap(np.array([[1.0, 2.0], [3.0, 4.0]]), 500, seed=0)
    assert 1 <= lo < hi <= 4
    with pytest.raises(StembenchError, match="2 seeds, 2 users"):
        two_way_bootstrap(np.zeros((1, 9)), 500, seed=0)


def test_seed_bootstrap_keeps_the_seeds_of_a_stratum_together():
    random = np.random.default_rng(3)
    one = random.normal(size=(2, 12))
    one[1] = one[0] + 1

    def gap(strata):
        return (strata[0][1] - strata[0][0]).mean()

    np.testing.assert_allclose(seed_bootstrap([one], gap, 50, seed=0), 1.0)
    means = seed_bootstrap([one[:1]], lambda strata: strata[0].mean(), 3000, seed=0)
    assert means.std() == pytest.approx(one[0].std() / math.sqrt(12), rel=0.1)


def scores(random, tasks, order):
    """Model i of `order` is better than those after it, by far more than its seeds vary."""
    base = np.argsort(np.argsort(order))[::-1].astype(float)
    return base[:, None] + 0.01 * random.normal(size=(tasks, len(order), 6))


def test_ranks_average_over_the_tasks_of_a_data_set_first():
    random = np.random.default_rng(4)
    both = [scores(random, 1, [0, 1, 2]), scores(random, 3, [0, 1, 2])]
    both[1][2] = -both[1][2]
    np.testing.assert_allclose(ranks(both), [[1, 2, 3], [5 / 3, 2, 7 / 3]])
    tied = np.zeros((1, 2, 4))
    np.testing.assert_allclose(ranks([tied]), [[1.5, 1.5]])
    with pytest.raises(StembenchError, match="same models"):
        ranks([tied, np.zeros((1, 3, 4))])


def test_rank_draws_of_clear_winners_do_not_vary():
    random = np.random.default_rng(5)
    average, first = rank_draws([scores(random, 2, [0, 1, 2])] * 4, 50, seed=0)
    np.testing.assert_allclose(average, [[1, 2, 3]] * 50)
    np.testing.assert_allclose(first, [[1, 0, 0]] * 50)


def test_p_first_of_equal_models_is_equal():
    random = np.random.default_rng(6)
    data = [random.normal(size=(1, 4, 8)) for _ in range(100)]
    _, first = rank_draws(data, 15, seed=0)
    np.testing.assert_allclose(first.mean(axis=0), 0.25, atol=0.12)
    np.testing.assert_allclose(first.sum(axis=1), 1)


def test_critical_difference_is_nemenyis():
    assert critical_difference(8, 3) == pytest.approx(6.06, abs=0.005)
    # Demsar (2006), table 5: q = 2.343 for three models at .05.
    assert critical_difference(3, 10) == pytest.approx(2.343 * math.sqrt(3 * 4 / 60), rel=1e-3)


def test_the_weights_are_poisson():
    counts = bootstrap._poisson(np.random.default_rng(3), (1000, 500))
    assert counts.dtype == np.float64
    seen = np.bincount(counts.astype(int).ravel(), minlength=8)
    seen = np.append(seen[:7], seen[7:].sum())
    expected = distributions.poisson.pmf(np.arange(7), 1.0)
    expected = np.append(expected, 1 - expected.sum()) * counts.size
    assert distributions.chisquare(seen, expected).pvalue > 1e-3
    edges = distributions.poisson.cdf(np.arange(12), 1.0) * 2.0**32
    np.testing.assert_allclose(bootstrap._POISSON, edges, atol=1)
