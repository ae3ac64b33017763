"""Task weights from the tasks' gradients, by their inner products alone.

All take the Gram matrix M = G G^T of the task gradients g_t, rows of G (T, P), as float64 (T, T),
and return weights w (T,) such that the method's direction is sum_t w_t g_t: T numbers instead of P.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, nnls

Array = NDArray[np.float64]

#: Added to a Gram matrix of mean diagonal 1, so that parallel gradients do not make it singular.
RIDGE = 1e-12


def scaled(gram: Array) -> tuple[Array, float]:
    """The Gram matrix over its mean diagonal, and that mean."""
    scale = float(np.trace(gram)) / len(gram)
    return gram / scale, scale


def root(gram: Array) -> Array:
    """R (T, T) with R^T R = M: columns with the gradients' lengths and angles."""
    values, vectors = np.linalg.eigh(gram)
    result: Array = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    return result


def min_norm(gram: Array) -> Array:
    """argmin over the simplex of ||sum_t w_t g_t||^2, exact for any T.

    With w = u / sum(u), u minimises ||R u||^2 + (sum(u) - 1)^2 over u >= 0: for a fixed w the best
    length of u leaves n^2 / (1 + n^2), which grows with the norm n. That is a non-negative least
    squares problem, which an active set method ends after finitely many steps.
    """
    unit, _ = scaled(gram)
    tasks = len(gram)
    u, _ = nnls(np.vstack([root(unit), np.ones(tasks)]), np.append(np.zeros(tasks), 1.0))
    weights: Array = u / u.sum()
    return weights


def projected(gram: Array, orders: Sequence[Sequence[int]]) -> Array:
    """PCGrad: each g_i, in the order given for it, loses its part along every g_j it conflicts
    with; the weights of the sum of what is left."""
    tasks = len(gram)
    weights = np.zeros(tasks)
    for i, order in enumerate(orders):
        own = np.zeros(tasks)  # g_i as a combination of the gradients
        own[i] = 1.0
        for j in order:
            inner = float(gram[j] @ own)
            if j != i and inner < 0:
                own[j] -= inner / gram[j, j]
        weights += own
    return weights


def conflict_averse(gram: Array, c: float) -> Array:
    """CAGrad: d = g_0 + c ||g_0|| g_w / ||g_w||, g_0 the mean gradient, g_w = sum_t w_t g_t with w
    the minimiser over the simplex of g_w . g_0 + c ||g_0|| ||g_w||."""
    unit, _ = scaled(gram)
    tasks = len(gram)
    mean = unit.mean(1)  # g_t . g_0
    radius = c * float(np.sqrt(max(mean.mean(), 0.0)))

    def value(w: Array) -> tuple[float, Array]:
        along = unit @ w
        norm = float(np.sqrt(max(float(w @ along), 0.0) + 1e-12))
        return float(w @ mean) + radius * norm, mean + radius * along / norm

    found = minimize(
        value,
        np.full(tasks, 1 / tasks),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * tasks,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(tasks)},
        options={"ftol": 1e-9, "maxiter": 100},
    )
    w = np.clip(found.x, 0.0, None)
    w /= w.sum()
    norm = float(np.sqrt(max(float(w @ unit @ w), 0.0) + 1e-12))
    weights: Array = 1 / tasks + radius / norm * w
    return weights


def fair(gram: Array, alpha: float, steps: int = 60) -> Array:
    """FairGrad: the w > 0 with M w = w^(-1/alpha); for alpha = 1 that is Nash-MTL's.

    It is the minimum of the convex w^T M w / 2 - sum_t f(w_t), f' = w^(-1/alpha): damped Newton
    while the value can tell steps apart, then full steps until the equation holds to 1e-10 in every
    row, however small its weight, or gets no better.
    """
    unit, scale = scaled(gram)
    unit = unit + RIDGE * np.eye(len(gram))
    power = 1 / alpha
    w: Array = np.diag(unit).clip(1e-8) ** (-1 / (1 + power))  # exact for orthogonal gradients

    def merit(w: Array) -> float:
        f = np.log(w) if power == 1 else w ** (1 - power) / (1 - power)
        return float(w @ unit @ w / 2 - f.sum())

    value, best = merit(w), np.inf
    for _ in range(steps):
        slope = unit @ w - w**-power
        step = -np.linalg.solve(unit + np.diag(power * w ** (-power - 1)), slope)
        promise = -float(slope @ step)
        length = min(1.0, 0.9 / max(1e-300, float((-step / w).max())))  # stay positive
        if promise <= 1e-15 * max(1.0, abs(value)):
            error = float(np.abs(slope * w**power).max())
            if error <= 1e-10 or error >= best:
                break
            best = error
        else:
            while merit(w + length * step) > value - 1e-4 * length * promise:
                length /= 2
                if length < 1e-4:  # rounding: this is as low as it gets
                    break
        w = w + length * step
        value = merit(w)
    weights: Array = w * scale ** (-1 / (1 + power))  # back to the scale of M
    return weights


def aligned(gram: Array) -> Array:
    """Aligned-MTL: the sum of the gradients after all singular values of G are made the smallest
    non-zero one: w = sqrt(lambda_min) V diag(lambda^(-1/2)) V^T 1 with M = V diag(lambda) V^T."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > max(values.max(), 0.0) * len(gram) * np.finfo(np.float32).eps
    values, vectors = values[kept], vectors[:, kept]
    weights: Array = vectors @ (np.sqrt(values.min() / values) * vectors.sum(0))
    return weights
