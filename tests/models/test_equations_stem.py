"""STEM in all its variants against a straight-line computation of its equations."""

from __future__ import annotations

import pytest

from stembench.models.stem import STEM
from tests.models.oracle import MIXTURE, T, check, lookup, mix, mlp, prepared, towers

SIZES = MIXTURE | {"num_shared_experts": 2, "num_specific_experts": 2}


def stem(n, summed: bool = True) -> None:
    """The case of T task tables and a shared one."""
    *xs, shared = lookup(n.embeddings)
    assert len(xs) == T
    for index, layer in enumerate(n.layers):
        every = [mlp(e, xs[t]) for t in range(T) for e in layer.specific[t]]
        every += [mlp(e, shared) for e in layer.shared]
        inputs = [x + shared for x in xs] if summed else xs
        xs = [mix(layer.gates[t], inputs[t], every) for t in range(T)]
        if index < len(n.layers) - 1:
            shared = mix(layer.shared_gate, shared, every)
    check(n, towers(n, xs))


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("isolation", ["released", "strict"])
def test_stem(layers: int, isolation: str) -> None:
    stem(prepared(STEM, **SIZES, num_layers=layers, isolation=isolation))


@pytest.mark.parametrize("backward", ["all", "shared_detached"])
def test_the_backward_pass_does_not_change_the_forward_pass(backward: str) -> None:
    stem(prepared(STEM, **SIZES, backward=backward, num_layers=2))


@pytest.mark.parametrize("layers", [1, 2])
def test_gate_of_the_figure(layers: int) -> None:
    stem(prepared(STEM, **SIZES, gate_input="task", num_layers=layers), summed=False)


@pytest.mark.parametrize("layers", [1, 2])
def test_shared_table_only(layers: int) -> None:
    n = prepared(STEM, **SIZES, embeddings="shared", num_layers=layers)
    (shared,) = lookup(n.embeddings)
    xs = [shared] * T
    for index, layer in enumerate(n.layers):
        every = [mlp(e, xs[t]) for t in range(T) for e in layer.specific[t]]
        every += [mlp(e, shared) for e in layer.shared]
        xs = [mix(layer.gates[t], xs[t] + shared, every) for t in range(T)]
        if index < layers - 1:
            shared = mix(layer.shared_gate, shared, every)
    check(n, towers(n, xs))


@pytest.mark.parametrize("layers", [1, 2])
def test_task_tables_only(layers: int) -> None:
    n = prepared(STEM, **SIZES, embeddings="task", num_layers=layers)
    xs = lookup(n.embeddings)
    assert len(xs) == T
    shared = list(xs)
    for index, layer in enumerate(n.layers):
        own = [mlp(e, xs[t]) for t in range(T) for e in layer.specific[t]]
        every = [own + [mlp(e, shared[t]) for e in layer.shared] for t in range(T)]
        xs = [mix(layer.gates[t], xs[t] + shared[t], every[t]) for t in range(T)]
        if index < layers - 1:
            shared = [mix(layer.shared_gate, shared[t], every[t]) for t in range(T)]
    check(n, towers(n, xs))


def test_a_last_layer_has_no_shared_gate() -> None:
    network = prepared(STEM, num_layers=2, **SIZES)
    assert [hasattr(layer, "shared_gate") for layer in network.layers] == [True, False]
