"""Weights from Gram matrices, against hand calculation and general optimisers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import minimize

from stembench.objectives import solvers


def gram(seed: int, tasks: int, spread: float = 1.0) -> np.ndarray:
    """Of random gradients whose lengths differ by up to some e^spread."""
    rng = np.random.default_rng(seed)
    g = rng.normal(size=(tasks, 12)) * rng.lognormal(sigma=spread, size=(tasks, 1))
    return g @ g.T


def on_simplex(value: object, tasks: int) -> np.ndarray:
    """The minimiser over the simplex by a general method, from several starts."""
    rng = np.random.default_rng(0)
    found = [
        minimize(
            value, start, method="SLSQP", bounds=[(0, 1)] * tasks, options={"ftol": 1e-13},
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        )
        for start in rng.dirichlet(np.ones(tasks), size=4)
    ]  # fmt: skip
    return min(found, key=lambda result: result.fun).x


def test_min_norm_of_two_gradients_is_the_closed_form() -> None:
    # g1 = (2, 0), g2 = (-1, 1): gamma = (g2 - g1) . g2 / ||g1 - g2||^2 = 4 / 10
    g = np.array([[2.0, 0.0], [-1.0, 1.0]])
    assert solvers.min_norm(g @ g.T) == pytest.approx([0.4, 0.6], abs=1e-12)
    # one gradient shorter than its projection on the other: it alone
    g = np.array([[1.0, 0.0], [3.0, 1.0]])
    assert solvers.min_norm(g @ g.T) == pytest.approx([1.0, 0.0], abs=1e-12)


def test_min_norm_of_three_gradients_is_the_known_point() -> None:
    # The simplex of the unit vectors: its point nearest to 0 is its centre. Lengths 1, 1 and 2 on
    # the axes: w_t ~ 1 / ||g_t||^2.
    assert solvers.min_norm(np.eye(3)) == pytest.approx([1 / 3] * 3, abs=1e-12)
    assert solvers.min_norm(np.diag([1.0, 1.0, 4.0])) == pytest.approx([4 / 9, 4 / 9, 1 / 9])
    # 0 lies inside the triangle: the norm is 0
    g = np.array([[1.0, 0.0], [-1.0, 1.0], [-1.0, -1.0]])
    w = solvers.min_norm(g @ g.T)
    assert w @ g == pytest.approx([0.0, 0.0], abs=1e-7)
    assert w == pytest.approx([0.5, 0.25, 0.25], abs=1e-6)


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_min_norm_meets_its_optimality_condition(seed: int, tasks: int) -> None:
    m = gram(seed, tasks)
    w = solvers.min_norm(m)
    assert w.min() >= 0
    assert w.sum() == pytest.approx(1)
    # ||d||^2 <= d . g_t for every t: no corner of the simplex leads lower.
    assert (m @ w).min() >= w @ m @ w - 1e-9 * np.trace(m)


def test_pcgrad_by_hand() -> None:
    # g1 = (1, 0), g2 = (-1, 1): g1 . g2 = -1.
    # g1 - (-1 / 2) g2 = (1/2, 1/2); g2 - (-1 / 1) g1 = (0, 1); their sum is (1/2, 3/2).
    g = np.array([[1.0, 0.0], [-1.0, 1.0]])
    w = solvers.projected(g @ g.T, [[1, 0], [0, 1]])
    assert w == pytest.approx([2.0, 1.5])
    assert w @ g == pytest.approx([0.5, 1.5])
    agreeing = np.array([[1.0, 0.0], [1.0, 1.0]])
    assert solvers.projected(agreeing @ agreeing.T, [[1], [0]]) == pytest.approx([1.0, 1.0])


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_pcgrad_equals_the_papers_algorithm_on_vectors(seed: int, tasks: int) -> None:
    rng = np.random.default_rng(seed)
    g = rng.normal(size=(tasks, 7))
    orders = [rng.permutation(tasks).tolist() for _ in range(tasks)]
    total = np.zeros(7)
    for i, order in enumerate(orders):
        own = g[i].copy()
        for j in order:
            if j != i and own @ g[j] < 0:
                own -= own @ g[j] / (g[j] @ g[j]) * g[j]
        total += own
    assert solvers.projected(g @ g.T, orders) @ g == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("tasks", [2, 3, 5])
@pytest.mark.parametrize("c", [0.2, 0.5, 0.9])
def test_cagrad_solves_the_papers_dual(tasks: int, c: float) -> None:
    m = gram(tasks, tasks, 0.5)
    mean = m.mean(1)
    radius = c * np.sqrt(mean.mean())

    def dual(w: np.ndarray) -> float:
        return float(w @ mean + radius * np.sqrt(w @ m @ w))

    w = on_simplex(dual, tasks)
    expected = 1 / tasks + radius / np.sqrt(w @ m @ w) * w
    assert solvers.conflict_averse(m, c) == pytest.approx(expected, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("tasks", [2, 4])
def test_cagrad_solves_the_primal(tasks: int) -> None:
    """The direction within c ||g_0|| of the mean whose worst task gains most."""
    rng = np.random.default_rng(tasks)
    g = rng.normal(size=(tasks, 5))
    mean, c = g.mean(0), 0.5
    d = solvers.conflict_averse(g @ g.T, c) @ g
    radius = c * np.linalg.norm(mean)
    assert np.linalg.norm(d - mean) <= radius * (1 + 1e-6)
    worst = (g @ d).min()
    for _ in range(2000):
        other = rng.normal(size=5)
        other = mean + radius * other / np.linalg.norm(other)
        assert (g @ other).min() <= worst + 1e-4


def test_cagrad_without_radius_is_the_mean() -> None:
    assert solvers.conflict_averse(gram(1, 3), 0.0) == pytest.approx([1 / 3] * 3)


@given(st.integers(0, 10_000), st.integers(2, 6), st.sampled_from([0.5, 1.0, 2.0, 5.0]))
@example(1259, 3, 5.0)  # weights of very different size
def test_fair_weights_are_the_fixed_point(seed: int, tasks: int, alpha: float) -> None:
    """FairGrad's M w = w^(-1/alpha); for alpha = 1 Nash-MTL's G^T G a = 1 / a."""
    m = gram(seed, tasks)
    w = solvers.fair(m, alpha)
    assert w.min() > 0
    assert m @ w * w ** (1 / alpha) == pytest.approx(np.ones(tasks), rel=1e-6)


def test_fair_weights_of_orthogonal_gradients_are_the_closed_form() -> None:
    # n_t^2 w = w^(-1/alpha): w = n_t^(-2 alpha / (alpha + 1)); Nash: the inverse length.
    lengths = np.array([0.1, 1.0, 30.0])
    assert solvers.fair(np.diag(lengths**2), 1.0) == pytest.approx(1 / lengths, rel=1e-6)
    w = solvers.fair(np.diag(lengths**2), 2.0)
    assert w == pytest.approx(lengths ** (-4 / 3), rel=1e-6)


def test_fair_weights_of_opposed_gradients_stay_finite() -> None:
    w = solvers.fair(np.array([[1.0, -1.0], [-1.0, 1.0]]), 1.0)
    assert np.isfinite(w).all()
    assert w[0] == pytest.approx(w[1])


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_aligned_equals_the_papers_svd_on_vectors(seed: int, tasks: int) -> None:
    g = np.random.default_rng(seed).normal(size=(tasks, 9))
    u, s, v = np.linalg.svd(g.T, full_matrices=False)  # columns are the gradients
    expected = (s.min() * u @ v) @ np.ones(tasks)
    assert solvers.aligned(g @ g.T) @ g == pytest.approx(expected, abs=1e-6)


def test_aligned_leaves_out_a_direction_that_is_not_there() -> None:
    g = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert solvers.aligned(g @ g.T) == pytest.approx([1.0, 1.0])
