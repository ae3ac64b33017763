"""AdaTT, PEPNet and HoME against a straight-line computation of their equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from stembench.errors import StembenchError
from stembench.models.adatt import AdaTT
from stembench.models.home import HoME
from stembench.models.pepnet import PEPNet
from tests.conftest import make_schema
from tests.models.oracle import (
    BOTTOM,
    DIM,
    MIXTURE,
    SCHEMA,
    T,
    affine,
    array,
    check,
    lookup,
    mix,
    mlp,
    normalise,
    prepared,
    sigmoid,
    softmax,
    towers,
    weigh,
)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(("shared", "specific"), [(2, 2), (3, 1), (1, 1)])
def test_adatt(layers: int, shared: int, specific: int) -> None:
    sizes = {"num_shared_experts": shared, "num_specific_experts": specific}
    n = prepared(AdaTT, **MIXTURE, **sizes, num_layers=layers)
    h = lookup(n.embeddings) * (T + 1)
    for index, level in enumerate(n.layers):
        own = [[mlp(e, h[u]) for e in level.experts[u]] for u in range(T + 1)]
        every = own[0] + own[1] + own[2] + own[3]
        units = T + 1 if index < layers - 1 else T
        assert len(level.gates) == units
        new = []
        for u in range(units):
            v = [1.0] if (shared, specific) == (1, 1) else array(level.native[u])
            native = sum(weight * e for weight, e in zip(v, own[u], strict=True))
            new.append(mix(level.gates[u], h[u], every) + native)
        h = new
    check(n, towers(n, h))


def test_pepnet() -> None:
    n = prepared(PEPNet, **BOTTOM, gate_units=[4])
    (x,) = lookup(n.embeddings)
    parts = dict(zip([f.name for f in SCHEMA.fields], np.split(x, 4, axis=1), strict=True))
    assert parts["hour"].shape[1] == DIM  # the context field, the last
    prior = np.hstack([parts["user_id"], parts["item_id"], parts["tags"]])
    gate = n.embedding_gate.mlp
    o = 2 * sigmoid(mlp(gate, np.hstack([parts["hour"], x]), True)) * x
    factors = [
        np.split(2 * sigmoid(mlp(g.mlp, np.hstack([prior, o]), True)), T, axis=1)
        for g in n.layer_gates
    ]
    outputs = []
    for t in range(T):
        h = o
        for layer, factor in zip(n.networks[t], factors, strict=True):
            h = factor[t] * np.maximum(affine(layer, h), 0)
        outputs.append(affine(n.heads[t][0], h))
    check(n, np.hstack(outputs))


def test_pepnet_gates_do_not_train_what_is_stopped() -> None:
    """With E_c, E_u and E_i cut off, the gates' gradient reaches no embedding."""
    n = prepared(PEPNet, **BOTTOM, gate_units=[4])
    x = n.embeddings(torch.from_numpy(np.zeros((5, SCHEMA.num_columns), np.int32)))[0]
    seen = []
    for gate in (n.embedding_gate, *n.layer_gates):
        gate.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    n(torch.from_numpy(np.zeros((5, SCHEMA.num_columns), np.int32)))
    for index, value in enumerate(seen):
        width = DIM if index == 0 else 3 * DIM  # the priors, then what is stopped
        assert value.shape[1] == width + x.shape[1]
        gradient = torch.autograd.grad(
            value[:, width:].sum(), n.embeddings.weight, allow_unused=True, retain_graph=True
        )[0]
        assert gradient is None or gradient.count_nonzero() == 0
        (gradient,) = torch.autograd.grad(value.sum(), n.embeddings.weight, retain_graph=True)
        assert gradient.count_nonzero() > 0  # of the priors


def test_pepnet_without_context_fields() -> None:
    fields = tuple(field for field in SCHEMA.fields if field.role != "context")
    schema = type(SCHEMA)(SCHEMA.dataset, fields, SCHEMA.tasks)
    n = PEPNet(schema, **BOTTOM)
    assert n(torch.zeros((4, schema.num_columns), dtype=torch.int32)).shape == (4, T)


def expert(network: nn.Sequential, x: np.ndarray) -> np.ndarray:
    *below, last = [m for m in network if isinstance(m, nn.Linear)]
    for layer in below:
        x = np.maximum(affine(layer, x), 0)
    (norm,) = [m for m in network if isinstance(m, nn.BatchNorm1d)]
    y = normalise(norm, affine(last, x))
    return y * sigmoid(y)


def outputs_of(unit: nn.Module, v: np.ndarray) -> list[np.ndarray]:
    gate = 2 * sigmoid(v @ array(unit.down.weight).T @ array(unit.up.weight).T)
    return [expert(e, v * gate) for e in unit.experts]


def alone(unit: nn.Module, v: np.ndarray, outputs: list[np.ndarray]) -> np.ndarray:
    scores = affine(unit.self_gate, v)
    return weigh(softmax(scores) if len(outputs) > 1 else sigmoid(scores), outputs)


@pytest.mark.parametrize("categories", [[], [2, 1, 2]])
@pytest.mark.parametrize("specific", [1, 2])
def test_home(categories: list[int], specific: int) -> None:
    sizes = {"num_shared_experts": 2, "num_specific_experts": specific, "rank": 2}
    n = prepared(HoME, **MIXTURE, **sizes, categories=categories)
    of = [1, 0, 1] if categories else [0, 0, 0]
    (v,) = lookup(n.embeddings)
    common, own = outputs_of(n.meta_shared, v), [outputs_of(unit, v) for unit in n.meta]
    z = [
        mix(n.meta_gates[c], v, own[c] + common) + alone(n.meta[c], v, own[c])
        for c in range(len(own))
    ]
    every = [*own[0], *(own[1] if categories else []), *common]
    z_shared = mix(n.meta_shared_gate, v, every) + alone(n.meta_shared, v, common)
    common = outputs_of(n.shared, z_shared)
    groups = [outputs_of(unit, x) for unit, x in zip(n.groups, z, strict=True)]
    mixed = []
    for t in range(T):
        mine = outputs_of(n.specific[t], z[of[t]])
        seen = mix(n.gates[t], np.hstack([z[of[t]], z_shared]), mine + groups[of[t]] + common)
        mixed.append(seen + alone(n.specific[t], z[of[t]], mine))
    check(n, towers(n, mixed))


def test_home_refuses_categories_of_another_number_of_tasks() -> None:
    with pytest.raises(StembenchError, match="2 categories for task_0, task_1, task_2"):
        HoME(make_schema(3), categories=[1, 2])
