"""The linear layer of all networks, by the faster of the two products that torch brings along.

torch multiplies float32 matrices on x86 by MKL, which on processors of AMD makes no use of AVX-512.
oneDNN, which lies beside it for other types, does: on a Zen 5 core 2.2 times as fast forward and
for the gradient of the input, 1.8 times for that of the weights, at 4096 x 512 x 512
(`python -m benchmarks.products`). Small ones are faster by MKL: a call of oneDNN costs 10 us.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

#: Operations from which on oneDNN is used: all three products of a layer gain from here on.
LARGE = 8_000_000
#: The operator that torch's compiler puts in place of a linear layer on the CPU.
ONEDNN = "mkldnn::_linear_pointwise"


class Linear(nn.Linear):
    """x W^T + b. A layer's numbers depend on the processor in their last digits, see above; which
    product is used follows from sizes and processor alone, so that a run repeats bit by bit."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        if (
            x.dtype == torch.float32 == self.weight.dtype
            and x.dim() == 2
            and 2 * x.numel() * self.out_features >= LARGE
            and x.device.type == "cpu"
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()  # it knows this operator with fixed weights only
            and prefers_onednn()
        ):
            out: Tensor = _Linear.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return out
        return super().forward(x)


@cache
def prefers_onednn() -> bool:
    """Whether oneDNN is there and multiplies float32 faster than MKL on this processor: one of AMD
    from Zen 5 on, told by an instruction that Zen 4 lacks. Zen 4 does AVX-512 in two halves, so
    that there is little to gain."""
    libraries = torch.backends.mkldnn, torch.backends.mkl
    if not all(library.is_available() for library in libraries):
        return False
    found = torch.cpu.get_capabilities()
    return str(found.get("cpu_name")).startswith("AMD") and bool(found.get("avx512_vp2intersect"))


class _Linear(torch.autograd.Function):
    """The three products of a layer by oneDNN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x (B, n), weight (m, n) and bias (m,) or None to (B, m)."""
        ctx.save_for_backward(x, weight)
        return times_transposed(x, weight, bias)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradient of the output (B, m) to those of the inputs of `forward`."""
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad
        return (
            times_transposed(slope, weight.t()) if to_x else None,
            times_transposed(slope.t(), x.t()) if to_weight else None,
            slope.sum(0) if to_bias else None,
        )


def times_transposed(a: Tensor, b: Tensor, add: Tensor | None = None) -> Tensor:
    """a b^T + add by oneDNN; a (p, q), b (r, q), add (r,)."""
    # Transposed views are taken as they are. Its own ReLU is not used: it makes a zero of NaN.
    out: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, add, "none", [], "")
    return out
