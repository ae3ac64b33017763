"""Checkpoints are files: the same bits back, those no longer wanted deleted."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from stembench.data.directory import SplitDirectory
from stembench.training import checkpoints
from stembench.training.checkpoints import Checkpoint
from stembench.training.fit import fit
from tests.contract.test_models import demo_spec


def net(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def test_a_model_gets_its_bits_back_buffers_included(tmp_path: Path) -> None:
    model, other = net(0), net(1)
    model(torch.randn(8, 3))  # moves the running statistics
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    saved = checkpoints.save(model, tmp_path, 3)
    with torch.no_grad():
        model[0].weight.zero_()
    saved.load_into(other)
    assert all(torch.equal(value, expected[name]) for name, value in other.state_dict().items())


class Tied(nn.Module):
    """Two names for one tensor, and one that is a view of another's transpose."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Linear(3, 3, bias=False)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.across = nn.Parameter(torch.randn(2, 4).T)


def test_tied_and_strided_weights_come_back(tmp_path: Path) -> None:
    model, other = Tied(0), Tied(1)
    assert not model.across.is_contiguous()
    checkpoints.save(model, tmp_path, 1).load_into(other)
    assert torch.equal(other.first.weight, model.first.weight)
    assert torch.equal(other.across, model.across)
    assert other.second.weight is other.first.weight


def test_a_full_disk_is_an_os_error(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # nothing larger can be written
    try:
        with pytest.raises(OSError, match=r"weights-1\.safetensors") as caught:
            checkpoints.save(net(0), tmp_path, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG


def test_those_not_kept_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    saved = [checkpoints.save(net(epoch), tmp_path, epoch) for epoch in (1, 2, 12)]
    (tmp_path / "best.safetensors").touch()
    checkpoints.keep_only(tmp_path, {saved[1]})
    assert {path.name for path in tmp_path.iterdir()} == {
        "weights-2.safetensors",
        "best.safetensors",
    }


@pytest.mark.parametrize("over", ["mean", "task"])
def test_training_leaves_what_its_rules_chose(split_path: Path, tmp_path: Path, over: str) -> None:
    split = SplitDirectory(split_path)
    spec = demo_spec("shared_bottom", lr=0.02, batch_size=64, epochs=12, patience=2)
    spec["train"]["select"] = {"metric": "auc", "over": over, "both": False}
    parts = split.part("train"), split.part("valid")
    result = fit(split.schema, *parts, spec, tmp_path / "history.csv", torch.device("cpu"))
    left = {Checkpoint(path) for path in tmp_path.glob("*.safetensors")}
    assert left == set(result.choice.weights)
    assert all(parameter.grad is None for parameter in result.model.parameters())
