import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from stembench.stats import benjamini_hochberg, holm


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed):
    p = np.random.default_rng(seed).random(12) ** 3
    p[3] = p[7]
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-14)


def test_holm_counts_tests_that_could_not_be_made():
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.03, np.nan, 0.08])
    assert holm([]).shape == (0,)


@pytest.mark.parametrize("seed", range(5))
def test_benjamini_hochberg_is_that_of_statsmodels(seed):
    p = np.random.default_rng(seed).random(15) ** 2
    p[2] = p[9]
    np.testing.assert_allclose(
        benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1], rtol=1e-13
    )


def test_benjamini_hochberg_counts_tests_that_could_not_be_made():
    np.testing.assert_allclose(benjamini_hochberg([0.01, np.nan, 0.04]), [0.03, np.nan, 0.06])
    assert benjamini_hochberg([]).shape == (0,)
