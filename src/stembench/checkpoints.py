"""A model's weights after an epoch, in a file: in memory they would be a fifth copy of the tables,
beside the weights that train, their gradients and the two moments of Adam."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

NAME = "weights-{epoch}.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a model, buffers included, as a safetensors file."""

    path: Path

    def load_into(self, model: nn.Module) -> None:
        """Give the model these weights, on its own device; the file is memory-mapped."""
        model.load_state_dict(load_file(self.path))

    def copy_to(self, path: Path) -> None:
        """A file of its own, which outlives `keep_only`."""
        shutil.copyfile(self.path, path)


def save(model: nn.Module, folder: Path, epoch: int) -> Checkpoint:
    """Write the model's state. Raises OSError when the disk is full."""
    path = folder / NAME.format(epoch=epoch)
    save_file(model.state_dict(), path)
    return Checkpoint(path)


def keep_only(folder: Path, kept: Collection[Checkpoint]) -> None:
    """Delete the checkpoints in a folder that are not among those."""
    paths = {checkpoint.path for checkpoint in kept}
    for path in folder.glob(NAME.format(epoch="*")):
        if path not in paths:
            path.unlink()
