"""Each architecture against a straight-line computation of its equations, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from stembench.data.schema import PADDING
from stembench.models.layers import EmbeddingBank
from stembench.models.mmoe import MMoE
from stembench.models.ple import PLE
from stembench.models.shared_bottom import SharedBottom
from stembench.models.single_task import SingleTask
from stembench.models.stem import STEM
from tests.conftest import make_fields, make_schema

SCHEMA = make_schema(2)
FIELDS = make_fields(SCHEMA, 40, seed=4)
DIM = 3
MIXTURE = {"expert_units": [6, 5], "gate_units": [4], "tower_units": [4], "embedding_dim": DIM}
BOTTOM = {"bottom_units": [6, 5], "tower_units": [4], "embedding_dim": DIM}


def prepared(architecture: type[nn.Module], **kwargs: object) -> nn.Module:
    torch.manual_seed(2)
    network = architecture(SCHEMA, **kwargs).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.6)
    return network


def lookup(bank: EmbeddingBank) -> list[np.ndarray]:
    """Per copy the concatenated field vectors, row by row and field by field."""
    weight = bank.weight.detach().numpy()
    copies: list[list[np.ndarray]] = [[] for _ in range(bank.copies)]
    for row in FIELDS:
        vectors, column, offset = [], 0, 0
        for field in SCHEMA.fields:
            ids = [i for i in row[column : column + field.columns] if i != PADDING]
            vectors.append(np.mean([weight[offset + i] for i in ids], axis=0))
            column, offset = column + field.columns, offset + field.size
        for copy in range(bank.copies):
            copies[copy].append(np.concatenate([v[copy * DIM : (copy + 1) * DIM] for v in vectors]))
    return [np.stack(rows) for rows in copies]


def mlp(network: nn.Sequential, x: np.ndarray, last_linear: bool = False) -> np.ndarray:
    linears = [m for m in network if isinstance(m, nn.Linear)]
    for index, layer in enumerate(linears):
        x = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        if not (last_linear and index == len(linears) - 1):
            x = np.maximum(x, 0)
    return x


def mix(gate: nn.Module, x: np.ndarray, outputs: list[np.ndarray]) -> np.ndarray:
    scores = np.exp(mlp(gate.mlp, x, last_linear=True))
    weights = scores / scores.sum(1, keepdims=True)
    return sum(weights[:, [i]] * output for i, output in enumerate(outputs))


def compute_single_task(n: nn.Module) -> np.ndarray:
    xs = lookup(n.embeddings)
    return np.hstack([mlp(n.towers[t], mlp(n.bottoms[t], xs[t]), True) for t in range(2)])


def compute_shared_bottom(n: nn.Module) -> np.ndarray:
    hidden = mlp(n.bottom, lookup(n.embeddings)[0])
    return np.hstack([mlp(tower, hidden, True) for tower in n.towers])


def compute_mmoe(n: nn.Module) -> np.ndarray:
    (x,) = lookup(n.embeddings)
    outputs = [mlp(expert, x) for expert in n.experts]
    return np.hstack([mlp(n.towers[t], mix(n.gates[t], x, outputs), True) for t in range(2)])


def compute_ple(n: nn.Module) -> np.ndarray:
    (shared,) = lookup(n.embeddings)
    xs = [shared, shared]
    for layer in n.layers:
        common = [mlp(expert, shared) for expert in layer.shared]
        own = [[mlp(e, xs[t]) for e in layer.specific[t]] for t in range(2)]
        xs = [mix(layer.gates[t], xs[t], own[t] + common) for t in range(2)]
        if layer.shared_sees is not None:
            shared = mix(layer.shared_gate, shared, own[0] + own[1] + common)
    return np.hstack([mlp(n.towers[t], xs[t], True) for t in range(2)])


def compute_stem(n: nn.Module) -> np.ndarray:
    first, second, shared = lookup(n.embeddings)
    every = [mlp(e, x) for t, x in enumerate((first, second)) for e in n.layers[0].specific[t]]
    every += [mlp(e, shared) for e in n.layers[0].shared]
    mixed = [mix(n.layers[0].gates[t], x + shared, every) for t, x in enumerate((first, second))]
    return np.hstack([mlp(n.towers[t], mixed[t], True) for t in range(2)])


@pytest.mark.parametrize(
    ("architecture", "kwargs", "compute"),
    [
        (SingleTask, BOTTOM, compute_single_task),
        (SharedBottom, BOTTOM, compute_shared_bottom),
        (MMoE, MIXTURE | {"num_experts": 3}, compute_mmoe),
        (PLE, MIXTURE | {"num_shared_experts": 2, "num_specific_experts": 2}, compute_ple),
        (PLE, MIXTURE | {"num_shared_experts": 2, "num_layers": 3}, compute_ple),
        (STEM, MIXTURE | {"num_shared_experts": 2, "num_specific_experts": 2}, compute_stem),
    ],
    ids=["single_task", "shared_bottom", "mmoe", "ple", "ple-3-layers", "stem"],
)
def test_forward_equals_the_equations(architecture, kwargs, compute) -> None:
    network = prepared(architecture, **kwargs)
    logits = network(torch.from_numpy(FIELDS)).detach().numpy()
    np.testing.assert_allclose(logits, compute(network), rtol=0, atol=1e-10)


def test_a_last_layer_has_no_shared_gate() -> None:
    network = prepared(PLE, num_layers=2, **MIXTURE)
    assert [hasattr(layer, "shared_gate") for layer in network.layers] == [True, False]
