"""Where torch computes."""

from __future__ import annotations

import torch

from stembench.errors import StembenchError


def choose(name: str) -> torch.device:
    """The device of `train.device`; auto takes a GPU where there is one.

    Raises StembenchError when a GPU is asked for and there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise StembenchError("train.device is cuda, but torch sees no GPU: use auto or cpu")
    return torch.device(name)
