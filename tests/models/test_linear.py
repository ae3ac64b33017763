"""The linear layer by oneDNN against the same products in float64, and when it is taken."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stembench.models import linear
from stembench.models.linear import LARGE, ONEDNN, Linear
from stembench.training.diagnostics import Flops
from tests.contract.test_steps import Operators

#: Rows and widths of a layer that is large.
SIZES = (1000, 64, 96)

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN"
)


@pytest.fixture(params=[True, False], ids=["onednn", "native"])
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Either product, whatever the processor."""
    if request.param and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(linear, "prefers_onednn", lambda: request.param)
    return bool(request.param)


def layer_and_input(bias: bool = True) -> tuple[Linear, torch.Tensor]:
    torch.manual_seed(0)
    rows, inputs, outputs = SIZES
    return Linear(inputs, outputs, bias=bias), torch.randn(rows, inputs, requires_grad=True)


def operators(layer: nn.Module, x: torch.Tensor) -> set[str]:
    """Names of the operators of a forward pass."""
    with Operators() as found:
        layer(x)
    return found.names


@pytest.mark.parametrize("bias", [True, False])
def test_output_and_gradients_are_those_in_float64(product: bool, bias: bool) -> None:
    layer, x = layer_and_input(bias)
    slope = torch.randn(SIZES[0], SIZES[2])
    layer(x).backward(slope)
    exact = nn.Linear(*SIZES[1:], bias=bias).double()
    exact.load_state_dict(layer.state_dict())
    wide = x.detach().double().requires_grad_()
    exact(wide).backward(slope.double())
    torch.testing.assert_close(layer(x).double(), exact(wide), rtol=1e-5, atol=1e-5)
    for found, wanted in zip([x, *layer.parameters()], [wide, *exact.parameters()], strict=True):
        torch.testing.assert_close(found.grad.double(), wanted.grad, rtol=1e-4, atol=1e-4)


def test_what_needs_no_gradient_gets_none(product: bool) -> None:
    layer, x = layer_and_input()
    layer.weight.requires_grad_(False)
    layer(x.detach()).sum().backward()
    assert x.grad is None
    assert layer.weight.grad is None
    torch.testing.assert_close(layer.bias.grad, torch.full((SIZES[2],), float(SIZES[0])))


def test_nan_and_inf_pass_through(product: bool) -> None:
    layer, x = layer_and_input()
    x = x.detach()
    x[0, 0], x[1, 0] = torch.nan, torch.inf
    found = layer(x).relu()
    assert found[0].isnan().all()
    assert not found[1].isfinite().all()
    assert found[2:].isfinite().all()


@needs_onednn
def test_only_large_float32_products_go_to_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "prefers_onednn", lambda: True)
    layer, x = layer_and_input()
    rows = LARGE // (2 * layer.weight.numel()) + 1
    assert rows <= len(x)
    assert ONEDNN in operators(layer, x[:rows])
    assert ONEDNN not in operators(layer, x[: rows - 1])
    assert ONEDNN not in operators(layer.double(), x.double())
    layer.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    monkeypatch.setattr(linear, "prefers_onednn", lambda: False)
    assert ONEDNN not in operators(layer, x)


@needs_onednn
def test_its_operations_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for chosen in (True, False):
        monkeypatch.setattr(linear, "prefers_onednn", lambda chosen=chosen: chosen)
        layer, x = layer_and_input()
        with Flops() as counter:
            layer(x).sum().backward()
        counts.append(counter.total)
    rows, inputs, outputs = SIZES
    assert counts == [3 * 2 * rows * inputs * outputs] * 2


@pytest.mark.parametrize(
    ("name", "zen5", "wanted"),
    [("AMD EPYC", True, True), ("AMD EPYC", False, False), ("Intel(R) Xeon(R)", True, False)],
)
def test_the_processor_decides(
    name: str, zen5: bool, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()):
        pytest.skip("this torch has no choice of products")
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"cpu_name": name, "avx512_vp2intersect": zen5}
    )
    assert linear.prefers_onednn.__wrapped__() is wanted
