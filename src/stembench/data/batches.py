"""Split part to tensors to batches, with a random stream of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

from stembench.data.directory import Part


def stream(seed: int, name: str) -> torch.Generator:
    """The random stream of that name: independent of every other name's, the same on each call."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator()
    generator.manual_seed(int.from_bytes(digest[:7], "little"))
    return generator


class Batches:
    """Fields (N, C) and labels (N, T) of one part on a device.

    On the CPU the tensors are views of the memory-mapped files; elsewhere they are copied once.
    A shuffled epoch takes four bytes a row besides.
    """

    def __init__(self, part: Part, batch_size: int, device: torch.device) -> None:
        self.fields = torch.from_numpy(part.fields).to(device)
        self.labels = torch.from_numpy(part.labels).to(device)
        self.batch_size = batch_size

    def __len__(self) -> int:
        """Batches per epoch; the last one may be smaller."""
        return -(-len(self.labels) // self.batch_size)

    def shuffled(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch in an order drawn from `generator`: int32 (B, C) and float labels (B, T)."""
        # The permutation drawn is the same for both types; int32 is half of the memory.
        dtype = torch.int32 if len(self.labels) < 2**31 else torch.int64
        order = torch.randperm(len(self.labels), generator=generator, dtype=dtype)
        for rows in torch.split(order.to(self.fields.device), self.batch_size):
            yield self.fields[rows], self.labels[rows].float()

    def in_order(self) -> Iterator[Tensor]:
        """Fields in the order of the split."""
        yield from torch.split(self.fields, self.batch_size)
