"""Models that are the same function for some arguments, on the same weights: logits, gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stembench.models.cgc import CGC
from stembench.models.me_ple import MultiEmbeddingPLE
from stembench.models.mmoe import MMoE
from stembench.models.omoe import OMoE
from stembench.models.ple import PLE
from stembench.models.shared_bottom import SharedBottom
from stembench.models.single_task import SingleTask
from stembench.models.stem import STEM
from tests.models.oracle import BOTTOM, DIM, FIELDS, MIXTURE, T, prepared


def load(network: nn.Module, source: dict[str, Tensor]) -> nn.Module:
    network.load_state_dict(source)  # strict: same names, same shapes
    return network


def logits(network: nn.Module) -> Tensor:
    return network(torch.from_numpy(FIELDS))


def same(a: nn.Module, b: nn.Module) -> None:
    torch.testing.assert_close(logits(a), logits(b), rtol=0, atol=1e-12)


def test_mmoe_with_one_expert_is_shared_bottom() -> None:
    mmoe = prepared(MMoE, **MIXTURE, num_experts=1)
    weights = {
        name.replace("experts.0.", "bottom."): value
        for name, value in mmoe.state_dict().items()
        if not name.startswith("gates.")  # softmax over one expert is 1
    }
    same(mmoe, load(prepared(SharedBottom, **BOTTOM), weights))


def test_omoe_is_mmoe_with_one_gate() -> None:
    omoe = prepared(OMoE, **MIXTURE, num_experts=3)
    weights = omoe.state_dict()
    gate = {name: value for name, value in weights.items() if name.startswith("gate.")}
    for name, value in gate.items():
        del weights[name]
        weights |= {name.replace("gate.", f"gates.{t}."): value for t in range(T)}
    same(omoe, load(prepared(MMoE, **MIXTURE, num_experts=3), weights))


def test_cgc_is_ple_with_one_layer() -> None:
    sizes = {"num_shared_experts": 2, "num_specific_experts": 2}
    cgc = prepared(CGC, **MIXTURE, **sizes)
    weights = {
        f"layers.0.{n}" if n.split(".")[0] in ("shared", "specific", "gates") else n: value
        for n, value in cgc.state_dict().items()
    }
    same(cgc, load(prepared(PLE, **MIXTURE, **sizes, num_layers=1), weights))


def test_single_task_on_one_task_is_shared_bottom() -> None:
    single = prepared(SingleTask, 1, **BOTTOM)
    weights = {n.replace("bottoms.0.", "bottom."): v for n, v in single.state_dict().items()}
    same(single, load(prepared(SharedBottom, 1, **BOTTOM), weights))


def test_matched_single_task_on_one_task_is_mmoe() -> None:
    single = prepared(SingleTask, 1, **BOTTOM, gate_units=[4], bottoms_per_task=3)
    weights = {n.replace("bottoms.0.", "experts."): v for n, v in single.state_dict().items()}
    same(single, load(prepared(MMoE, 1, **MIXTURE, num_experts=3), weights))


def tied(network: nn.Module, copies: int) -> dict[str, Tensor]:
    """The weights of a one-table model for one of that many tables, all equal."""
    weights = dict(network.state_dict())
    weights["embeddings.weight"] = weights["embeddings.weight"].repeat(1, copies)
    return weights


def check_tied(one: nn.Module, several: nn.Module) -> None:
    """Equal logits; the tied tables' gradients together are that of the one table."""
    copies = several.embeddings.copies
    load(several, tied(one, copies))
    same(one, several)
    for network in (one, several):
        logits(network).square().sum().backward()
    grads = several.embeddings.weight.grad.unflatten(1, (copies, DIM)).sum(1)
    torch.testing.assert_close(grads, one.embeddings.weight.grad, rtol=0, atol=1e-9)
    others = dict(several.named_parameters())
    for name, parameter in one.named_parameters():
        if name != "embeddings.weight":
            torch.testing.assert_close(others[name].grad, parameter.grad, rtol=0, atol=1e-9)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("backward", ["all", "aftb"])
@pytest.mark.parametrize("embeddings", ["both", "task"])
def test_stem_with_tied_tables_is_stem_with_the_shared_table_only(
    embeddings: str, backward: str, layers: int
) -> None:
    sizes = MIXTURE | {"num_shared_experts": 2, "backward": backward, "num_layers": layers}
    check_tied(
        prepared(STEM, **sizes, embeddings="shared"),
        prepared(STEM, **sizes, embeddings=embeddings),
    )


def test_me_ple_with_tied_tables_is_ple() -> None:
    sizes = MIXTURE | {"num_shared_experts": 2, "num_layers": 2}
    check_tied(prepared(PLE, **sizes), prepared(MultiEmbeddingPLE, **sizes))


def test_stem_without_its_parts_is_mmoe() -> None:
    """One table, nothing detached, the figure's gate: MMoE with T * K1 + K2 experts."""
    stem = prepared(
        STEM,
        **MIXTURE,
        num_shared_experts=2,
        num_specific_experts=2,
        embeddings="shared",
        backward="all",
        gate_input="task",
    )
    weights = {}
    for name, value in stem.state_dict().items():
        parts = name.removeprefix("layers.0.").split(".")
        if parts[0] == "specific":
            parts = ["experts", str(2 * int(parts[1]) + int(parts[2])), *parts[3:]]
        elif parts[0] == "shared":
            parts = ["experts", str(2 * T + int(parts[1])), *parts[2:]]
        weights[".".join(parts)] = value
    mmoe = load(prepared(MMoE, **MIXTURE, num_experts=2 * T + 2), weights)
    same(stem, mmoe)
    for network in (stem, mmoe):
        logits(network).square().sum().backward()
    torch.testing.assert_close(
        stem.embeddings.weight.grad, mmoe.embeddings.weight.grad, rtol=0, atol=1e-9
    )
