"""Shared-bottom and mixture models against a straight-line computation of their equations."""

from __future__ import annotations

import numpy as np
import pytest

from stembench.models.cgc import CGC
from stembench.models.me_mmoe import MultiEmbeddingMMoE
from stembench.models.me_ple import MultiEmbeddingPLE
from stembench.models.me_shared_bottom import MultiEmbeddingSharedBottom
from stembench.models.mmoe import MMoE
from stembench.models.omoe import OMoE
from stembench.models.ple import PLE
from stembench.models.shared_bottom import SharedBottom
from stembench.models.single_task import SingleTask
from tests.models.oracle import BOTTOM, MIXTURE, T, check, lookup, mix, mlp, prepared, towers


def test_single_task() -> None:
    n = prepared(SingleTask, **BOTTOM)
    check(n, towers(n, [mlp(n.bottoms[t], x) for t, x in enumerate(lookup(n.embeddings))]))


def test_single_task_with_several_bottoms() -> None:
    n = prepared(SingleTask, **BOTTOM, bottoms_per_task=3, gate_units=[4])
    hidden = [
        mix(n.gates[t], x, [mlp(bottom, x) for bottom in n.bottoms[t]])
        for t, x in enumerate(lookup(n.embeddings))
    ]
    check(n, towers(n, hidden))


def test_shared_bottom() -> None:
    n = prepared(SharedBottom, **BOTTOM)
    check(n, towers(n, [mlp(n.bottom, lookup(n.embeddings)[0])] * T))


def test_mmoe() -> None:
    n = prepared(MMoE, **MIXTURE, num_experts=3)
    (x,) = lookup(n.embeddings)
    outputs = [mlp(expert, x) for expert in n.experts]
    check(n, towers(n, [mix(n.gates[t], x, outputs) for t in range(T)]))


def test_omoe() -> None:
    n = prepared(OMoE, **MIXTURE, num_experts=3)
    (x,) = lookup(n.embeddings)
    check(n, towers(n, [mix(n.gate, x, [mlp(expert, x) for expert in n.experts])] * T))


def test_cgc() -> None:
    n = prepared(CGC, **MIXTURE, num_shared_experts=2, num_specific_experts=2)
    (x,) = lookup(n.embeddings)
    outputs = [[mlp(e, x) for e in [*n.specific[t], *n.shared]] for t in range(T)]
    check(n, towers(n, [mix(n.gates[t], x, outputs[t]) for t in range(T)]))


@pytest.mark.parametrize("architecture", [PLE, MultiEmbeddingPLE])
@pytest.mark.parametrize("sees", ["all", "shared"])
@pytest.mark.parametrize("layers", [1, 3])
def test_ple(architecture, sees: str, layers: int) -> None:
    sizes = {"num_shared_experts": 2, "num_specific_experts": 2, "num_layers": layers}
    n = prepared(architecture, **MIXTURE, **sizes, shared_gate=sees)
    *xs, shared = lookup(n.embeddings)
    assert len(xs) == (0 if architecture is PLE else T)
    xs = xs or [shared] * T
    for index, layer in enumerate(n.layers):
        common = [mlp(expert, shared) for expert in layer.shared]
        own = [[mlp(e, xs[t]) for e in layer.specific[t]] for t in range(T)]
        xs = [mix(layer.gates[t], xs[t], own[t] + common) for t in range(T)]
        if index < layers - 1:
            seen = own[0] + own[1] + own[2] + common if sees == "all" else common
            shared = mix(layer.shared_gate, shared, seen)
    check(n, towers(n, xs))


def test_multi_embedding_shared_bottom() -> None:
    n = prepared(MultiEmbeddingSharedBottom, **BOTTOM)
    xs = lookup(n.embeddings)
    assert len(xs) == T + 1
    check(n, towers(n, [sum(mlp(b, x) for b, x in zip(n.bottoms, xs, strict=True)) / (T + 1)] * T))


def test_multi_embedding_mmoe() -> None:
    n = prepared(MultiEmbeddingMMoE, **MIXTURE, num_experts=6)
    xs = lookup(n.embeddings)
    outputs = [mlp(n.experts[i], xs[table]) for i, table in enumerate([0, 1, 2, 3, 0, 1])]
    check(n, towers(n, [mix(gate, np.mean(xs, axis=0), outputs) for gate in n.gates]))


@pytest.mark.parametrize("architecture", [PLE, MultiEmbeddingPLE])
def test_a_last_layer_has_no_shared_gate(architecture) -> None:
    network = prepared(architecture, num_layers=2, **MIXTURE)
    assert [hasattr(layer, "shared_gate") for layer in network.layers] == [True, False]
