"""Models of dependent tasks, and cross-stitch, against a computation of their equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from stembench.models.aitm import AITM
from stembench.models.cross_stitch import CrossStitch
from stembench.models.esmm import ESMM
from stembench.models.resflow import ResFlow
from tests.models.oracle import (
    BOTTOM,
    DIM,
    FIELDS,
    T,
    affine,
    array,
    check,
    lookup,
    mlp,
    normalise,
    prepared,
    sigmoid,
    softmax,
    towers,
)

LABELS = (np.random.default_rng(0).random((len(FIELDS), T)) < 0.4).astype(float)


def cross_entropy(p: np.ndarray, y: np.ndarray) -> float:
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(0).sum())


def test_aitm() -> None:
    n = prepared(AITM, **BOTTOM)
    (x,) = lookup(n.embeddings)
    z = [mlp(bottom, x) for bottom in n.bottoms]
    h1, h2, h3 = n.attention
    for t in (1, 2):
        p, q = affine(n.transfers[t - 1], z[t - 1]), z[t]
        scores = [(affine(h2, u) * affine(h3, u)).sum(1) / np.sqrt(5) for u in (p, q)]
        w = softmax(np.stack(scores, axis=1))
        z[t] = w[:, [0]] * affine(h1, p) + w[:, [1]] * affine(h1, q)
    check(n, towers(n, z))


@pytest.mark.parametrize("weight", [0.0, 0.6])
def test_aitm_loss_has_the_calibrator(weight: float) -> None:
    n = prepared(AITM, **BOTTOM, calibration=weight)
    logits = n(torch.from_numpy(FIELDS))
    p = sigmoid(array(logits))
    excess = np.maximum(p[:, 1] - p[:, 0], 0) + np.maximum(p[:, 2] - p[:, 1], 0)
    assert excess.mean() > 0.01
    expected = cross_entropy(p, LABELS) + weight * excess.mean()
    assert n.loss(logits, torch.from_numpy(LABELS)).item() == pytest.approx(expected, abs=1e-10)
    losses = n.task_losses(logits, torch.from_numpy(LABELS))
    third = (
        cross_entropy(p[:, 2:], LABELS[:, 2:]) + weight * np.maximum(p[:, 2] - p[:, 1], 0).mean()
    )
    assert losses.shape == (T,)
    assert losses[2].item() == pytest.approx(third, abs=1e-10)


def test_esmm_returns_the_logit_of_the_product() -> None:
    n = prepared(ESMM, 2, bottom_units=[6, 5], embedding_dim=DIM)
    (x,) = lookup(n.embeddings)
    click, conversion = (sigmoid(mlp(tower, x, True)) for tower in n.towers)
    p = np.hstack([click, click * conversion])
    check(n, np.log(p / (1 - p)))
    loss = nn.functional.binary_cross_entropy_with_logits(
        n(torch.from_numpy(FIELDS)), torch.from_numpy(LABELS[:, :2]), reduction="none"
    )
    assert loss.mean(0).sum().item() == pytest.approx(cross_entropy(p, LABELS[:, :2]), abs=1e-10)


def test_esmm_stays_finite_where_the_product_rounds_to_one_or_nought() -> None:
    n = prepared(ESMM, 2, bottom_units=[6, 5], embedding_dim=DIM)
    n.float()
    with torch.no_grad():
        for tower in n.towers:
            tower[-1].weight.mul_(200)
    logits = n(torch.from_numpy(FIELDS))
    assert logits.abs().max() > 100
    labels = torch.from_numpy(LABELS[:, :2]).float()
    loss = nn.functional.binary_cross_entropy_with_logits(logits, labels)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in n.parameters())


@pytest.mark.parametrize("batch_norm", [True, False])
def test_resflow(batch_norm: bool) -> None:
    n = prepared(ResFlow, **BOTTOM, batch_norm=batch_norm)
    (x,) = lookup(n.embeddings)
    if batch_norm:
        x = normalise(n.normalise, x)
    before, logit, expected = [0.0, 0.0, 0.0], 0.0, []
    for t in range(T):
        h = x
        for index, layer in enumerate(n.networks[t]):  # 6 and 5 of the bottom, 4 of the tower
            y = affine(layer[0], h)
            y = np.where(y > 0, y, array(layer[1].weight) * y)
            y = normalise(layer[2], y) if batch_norm else y
            h = before[index] = y + before[index]
        logit = affine(n.heads[t][0], h) + logit
        expected.append(logit)
    check(n, np.hstack(expected))


def test_cross_stitch() -> None:
    n = prepared(CrossStitch, **BOTTOM)
    (x,) = lookup(n.embeddings)
    h = [x] * T
    for layer, stitch in zip(n.layers, n.stitches, strict=True):
        y, a = [mlp(layer[t], h[t]) for t in range(T)], array(stitch)
        h = [sum(a[t, u] * y[u] for u in range(T)) for t in range(T)]
    check(n, towers(n, h))


@pytest.mark.parametrize(("tasks", "own", "other"), [(1, 1.0, None), (2, 0.9, 0.1), (3, 0.9, 0.05)])
def test_cross_stitch_starts_near_the_identity(tasks: int, own: float, other: float | None) -> None:
    from tests.conftest import make_schema

    for stitch in CrossStitch(make_schema(tasks), **BOTTOM).stitches:
        expected = np.full((tasks, tasks), other or 0.0)
        np.fill_diagonal(expected, own)
        np.testing.assert_allclose(array(stitch), expected, rtol=1e-6)
