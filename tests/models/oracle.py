"""What the tests of equations compute with: numpy on a model's weights, no torch layer."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from stembench.data.schema import PADDING
from stembench.models.embeddings import EmbeddingBank
from tests.conftest import make_fields, make_schema

SCHEMA = make_schema(3)
FIELDS = make_fields(SCHEMA, 40, seed=4)
DIM = 3
T = SCHEMA.num_tasks
BOTTOM = {"bottom_units": [6, 5], "tower_units": [4], "embedding_dim": DIM}
MIXTURE = {"expert_units": [6, 5], "gate_units": [4], "tower_units": [4], "embedding_dim": DIM}


def prepared(architecture: type[nn.Module], tasks: int = T, **kwargs: object) -> nn.Module:
    """The model in float64, with weights far from their start."""
    torch.manual_seed(2)
    network = architecture(make_schema(tasks), **kwargs).double()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.6)
    return network


def check(network: nn.Module, expected: np.ndarray) -> None:
    logits = network(torch.from_numpy(FIELDS)).detach().numpy()
    assert logits.shape == expected.shape
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-10)


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def lookup(bank: EmbeddingBank) -> list[np.ndarray]:
    """Per copy the concatenated field vectors, row by row and field by field."""
    weight, dim = array(bank.weight), bank.dim
    copies: list[list[np.ndarray]] = [[] for _ in range(bank.copies)]
    for row in FIELDS:
        vectors, column, offset = [], 0, 0
        for field in SCHEMA.fields:
            ids = [i for i in row[column : column + field.columns] if i != PADDING]
            vectors.append(np.mean([weight[offset + i] for i in ids], axis=0))
            column, offset = column + field.columns, offset + field.size
        for copy in range(bank.copies):
            copies[copy].append(np.concatenate([v[copy * dim : (copy + 1) * dim] for v in vectors]))
    return [np.stack(rows) for rows in copies]


def affine(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    y = x @ array(layer.weight).T
    return y if layer.bias is None else y + array(layer.bias)


def mlp(network: nn.Sequential, x: np.ndarray, last_linear: bool = False) -> np.ndarray:
    linears = [m for m in network if isinstance(m, nn.Linear)]
    for index, layer in enumerate(linears):
        x = affine(layer, x)
        if not (last_linear and index == len(linears) - 1):
            x = np.maximum(x, 0)
    return x


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(1, keepdims=True)


def weigh(weights: np.ndarray, outputs: list[np.ndarray]) -> np.ndarray:
    """sum_i weights_i outputs_i, row by row."""
    assert weights.shape[1] == len(outputs)
    return sum(weights[:, [i]] * output for i, output in enumerate(outputs))


def mix(gate: nn.Module, x: np.ndarray, outputs: list[np.ndarray]) -> np.ndarray:
    return weigh(softmax(mlp(gate.mlp, x, last_linear=True)), outputs)


def normalise(layer: nn.BatchNorm1d, x: np.ndarray) -> np.ndarray:
    """Batch normalisation by the statistics of these rows."""
    scaled = (x - x.mean(0)) / np.sqrt(x.var(0) + layer.eps)
    return scaled * array(layer.weight) + array(layer.bias)


def towers(network: nn.Module, inputs: list[np.ndarray]) -> np.ndarray:
    return np.hstack([mlp(t, x, True) for t, x in zip(network.towers, inputs, strict=True)])
