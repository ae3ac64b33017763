"""Training steps through torch's compiler: fewer passes over memory, on a GPU one launch a pass.

On a GPU a step of the narrow products of these models is bound by the launches of its kernels; the
compiler's `reduce-overhead` records each forward and backward pass as a CUDA graph. On a CPU it
fuses what lies between the products. Each cell that compiles pays for it once, some seconds to a
minute; the compiler keeps its code in `.cache/torchinductor` for the next one.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from stembench.errors import StembenchError
from stembench.models.embeddings import EmbeddingBank
from stembench.objectives import Objective
from stembench.training import toolchain

CACHE = Path(".cache/torchinductor")


def check_tools(device: torch.device) -> None:
    """Raises StembenchError when a tool that compiling for the device needs is not here."""
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        missing: str | None = "the package triton, which is not installed: install it"
    elif device.type == "cuda":
        missing = toolchain.missing_for_gpu()
    else:
        missing = toolchain.missing_for_cpu()
    if missing:
        place = "a GPU" if device.type == "cuda" else "a CPU"
        raise StembenchError(
            f"train.compile is true, which on {place} needs {missing}; "
            "or set train.compile to false"
        )


def check(objective: Objective, device: torch.device) -> None:
    """Raises StembenchError when steps of the objective cannot be compiled on the device."""
    if objective.by_task:
        raise StembenchError(
            f"train.compile is true, but the objective {type(objective).__name__} takes the "
            "gradient of each task apart, which a compiled step does not have: set it to false, or "
            "use the objective equal or one that weighs losses"
        )
    check_tools(device)


def compile_steps(
    model: nn.Module, objective: Objective, batch_size: int, device: torch.device
) -> None:
    """Let the model's forward passes in training of whole batches, and their backward, be compiled.

    Evaluation and the smaller batch at the end of an epoch stay as they are, as they would have to
    be compiled apart. Raises StembenchError, see `check`.
    """
    check(objective, device)
    CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(CACHE.resolve()))
    # As many as the cell computes with: cells run side by side.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(torch.get_num_threads()))
    sparse = [m for m in model.modules() if isinstance(m, EmbeddingBank) and m.sparse]
    for bank in sparse:  # the compiler has no sparse gradients: it gets what follows the lookup
        bank.forward = torch.compiler.disable(bank.forward)  # type: ignore[method-assign, no-untyped-call]
    forward = model.forward
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    compiled = torch.compile(forward, fullgraph=not sparse, dynamic=False, mode=mode)

    def chosen(fields: Tensor) -> Tensor:
        whole = model.training and torch.is_grad_enabled() and len(fields) == batch_size
        if not whole:
            found: Tensor = forward(fields)
            return found
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return compiled(fields)  # type: ignore[no-any-return]

    model.forward = chosen
