import math

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from stembench.errors import StembenchError
from stembench.stats import two_way
from stembench.stats.power import (
    Components,
    Variance,
    components,
    detectable,
    power,
    seeds_needed,
    users_needed,
    variance,
)


@pytest.mark.parametrize(
    ("sd", "seeds"), [(2e-4, 3), (5e-4, 5), (1e-3, 10), (1.5e-3, 20), (2e-3, 34)]
)
def test_seeds_of_the_paired_t(sd, seeds):
    parts = Components(sd, 0)
    assert seeds_needed(parts, 1000, 1e-3) == seeds
    solver = TTestPower()
    assert solver.power(1e-3 / sd, seeds, 0.05) >= 0.8 > solver.power(1e-3 / sd, seeds - 1, 0.05)


@pytest.mark.parametrize("delta", [0.0, 0.3, 2.0])
def test_power_is_that_of_statsmodels(delta):
    expected = TTestPower().power(delta, 7, 0.1)
    assert power(delta, Variance(1 / 7, 6, 6), 0.1) == pytest.approx(expected, rel=1e-9)
    assert (power(0.1, Variance(0, 6, 6), 0.1), power(0.0, Variance(0, 6, 6), 0.1)) == (1, 0)
    normal = Variance(1 / 7, math.inf, math.inf)
    assert power(delta, normal, 0.1) == pytest.approx(
        power(delta, Variance(1 / 7, 1e9, 1e9), 0.1), rel=1e-6
    )


def test_mde_is_seen_with_the_power_asked_for():
    parts = Components(1e-3, 0.02, 0.05)
    for seeds, users in ((5, 300), (20, 5000), (math.inf, 400)):
        mde = detectable(parts, seeds, users, 0.05, 0.9)
        spread = variance(parts, seeds, users)
        assert power(mde, spread, 0.05) == pytest.approx(0.9, abs=1e-9)


def test_more_seeds_cannot_pass_the_floor_of_the_test_sample():
    parts, users = Components(1e-3, 0.2), 20_000
    floor = detectable(parts, math.inf, users)
    assert floor == pytest.approx(2.8 * 0.2 / math.sqrt(users), rel=0.01)
    assert detectable(parts, 10_000, users) == pytest.approx(floor, rel=1e-3)
    assert seeds_needed(parts, users, 0.9 * floor) is None
    needed = seeds_needed(parts, users, 1.05 * floor)
    assert needed is not None
    assert detectable(parts, needed, users) <= 1.05 * floor < detectable(parts, needed - 1, users)


def test_users_cannot_make_up_for_seeds():
    parts = Components(1e-3, 0.2)
    least = detectable(parts, 5, math.inf)
    assert users_needed(parts, 5, 0.9 * least) is None
    needed = users_needed(parts, 5, 2 * least)
    assert needed is not None
    assert detectable(parts, 5, needed) <= 2 * least < detectable(parts, 5, needed - 1)


def test_components_of_simulated_effects():
    random = np.random.default_rng(0)
    d = 3 * random.normal(size=(200, 1)) + 7 * random.normal(size=300)
    found = components(d + 5 * random.normal(size=(200, 300)))
    assert found == pytest.approx((3, 7, 5), rel=0.15)


def test_components_give_the_variance_of_the_test_that_is_planned():
    random = np.random.default_rng(1)
    d = random.normal(size=(6, 1)) + 5 * random.normal(size=40) + random.normal(size=(6, 40))
    test = two_way(d)
    total, df, df_test = variance(components(d), 6, 40)
    assert math.sqrt(total) == pytest.approx(test.se_total, rel=1e-9)
    assert df_test == pytest.approx(test.df, rel=1e-9)
    assert df > df_test


def test_too_little_is_refused():
    with pytest.raises(StembenchError, match="2 seeds and 2 users"):
        variance(Components(1, 1), 1, 5)
    with pytest.raises(StembenchError, match="2 seeds and 2 users"):
        components(np.zeros((1, 5)))
