"""Building blocks shared by the architectures: embedding bank, MLP, gates.

Shapes: B rows, C columns of the field matrix, F fields, d embedding width, T tasks.
Linear layers start Xavier-normal with zero bias and embeddings at N(0, 1e-4), as in the code
released with STEM.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stembench.data.schema import PADDING, Schema

EMBEDDING_STD = 1e-4


class EmbeddingBank(nn.Module):
    """`copies` embedding tables per field, looked up with one gather.

    All fields and copies live in one weight (rows of all fields, copies * d): the rows of a field
    start at its offset, and a row holds its copies side by side. A bag is the mean of its tokens'
    rows. Ids out of a field's range would silently read another field's rows, so `schema.size`
    must come from the encoder that made the ids.
    """

    def __init__(self, schema: Schema, dim: int, copies: int = 1) -> None:
        super().__init__()
        self.copies, self.dim = copies, dim
        self.weight = nn.Parameter(torch.empty(schema.num_rows, copies * dim))
        nn.init.normal_(self.weight, std=EMBEDDING_STD)
        offsets, offset = [], 0
        self.runs: list[tuple[int, bool]] = []  # columns of one bag, or of categorical neighbours
        for field in schema.fields:
            offsets += [offset] * field.columns
            offset += field.size
            bag = field.columns > 1
            if bag or not self.runs or self.runs[-1][1]:
                self.runs.append((field.columns, bag))
            else:
                self.runs[-1] = (self.runs[-1][0] + 1, False)
        self.num_fields = len(schema.fields)
        self.has_bags = any(bag for _, bag in self.runs)
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.int32), persistent=False)
        self.offsets: Tensor

    @property
    def output_dim(self) -> int:
        """Width F * d of one copy's output."""
        return self.num_fields * self.dim

    def forward(self, fields: Tensor) -> list[Tensor]:
        """Ids (B, C) to one (B, F * d) input per copy, fields concatenated."""
        padding = fields == PADDING if self.has_bags else None
        rows = fields + self.offsets
        if padding is not None:
            rows = rows.masked_fill(padding, 0)
        vectors = nn.functional.embedding(rows, self.weight)  # (B, C, copies * d)
        if padding is not None:
            vectors = self._pool(vectors, padding)
        copies = torch.unflatten(vectors, 2, (self.copies, self.dim)).unbind(2)
        return [vectors.flatten(1) for vectors in copies]

    def _pool(self, vectors: Tensor, padding: Tensor) -> Tensor:
        """Mean over the tokens of each bag: (B, C, k) to (B, F, k).

        One split and one concatenation: a slice per field would fill a zero gradient of the whole
        size for each.
        """
        widths = [columns for columns, _ in self.runs]
        parts = []
        for (_, bag), part, absent in zip(
            self.runs, torch.split(vectors, widths, 1), torch.split(padding, widths, 1), strict=True
        ):
            if bag:
                present = (~absent).to(part.dtype)
                weights = present / present.sum(1, keepdim=True).clamp(min=1)
                parts.append(torch.einsum("bc,bck->bk", weights, part).unsqueeze(1))
            else:
                parts.append(part)
        return torch.cat(parts, dim=1)


class MLP(nn.Sequential):
    """Linear, ReLU, dropout for each width of `units`; with `outputs`, a last linear layer."""

    def __init__(
        self, inputs: int, units: Sequence[int], outputs: int | None = None, dropout: float = 0.0
    ) -> None:
        layers: list[nn.Module] = []
        for width in units:
            layers += [linear(inputs, width), nn.ReLU()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            inputs = width
        if outputs is not None:
            layers.append(linear(inputs, outputs))
        super().__init__(*layers)


class Gate(nn.Module):
    """Mixture weights over experts: softmax(MLP(x)), no dropout."""

    def __init__(self, inputs: int, units: Sequence[int], experts: int) -> None:
        super().__init__()
        self.mlp = MLP(inputs, units, outputs=experts)

    def forward(self, x: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        """Sum of the expert outputs (each (B, h)) weighted by the gate of x (B, inputs)."""
        weights = self.mlp(x).softmax(dim=-1)  # (B, experts)
        return torch.einsum("be,beh->bh", weights, torch.stack(list(outputs), dim=1))


class Experts(nn.ModuleList):
    """`count` expert networks of one shape, all on the same input."""

    def __init__(self, count: int, inputs: int, units: Sequence[int], dropout: float) -> None:
        super().__init__(MLP(inputs, units, dropout=dropout) for _ in range(count))

    def forward(self, x: Tensor) -> list[Tensor]:
        """x (B, inputs) to one (B, units[-1]) per expert."""
        return [expert(x) for expert in self]


def towers(count: int, inputs: int, units: Sequence[int], dropout: float) -> nn.ModuleList:
    """One tower per task, each ending in one logit."""
    return nn.ModuleList(MLP(inputs, units, outputs=1, dropout=dropout) for _ in range(count))


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A Xavier-normal linear layer with zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
