"""Which device is taken, and what is known of the processor."""

from __future__ import annotations

import pytest
import torch

from stembench.errors import StembenchError
from stembench.training import device


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert device.choose("auto") == torch.device("cuda" if there else "cpu")
        assert device.choose("cpu") == torch.device("cpu")


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(StembenchError, match=r"train\.device is cuda, but torch sees no GPU"):
        device.choose("cuda")


def test_instructions_are_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"avx2": True, "avx512_f": False, "fma3": True, "cpu_name": "AMD EPYC", "sha": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert device.instructions() == "avx2 fma3"
