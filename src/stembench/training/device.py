"""Where torch computes."""

from __future__ import annotations

import torch

from stembench.errors import StembenchError


def instructions() -> str:
    """The processor's vector instructions, by torch's names: libraries choose their code by them.

    Names of processors do not tell: a virtual machine may have another one's, or none.
    """
    found = torch.cpu.get_capabilities()
    kinds = ("avx", "amx", "fma", "sve", "sme", "neon", "asimd")
    return " ".join(sorted(key for key, has in found.items() if has and key.startswith(kinds)))


def choose(name: str) -> torch.device:
    """The device of `train.device`; auto takes a GPU where there is one.

    Raises StembenchError when a GPU is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise StembenchError("train.device is cuda, but torch sees no GPU: use auto or cpu")
    return torch.device(name)
