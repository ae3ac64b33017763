"""A model's weights after an epoch, in a file: in memory they would be a fifth copy of the tables,
beside the weights that train, their gradients and the two moments of Adam."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

NAME = "weights-{epoch}.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a model, buffers included, as a safetensors file."""

    path: Path

    def load_into(self, model: nn.Module) -> None:
        """Give the model these weights, on its own device; the file is memory-mapped."""
        load_model(model, self.path)

    def copy_to(self, path: Path) -> None:
        """A file of its own, which outlives `keep_only`."""
        shutil.copyfile(self.path, path)


def save(model: nn.Module, folder: Path, epoch: int) -> Checkpoint:
    """Write the model's state, tied weights once. Raises OSError when the disk is full."""
    path = folder / NAME.format(epoch=epoch)
    try:
        save_model(model, str(path))
    except SafetensorError as error:  # no OSError, and the number is in its text alone
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(path)) from error
    return Checkpoint(path)


def keep_only(folder: Path, kept: Collection[Checkpoint]) -> None:
    """Delete the checkpoints in a folder that are not among those."""
    paths = {checkpoint.path for checkpoint in kept}
    for path in folder.glob(NAME.format(epoch="*")):
        if path not in paths:
            path.unlink()
