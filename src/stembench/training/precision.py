"""Arithmetic of the training: float32, or bfloat16 products where the hardware multiplies them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stembench.errors import StembenchError


def choose(name: str, device: torch.device) -> torch.dtype:
    """What `train.precision` means on the device: auto is bfloat16 where the hardware has it.

    Raises StembenchError for bfloat16 where it would be emulated.
    """
    able = supports_bfloat16(device)
    if name == "bfloat16" and not able:
        raise StembenchError(
            f"train.precision is bfloat16, and this {device.type} has no such products: use auto "
            f"or float32"
        )
    return torch.bfloat16 if able and name != "float32" else torch.float32


def supports_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies matrices of bfloat16 by itself (on a CPU: AMX, AVX512-BF16)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities()
    return device.type == "cpu" and any(found.get(key) for key in ("amx_bf16", "avx512_bf16"))


def train_in(model: nn.Module, precision: torch.dtype) -> None:
    """Let the model's forward passes in training multiply in `precision`; logits stay float32.

    Weights, gradients of weights, Adam's moments and all sums over a batch are float32. So is every
    forward pass in evaluation mode: a logit of bfloat16 has three digits, and ties rank badly.
    """
    if precision == torch.float32:
        return
    forward = model.forward

    def mixed(fields: Tensor) -> Tensor:
        if not model.training:
            found: Tensor = forward(fields)
            return found
        with torch.autocast(fields.device.type, precision):
            return forward(fields).float()  # type: ignore[no-any-return]

    model.forward = mixed
